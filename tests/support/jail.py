"""A directory tree with a Python in it, for pools with `chroot`."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

NOT_NEEDED = ("test", "idlelib", "tkinter", "lib2to3", "ensurepip", "site-packages", "dist-packages", "config-*")


def build_jail(root: Path, python: str, *, is_whole: bool = False) -> None:
    """Put the interpreter, the libraries that ldd(1) names and the standard library below `root`, at their paths.

    Args:
        is_whole: also the libraries of compiled modules, as of sqlite3 and ctypes.
    """
    real = os.path.realpath(python)
    compiled = [str(path) for directory in _standard_library(python) for path in Path(directory).glob("*.so")]
    command = ["ldd", real, *(compiled if is_whole else ())]
    report = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    for path in {real, *re.findall(r"(?:^\t|=> )(/[^\s:]+)", report, re.MULTILINE)}:
        _link(path, root)
    if real != python:
        _link(python, root)
    for directory in _standard_library(python):
        target = root / directory.lstrip("/")
        if not target.exists():
            shutil.copytree(directory, target, ignore=shutil.ignore_patterns(*NOT_NEEDED), copy_function=_link_to)
    for directory in (root, *(path for path in root.rglob("*") if path.is_dir() and not path.is_symlink())):
        directory.chmod(0o755)


def _standard_library(python: str) -> list[str]:
    code = "import json, sys; print(json.dumps(sys.path))"
    answer = subprocess.run([python, "-I", "-S", "-c", code], capture_output=True, text=True, check=True, timeout=60)
    paths: list[str] = json.loads(answer.stdout)
    return [path for path in sorted(paths) if os.path.isdir(path)]


def _link(path: str, root: Path) -> None:
    target = root / path.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    _link_to(os.path.realpath(path), str(target))


def _link_to(source: str, target: str) -> None:
    """A hard link, or a copy on another file system."""
    try:
        os.link(os.path.realpath(source), target)
    except OSError:
        shutil.copy2(source, target)
