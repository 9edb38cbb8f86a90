"""Facts about the Python interpreters of this machine, found without running them."""

from __future__ import annotations

import os
import re
import sys
import sysconfig

from fpm.config.local_paths import walk_path
from fpm.config.permissions import PathComponent
from fpm.config.system import Interpreter


def own_interpreter() -> Interpreter:
    """Describe the one that runs this program."""
    found = dict.fromkeys([os.path.dirname(os.__file__), sysconfig.get_path("stdlib"), sysconfig.get_path("purelib")])
    return Interpreter(sys.version_info[:2], tuple(path for path in found if os.path.isdir(path)))


def _stranger(file: PathComponent) -> Interpreter:
    """Tell what a program is whose name is not that of an installed CPython, without running it.

    Its bytes are looked at only if its owner could not put another file there meanwhile. A script (pyenv's, Nix's) may
    lead to any Python.
    """
    name = os.path.basename(file.path)
    old = re.fullmatch(r"python(2(?:\.\d)?|1\.\d)", name)
    if old:
        return Interpreter(None, (), f"is Python {old[1]}")
    other = next((title for start, title in _OTHERS.items() if name.startswith(start)), "")
    if other or file.uid not in (0, os.geteuid()):
        return Interpreter(None, (), other and f"is {other}")
    try:
        with open(os.open(file.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as program:
            data = program.read(_PROGRAM_MAX)
    except OSError:
        return Interpreter(None, ())
    version = re.search(rb"(?:libpython|python)3\.(\d+)", data)
    if data.startswith(b"\x7fELF") and b"libpypy" in data:
        return Interpreter(None, (), "is PyPy")
    if data.startswith(b"\x7fELF") and b"Py_" not in data and version is None:
        return Interpreter(None, (), "is not a Python interpreter")
    is_program = data.startswith(b"\x7fELF") and version is not None
    return Interpreter((3, int(version[1])) if is_program and version else None, ())


_OTHERS = {"pypy": "PyPy", "graalpy": "GraalPy", "jython": "Jython", "micropython": "MicroPython"}
_PROGRAM_MAX = 64 << 20
"""Bytes of a program that are looked at."""


def interpreter(python: str, root: str) -> Interpreter:
    """Derive version and library directories from the file behind `python` (/usr/bin/python3.11)."""
    file = list(walk_path(python, root))[-1]
    real = file.path[len(root) :]
    name = re.fullmatch(r"python3\.(\d+)t?d?", os.path.basename(real))
    if name is None:
        return _stranger(file)
    library = f"lib/python3.{name[1]}"
    environment = os.path.dirname(os.path.dirname(python))
    base = os.path.dirname(os.path.dirname(real))
    paths = [(base, library), (environment, library), (environment, library, "site-packages")]
    candidates = dict.fromkeys(os.path.join(*parts) for parts in paths)
    return Interpreter((3, int(name[1])), tuple(path for path in candidates if os.path.isdir(root + path)))
