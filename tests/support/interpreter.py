"""Which Python the pools of the tests run under, and where the installed command is."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

CANDIDATES = ("/usr/bin/python3", "/usr/local/bin/python3", "/usr/bin/python3.13", "/usr/bin/python3.12")


@cache
def pool_python() -> str:
    """An interpreter that every user may execute; pyfpm's own when it is not root (then there is one user only)."""
    if os.geteuid() != 0:
        return sys.executable
    for candidate in CANDIDATES:
        if os.access(candidate, os.X_OK):
            check = [candidate, "-I", "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
            if subprocess.run(check, check=False, timeout=60).returncode == 0:
                return candidate
    raise AssertionError("no Python 3.11 or later that other users may execute; looked at " + ", ".join(CANDIDATES))


def own_environment() -> dict[str, object]:
    """Directives of a pool that runs in the tests' own environment, with Django and the others.

    Where no other user reaches its interpreter (below root's home), the pool is root's: start with START_AS_ROOT.
    """
    places = Path(sys.executable).resolve().parents
    is_closed = os.geteuid() == 0 and not all(place.stat().st_mode & stat.S_IXOTH for place in places)
    return {"venv": sys.prefix, **({"user": "root", "group": "root"} if is_closed else {})}


START_AS_ROOT = ("-R", "run") if os.geteuid() == 0 else ("run",)
"""Arguments of pyfpm with which root may have pools of root."""


@contextmanager
def module_of_ours() -> Iterator[str]:
    """The name of a module that the interpreter of pyfpm has, and no pool's."""
    path = Path(sysconfig.get_path("purelib")) / f"only_ours_{os.getpid()}.py"
    path.write_text("")
    try:
        subprocess.run([sys.executable, "-c", f"import {path.stem}"], check=True, timeout=60)
        yield path.stem
    finally:
        path.unlink()


def pyfpm_command() -> str:
    """The installed `pyfpm`, beside the interpreter that runs the tests."""
    path = Path(sys.executable).with_name("pyfpm")
    assert path.exists(), f"{path} does not exist: install the project first (make test does)"
    return str(path)


@cache
def interpreters() -> list[str]:
    """Every CPython from 3.11 on that this machine has, one for each minor version and place."""
    places = [Path(candidate) for candidate in CANDIDATES]
    places += sorted(Path.home().glob(".pyenv/versions/3.*/bin/python3"))
    found: dict[str, str] = {}
    for place in (Path(sys.executable), *places):
        if os.access(place, os.X_OK):
            code = "import sys; sys.version_info >= (3, 11) and print(sys.version_info[:2], sys.base_prefix)"
            run = subprocess.run([place, "-I", "-c", code], capture_output=True, text=True, check=False, timeout=60)
            if run.returncode == 0 and run.stdout:
                found.setdefault(run.stdout, str(place))
    return list(found.values())
