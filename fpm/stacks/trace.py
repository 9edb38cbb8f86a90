"""What was seen of a process at one moment: the stacks of its threads, or why there are none. Pure."""

from __future__ import annotations

from typing import Literal

from fpm.frozen import dataclass

How = Literal["ptrace", "faulthandler", ""]
"""How a stack was taken: from outside, or by the worker itself on a signal; "" if it was not."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One call on a stack."""

    function: str
    """Qualified name ("Class.method"), or the C function's where `native`; "???" if it could not be read."""
    file: str
    """Source file, or the library's path where `native`; "" if it is not known."""
    line: int
    """0 if it is not known."""
    address: int = 0
    """Of the interpreter's frame, or the program counter where `native`."""
    native: bool = False
    values: tuple[tuple[str, str], ...] = ()
    """Local variables and what is shown of them, where that was asked for."""
    entry: bool = False
    """C has called Python here: native frames belong between this and the next older frame."""


@dataclass(frozen=True, slots=True)
class ThreadStack:
    """One thread."""

    tid: int
    """As the kernel numbers it; 0 if it is not known."""
    main: bool
    """The process's first thread, which serves the request."""
    frames: tuple[Frame, ...]
    """The newest call first."""
    doing: str = ""
    """One phrase: "running", "in recvfrom(3 <10.0.0.5:5432>)", "waiting for a lock"."""
    note: str = ""
    """Why the frames end early."""


@dataclass(frozen=True, slots=True)
class Trace:
    """One look at a process."""

    pid: int
    how: How
    threads: tuple[ThreadStack, ...] = ()
    """The main thread first."""
    error: str = ""
    """Why there is no stack, as a clause that says what to do where something can be done."""
    note: str = ""
    """What restricts a stack that there is, such as why it was not taken by ptrace."""
    stopped: float = 0.0
    """Seconds for which the process was stopped."""
    cost: float = 0.0
    """Seconds of a processor that it has taken to look at it, charged to its pool."""
