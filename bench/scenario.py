"""What every case needs: how much of it is wanted, a directory, and a word about its goal."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench.load import Load


@dataclass(frozen=True)
class Options:
    """How thoroughly to measure.

    Attributes:
        rounds: pairs of each case.
        stretch: times as long as usual that each load lasts.
        pools: in the case of many pools.
    """

    rounds: int = 5
    workers: int = 4
    stretch: float = 1.0
    pools: int = 1000

    def scaled(self, load: Load) -> Load:
        """The same load for a longer or shorter time."""
        return replace(load, seconds=load.seconds * self.stretch)


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
