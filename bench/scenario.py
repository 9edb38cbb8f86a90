"""What every scenario needs: a directory, and a word about its goal."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def scratch() -> Iterator[Path]:
    """A temporary directory; servers may write logs there."""
    directory = Path(tempfile.mkdtemp(prefix="pyfpm-bench-"))
    directory.chmod(0o755)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def goal(text: str, met: bool) -> bool:
    """Print whether a goal of the project is met."""
    print(f"  goal: {text}: {'met' if met else 'NOT MET'}")
    return met
