"""This process as the calibration sees it: its memory, and what CPython's C API says of its threads.

ctypes is imported only here and only in the forked child, so that a template pays nothing for it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from fpm.stacks.calibration.search import Refused

if TYPE_CHECKING:
    from collections.abc import Callable

ADDRESSES = (1 << 12, 1 << 56)
"""What process_vm_readv(2) is asked for at all; beyond there is no memory of a process."""
BUFFER = 256 << 10
THREADS_MAX = 1000


class OwnProcess:
    """Reads by process_vm_readv(2), which gives an error where reading through a pointer would crash."""

    def __init__(self) -> None:
        """Load what is needed.

        Raises:
            Refused: there is no ctypes, or no process_vm_readv(2).
        """
        try:
            import ctypes
        except ImportError as error:
            raise Refused(f"the pool's Python has no ctypes: {error}") from error
        # PyDLL keeps the interpreter's lock during a call, so the threads that stand still go on doing so.
        library: Any = ctypes.PyDLL(None, use_errno=True)
        self._errno: Callable[[], int] = ctypes.get_errno
        try:
            self._api = [library[name] for name in ("PyThreadState_Get", "PyThreadState_GetInterpreter")]
            self._list = [library[name] for name in ("PyInterpreterState_ThreadHead", "PyThreadState_Next")]
            self._readv = library["process_vm_readv"]
        except AttributeError as error:
            raise Refused(f"the pool's Python or C library lacks a function: {error}") from error
        for function in (*self._api, *self._list):
            function.restype = ctypes.c_void_p
        for function in (self._api[1], *self._list):
            function.argtypes = [ctypes.c_void_p]
        self._readv.restype = ctypes.c_ssize_t
        self._readv.argtypes = [ctypes.c_int, *[ctypes.c_void_p, ctypes.c_ulong] * 2, ctypes.c_ulong]
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
        if sample not in self.read(id(sample), 128):
            reason = os.strerror(self._errno())
            raise Refused(f"process_vm_readv(2) does not work here: {reason} (a seccomp filter?)")


def _address_of_runtime(ctypes: Any, library: Any) -> int:
    try:
        return int(ctypes.addressof(ctypes.c_char.in_dll(library, "_PyRuntime")))
    except ValueError:
        return 0
