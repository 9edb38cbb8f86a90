"""The calibration itself, step by step."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from fpm.errors import Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable
import struct
import sys

from fpm.errors import CalibrationError
from fpm.stacks.calibration.check import check_offsets, check_stacks
from fpm.stacks.calibration.frames import Interpreter, find_frames, find_threads
from fpm.stacks.calibration.objects import find_code, find_objects, find_types
from fpm.stacks.layout import Layout, LayoutError, parse_layout

ADDRESSES = (1 << 12, 1 << 56)
"""What process_vm_readv(2) is asked for at all; beyond there is no memory of a process."""
BUFFER = 256 << 10
THREADS_MAX = 1000


class OwnProcess:
    """Reads by process_vm_readv(2), which gives an error where reading through a pointer would crash.

    Where that is forbidden (`seccomp = strict`), it has the kernel write its memory to a file, which gives one as well.
    """

    def __init__(self) -> None:
        """Load what is needed.

        Raises:
            Unsupported: there is no ctypes, or no process_vm_readv(2).
        """
        try:
            import ctypes
        except ImportError as error:
            raise Unsupported(f"the pool's Python has no ctypes: {error}") from error
        # PyDLL keeps the interpreter's lock during a call, so the threads that stand still go on doing so.
        library: Any = ctypes.PyDLL(None, use_errno=True)
        self._errno: Callable[[], int] = ctypes.get_errno
        try:
            self._api = [library[name] for name in ("PyThreadState_Get", "PyThreadState_GetInterpreter")]
            self._list = [library[name] for name in ("PyInterpreterState_ThreadHead", "PyThreadState_Next")]
            self._readv = library["process_vm_readv"]
            self._pwrite = library["pwrite"]
        except AttributeError as error:
            raise Unsupported(f"the pool's Python or C library lacks a function: {error}") from error
        for function in (*self._api, *self._list):
            function.restype = ctypes.c_void_p
        for function in (self._api[1], *self._list):
            function.argtypes = [ctypes.c_void_p]
        self._readv.restype = ctypes.c_ssize_t
        self._readv.argtypes = [ctypes.c_int, *[ctypes.c_void_p, ctypes.c_ulong] * 2, ctypes.c_ulong]
        self._pwrite.restype = ctypes.c_ssize_t
        self._pwrite.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_long]
        self._file = -1
        self._buffer = ctypes.create_string_buffer(BUFFER)
        self._local = (ctypes.c_size_t * 2)(ctypes.addressof(self._buffer), 0)
        self._remote = (ctypes.c_size_t * 2)()
        self._pid = os.getpid()
        self.runtime: int = _address_of_runtime(ctypes, library)
        """_PyRuntime; 0 where it is not exported."""
        self._try()

    def read(self, address: int, size: int) -> bytes:
        """Memory; fewer bytes, or none, where there is none."""
        if not ADDRESSES[0] <= address <= ADDRESSES[1] or not 0 < size <= BUFFER:
            return b""
        if self._file >= 0:
            count = self._pwrite(self._file, address, size, 0)
            return os.pread(self._file, count, 0) if count > 0 else b""
        self._local[1] = self._remote[1] = size
        self._remote[0] = address
        count = self._readv(self._pid, self._local, 1, self._remote, 1, 0)
        return bytes(memoryview(self._buffer)[:count]) if count > 0 else b""

    def address(self) -> int:
        """PyThreadState_GetInterpreter() of the running thread."""
        current, interpreter = self._api
        return int(interpreter(current()) or 0)

    def thread_states(self) -> list[int]:
        """All of the interpreter's, the newest first."""
        head, following = self._list
        found: list[int] = []
        state = head(self.address())
        while state and len(found) < THREADS_MAX:
            found.append(int(state))
            state = following(state)
        return found

    def _try(self) -> None:
        sample = b"process_vm_readv" * 4
        if sample in self.read(id(sample), 128):
            return
        reason = os.strerror(self._errno())
        with contextlib.suppress(OSError):
            self._file = os.memfd_create("pyfpm-calibration")
        if sample not in self.read(id(sample), 128):
            raise Unsupported(f"process_vm_readv(2) does not work here: {reason} (a seccomp filter?)")


def _address_of_runtime(ctypes: Any, library: Any) -> int:
    try:
        return int(ctypes.addressof(ctypes.c_char.in_dll(library, "_PyRuntime")))
    except ValueError:
        return 0


OLDEST = 0x030B
POINTER_SIZE = 8


def find_answer() -> dict[str, Any]:
    """The message of the calibration's child: {"layout": {...}}, or {"error": str, "final": bool}, where `final` means
    that another try gives nothing else.

    Raises:
        BaseException: an audit hook of the application may raise anything.
    """
    try:
        _refuse_unknown()
        return {"layout": calibrate(OwnProcess()).as_message()}
    except Unsupported as error:
        return {"error": str(error), "final": True}
    except (CalibrationError, LayoutError) as error:
        return {"error": str(error), "final": False}


def _refuse_unknown() -> None:
    """Before anything is tried: is this an interpreter of the kind that is understood at all?

    Raises:
        Unsupported: it is not.
    """
    name = sys.implementation.name
    if name != "cpython":
        raise Unsupported(f"the pool's Python is {name}; only CPython's stacks can be read")
    if "t" in sys.abiflags:
        raise Unsupported("the pool's Python is a free-threaded build, whose stacks cannot be read yet")
    if sys.hexversion >> 16 < OLDEST:
        raise Unsupported(f"the pool's Python is {sys.version.split()[0]}; stacks can be read from 3.11 on")
    if struct.calcsize("P") != POINTER_SIZE:
        raise Unsupported("the pool's Python is a 32-bit program")


def calibrate(own: Interpreter) -> Layout:
    """Find everything and check it.

    Raises:
        CalibrationError: something is not found for certain, or the check has failed.
        LayoutError: what was found is no possible layout.
    """
    values = {"version": sys.hexversion >> 16} | find_types() | find_objects(own.read)
    values |= find_code(own.read, values)
    threads, standing = find_threads(own)
    values |= threads
    values |= find_frames(own, standing, values["code_start"])
    check_offsets(values, own.read, own.runtime)
    layout = parse_layout(values)
    check_stacks(layout, own.read, standing)
    return layout
