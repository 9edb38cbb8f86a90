"""Sets the process title in ps(1) and top(1), and the name in /proc/PID/comm, which monitors read.

The title overwrites the process's own arguments, as setproctitle(3) does. It extends into the environment's area only
after libc has copies of all variables. Where /proc cannot be used (in a chroot, or without rights to its files) the
same is done with ctypes; without ctypes the title stays as it is.
"""

from __future__ import annotations

import contextlib
import os
import sys

from fpm.system.prctl import PR_SET_NAME, load_prctl
from fpm.system.proc_stat import ARGUMENTS, read_stat

NAME = b"pyfpm"
_TITLE_MAX = 4095
"""Bytes; of a title that extends into the environment the kernel shows at most a page."""

_area: tuple[int, int, int] | None = None
"""Start and end of the arguments, and the end of the writable area; the same in forked processes."""
_environment_is_copied = False


def set_title(text: str) -> None:
    """Show this text as the process's command line, and the name pyfpm; never raise."""
    data = text.encode("utf-8", "backslashreplace").replace(b"\0", b" ")[:_TITLE_MAX]
    _set_name()
    area = _find_area()
    if area is None:
        return
    start, arguments_end, end = area
    length = arguments_end - start
    if len(data) >= length:
        _copy_environment()
        data = data[: end - start - 1]
    _write(start, data.ljust(length, b"\0") + b"\0" * (len(data) >= length))


def _set_name() -> None:
    try:
        with open("/proc/self/comm", "wb", buffering=0) as comm:
            comm.write(NAME)
    except OSError:
        with contextlib.suppress(ImportError, AttributeError, OSError):
            load_prctl()(PR_SET_NAME, NAME)


def _find_area() -> tuple[int, int, int] | None:
    global _area
    if _area is None:
        _area = _area_from_proc() or _area_from_libc()
    return _area


def _area_from_proc() -> tuple[int, int, int] | None:
    try:
        fields = read_stat("/proc/self/stat")
        start, end, env_start, env_end = (int(field) for field in fields[ARGUMENTS : ARGUMENTS + 4])
    except (OSError, ValueError):
        return None
    if not 0 < start < end:
        return None
    return start, end, env_end if env_start == end and env_end > end else end


def _area_from_libc() -> tuple[int, int, int] | None:
    """Find the area without /proc: libc knows where argv[0] is, and the contents are compared before use."""
    try:
        import ctypes

        start = ctypes.c_void_p.in_dll(ctypes.CDLL(None), "program_invocation_name").value
    except (ImportError, ValueError, OSError):
        return None
    expected = b"".join(os.fsencode(argument) + b"\0" for argument in sys.orig_argv)
    if not start or not ctypes.string_at(start, 1) or ctypes.string_at(start) != expected.partition(b"\0")[0]:
        return None
    if ctypes.string_at(start, len(expected)) != expected:
        return None
    return start, start + len(expected), start + len(expected)


def _copy_environment() -> None:
    """Have libc copy every variable to the heap, so that their original area can be overwritten."""
    global _environment_is_copied
    if _environment_is_copied:
        return
    for name, value in os.environb.items():
        with contextlib.suppress(OSError, ValueError):
            os.putenv(name, value)
    _environment_is_copied = True


def _write(address: int, data: bytes) -> None:
    try:
        fd = os.open("/proc/self/mem", os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        with contextlib.suppress(ImportError):
            import ctypes

            ctypes.memmove(address, data, len(data))
        return
    try:
        os.pwrite(fd, data, address)
    except OSError:
        return  # the kernel forbids it: the old title stays
    finally:
        os.close(fd)
