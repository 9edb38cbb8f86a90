"""Builds fpm/_hotpath.c with address and undefined-behaviour sanitizers, and says how Python is run with it."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from importlib.util import module_from_spec
from pathlib import Path
from types import ModuleType

SOURCE = Path(__file__).parents[2] / "fpm/_hotpath.c"
FLAGS = ["-O1", "-g", "-fPIC", "-shared", "-fno-omit-frame-pointer", "-Wall", "-Wextra", "-Werror"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


def find_compiler() -> list[str]:
    """Return the compiler that Python's extensions are made with, as a command."""
    return shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[:1]


def find_missing_compiler() -> str:
    """Say why nothing can be compiled for this Python; "" if it can."""
    if sysconfig.get_config_var("Py_GIL_DISABLED") or sys.implementation.name != "cpython":
        return "the hot path is for CPython with the GIL"
    if not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        return "there is no Python.h (Debian: python3-dev)"
    compiler = find_compiler()[0]
    return "" if shutil.which(compiler) else f"there is no {compiler} (Debian: gcc)"


def find_missing() -> str:
    """Say why it cannot be built; "" if it can."""
    missing = find_missing_compiler()
    return missing or ("" if find_library().is_absolute() else "the compiler has no libasan (Debian: gcc)")


def find_library() -> Path:
    """Find the library that has to be there before Python is."""
    command = [*find_compiler(), "-print-file-name=libasan.so"]
    found = Path(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip())
    return found.resolve() if found.is_absolute() else found


def build(directory: Path) -> Path:
    """Compile it into a directory.

    Raises:
        CalledProcessError: it cannot be compiled; the compiler has said why.
    """
    binary = directory / "sanitized.so"
    include = f"-I{sysconfig.get_path('include')}"
    command = [*find_compiler(), *FLAGS, *SANITIZERS, include, str(SOURCE), "-o", str(binary)]
    subprocess.run(command, check=True, timeout=300)
    return binary


def environ_for_python() -> dict[str, str]:
    """Return the environment in which Python can load it: each object of Python's is one of malloc(3), too."""
    sanitizing = {
        "LD_PRELOAD": str(find_library()),
        "ASAN_OPTIONS": "detect_leaks=0",  # Python leaves much for the end of the process
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "PYTHONMALLOC": "malloc",
    }
    return os.environ | sanitizing


def load(binary: Path) -> ModuleType:
    """Load it into this process."""
    loader = ExtensionFileLoader("fpm._hotpath", str(binary))
    module = module_from_spec(ModuleSpec("fpm._hotpath", loader, origin=str(binary)))
    loader.exec_module(module)
    return module
