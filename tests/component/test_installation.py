"""`pip install` with a C compiler and without: both succeed, and one has the compiled part."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from fpm.worker import hot_path
from tests.support.wheel import build_wheel

TOP = Path(__file__).parent.parent.parent
PARTS = ("fpm", "man", "docs", "contrib", "pools.d", "LICENSE", "README.md", "pyproject.toml", "setup.py")
BINARY = "fpm/_hotpath.abi3.so"


def make_wheel(directory: Path, **environ: str) -> zipfile.ZipFile:
    """Have pip build in a copy of the sources, with the setuptools that is here: no network is needed."""
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
    built = build_wheel(tmp_path)
    assert "-cp311-abi3-linux_" in built.name
    with zipfile.ZipFile(built) as wheel:
        names = wheel.namelist()
    assert [name for name in names if name.endswith((".so", ".c"))] == [BINARY]


def test_without_a_compiler_it_is_installed_all_the_same(tmp_path: Path) -> None:
    with make_wheel(tmp_path, CC="false") as wheel:
        names = wheel.namelist()
    assert {"fpm/worker/hot_path.py", "fpm/init/templates/pool.conf", "fpm/init/templates/nginx.conf"} <= set(names)
    assert BINARY not in names
    command = install(str(wheel.filename), tmp_path / "venv")
    assert "pyfpm, version" in run(command, "--version")
    tree = tmp_path / "tree"
    tree.mkdir()
    run(command, "setup", "--root", str(tree))
    shipped = [path for name in ("systemd", "logrotate", "tmpfiles") for path in (TOP / "contrib" / name).iterdir()]
    installed = {path.name for path in tree.rglob("*")}
    assert {path.name for path in [*shipped, *(TOP / "man").iterdir()]} <= installed
    unit = tree / "usr/local/lib/systemd/system/pyfpm.service"
    assert f"ExecStart={command} run" in unit.read_text()


def install(wheel: str, venv: Path) -> str:
    """Install a wheel by pip in a new virtual environment, which borrows the libraries of ours; returns the command."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True, timeout=100)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(venv / "bin" / "python")]
    run(*pip, "install", "-q", "--no-index", "--no-deps", "--no-compile", wheel)
    (libraries,) = venv.glob("lib/python3*/site-packages")
    (libraries / "borrowed.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return str(venv / "bin" / "pyfpm")


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
