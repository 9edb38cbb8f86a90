"""The compiled part of a worker, fpm/_hotpath.c, where it can be had. Everything in it has its counterpart in Python.

In a pool it comes with the bundle and is loaded from memory, once, in the template: workers inherit it. It is nobody
else's business: sys.modules has no entry for it, and nothing of it is a file that an application could find.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import struct
import sys
from functools import cache
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from types import ModuleType

from fpm.scoreboard.writer import COMPILED_LAYOUT
from fpm.system.machine import machine_type
from fpm.system.memfd import write_sealed

NAME = "fpm._hotpath"
UNWANTED = "hotpath = no"
MISSING = "the installation has no compiled part"
MFD_NOEXEC_SEAL, MFD_EXEC = 0x08, 0x10
"""memfd_create(2), since Linux 6.3; `os` names them from Python 3.14 on."""


def load(*, wanted: bool = True) -> tuple[ModuleType | None, str]:
    """Return the compiled part, or None and the reason.

    What is once found holds for the life of the process, and of those forked from it.

    Args:
        wanted: the directive `hotpath`.
    """
    return _find() if wanted else (None, UNWANTED)


@cache
def _find() -> tuple[ModuleType | None, str]:
    if sys.implementation.name != "cpython":
        return None, f"it is compiled for CPython, this is {sys.implementation.name}"
    if "t" in sys.abiflags:
        return None, "it is not made for free-threaded Python"
    try:
        module = _load()
    except (ImportError, OSError, SystemError) as error:
        return None, str(error)
    if getattr(module, "LAYOUT", None) != COMPILED_LAYOUT:
        return None, "the compiled part is of another version"
    return module, ""


def _load() -> ModuleType:
    """Load the compiled part, of the bundle or of the installation.

    Raises:
        ImportError, OSError, SystemError: it cannot be loaded.
    """
    bundled = getattr(sys.modules["fpm"].__loader__, "compiled", None)
    if not isinstance(bundled, tuple):  # not the bundle's importer: an installed fpm
        if importlib.util.find_spec(NAME) is None:
            raise ImportError(MISSING)
        return importlib.import_module(NAME)
    machine, binary = bundled
    if not binary:
        raise ImportError(MISSING)
    if machine != machine_type():
        raise ImportError(f"the compiled part is for {machine}, this is {machine_type()}")
    if len(binary) < _length_by_header(binary):
        raise ImportError("the compiled part is damaged")
    if not os.path.isdir("/proc/self/fd"):
        raise ImportError("/proc is not mounted")
    fd = _sealed(binary)
    try:
        return _load_from(fd)
    finally:
        os.close(fd)


def _length_by_header(binary: bytes) -> int:
    """Where an ELF file's section headers end, which come last: dlopen(3) of one that was cut off is a SIGBUS."""
    is_wide, order = binary[4:5] == b"\x02", ">" if binary[5:6] == b"\x02" else "<"
    place, count = ("Q", 58) if is_wide else ("L", 46)
    try:
        (offset,) = struct.unpack_from(f"{order}{place}", binary, 40 if is_wide else 32)
        size, number = struct.unpack_from(f"{order}2H", binary, count)
    except struct.error:
        return sys.maxsize
    return int(offset + size * number)


def _load_from(fd: int) -> ModuleType:
    # The C library knows what it has loaded by the path. With the usual one, an application that loads a file of its
    # own from a descriptor of the same number would be given ours.
    path = f"/proc/self/fd//{fd}"
    loader = ExtensionFileLoader(NAME, path)
    try:
        module = importlib.util.module_from_spec(ModuleSpec(NAME, loader, origin=path))
        loader.exec_module(module)
    except ImportError as error:
        raise ImportError(str(error).replace(path, NAME)) from error
    return module


def _sealed(binary: bytes) -> int:
    """Put it into an anonymous file that can be executed and never be changed; returns the descriptor."""
    fd = _executable_memfd()
    write_sealed(fd, binary)
    return fd


def _executable_memfd() -> int:
    """memfd_create(2), whatever the sysctl vm.memfd_noexec says.

    Kernels before 6.3 refuse the flag (EINVAL), a sysctl of 2 refuses files that can be executed (EACCES); dlopen(3)
    needs only that they can be mapped.
    """
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    for more in (MFD_EXEC, MFD_NOEXEC_SEAL):
        try:
            return os.memfd_create("pyfpm-hotpath", flags | more)
        except OSError:
            continue
    return os.memfd_create("pyfpm-hotpath", flags)
