"""The wheel of this checkout, built as pip builds it, without a trace in the checkout."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def build_wheel(directory: Path) -> Path:
    """Build it, with the compiled hot path where there is a compiler; everything is made in this directory."""
    work = directory / "build"
    work.mkdir()
    steps = ["egg_info", "--egg-base", work, "build", "--build-base", work, "bdist_wheel", "--dist-dir", directory]
    command = [sys.executable, "setup.py", "-q", *map(str, steps)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = directory.glob("*.whl")
    return wheel
