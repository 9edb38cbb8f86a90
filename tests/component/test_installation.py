"""`pip install` with a C compiler and without: both succeed, and one has the compiled part."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from fpm.worker import hot_path

TOP = Path(__file__).parent.parent.parent
PARTS = ("fpm", "man", "docs", "contrib", "pools.d", "LICENSE", "README.md", "pyproject.toml", "setup.py")
BINARY = "fpm/_hotpath.abi3.so"


def make_wheel(directory: Path, **environ: str) -> zipfile.ZipFile:
    """Build in a copy of the sources, with the setuptools that is here: no network is needed."""
    sources = directory / "sources"
    sources.mkdir()
    for name in PARTS:
        if (TOP / name).is_dir():
            shutil.copytree(TOP / name, sources / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
        else:
            shutil.copy(TOP / name, sources / name)
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "-q", "--no-build-isolation"]
    command += ["--no-deps", "-w", str(directory), str(sources)]
    run = subprocess.run(
        command, env={**os.environ, **environ}, capture_output=True, text=True, timeout=200, check=False
    )
    assert run.returncode == 0, run.stderr
    (wheel,) = directory.glob("*.whl")
    return zipfile.ZipFile(wheel)


@pytest.mark.skipif(hot_path.load()[0] is None, reason=f"the compiled part is not here: {hot_path.load()[1]}")
def test_one_binary_for_every_later_python(tmp_path: Path) -> None:
    with make_wheel(tmp_path) as wheel:
        assert "-cp311-abi3-linux_" in str(wheel.filename)
        names = wheel.namelist()
    assert [name for name in names if name.endswith((".so", ".c"))] == [BINARY]


def test_without_a_compiler_it_is_installed_all_the_same(tmp_path: Path) -> None:
    with make_wheel(tmp_path, CC="false") as wheel:
        names = wheel.namelist()
    assert "fpm/worker/hot_path.py" in names
    assert BINARY not in names
