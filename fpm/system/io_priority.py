"""Sets the priority of a process at disks (ioprio_set(2)), for which no C library has a function."""

from __future__ import annotations

from collections.abc import Callable

from fpm.kernel.system_call import load_system_call

WHO_PROCESS = 1
CLASSES = {"realtime": 1, "best-effort": 2, "idle": 3}
CLASS_SHIFT = 13


def io_priority_number(text: str) -> int:
    """Return the kernel's number for a class and a level in it, as in "best-effort 4" or "idle"."""
    name, _, level = text.partition(" ")
    return CLASSES[name] << CLASS_SHIFT | int(level or 0)


def load_set_io_priority() -> Callable[[str], None]:
    """Load the C library and return a function that sets the priority of the calling thread and its descendants.

    The returned function loads nothing, as that of fpm.system.prctl. It raises OSError.

    Raises:
        ImportError: this Python has no ctypes.
    """
    call = load_system_call()

    def set_io_priority(text: str) -> None:
        call("ioprio_set", WHO_PROCESS, 0, io_priority_number(text))

    return set_io_priority
