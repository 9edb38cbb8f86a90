"""What tracing knows of a process, and how much of its stack is wanted.

Workers and templates are targets by way of fpm.master.pool.stack_capture: tracing knows nothing of pools.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from fpm.frozen import dataclass
from fpm.master.processes.self_dump_fd import SelfDumpFd
from fpm.protocol.tracing import LocalValues
from fpm.stacks.layout import Layout
from fpm.stacks.trace import Trace

TraceDone = Callable[[Trace], None]
"""Gets a stack, or a Trace whose `error` says why there is none."""
LayoutDone = Callable[[Layout | str], None]
"""Gets the layout of an interpreter, or a clause that says why there is none."""


class TraceTarget(Protocol):
    """A process whose stack can be taken."""

    @property
    def pool(self) -> str:
        """The name of its pool."""

    @property
    def pid(self) -> int:
        """Its pid, which stays what it was when the process has ended."""

    @property
    def ids(self) -> tuple[int, int]:
        """The uid and gid that it was started with."""

    @property
    def is_responder(self) -> bool:
        """Whether it is a 503 responder, which runs no application."""

    @property
    def own_stack(self) -> SelfDumpFd:
        """Where it writes its stack itself."""

    @property
    def is_ready(self) -> bool:
        """Whether it has said that it has started (and, of a template, has not ended)."""

    def is_gone(self) -> bool:
        """Whether the process has ended."""

    def is_stranger(self) -> bool:
        """Whether it has become another user's, and so is neither looked at nor signalled."""

    def send_signal(self, number: int) -> None:
        """Send a signal to its first thread: another one would show where it is itself, and not wake the first.

        Raises:
            OSError: it has ended, or must not be sent a signal.
        """

    def request_layout(self, done: LayoutDone) -> None:
        """Ask its template for the layout of their interpreter; `done` is called exactly once, at once or later."""


@dataclass(frozen=True, slots=True)
class TraceOptions:
    """How much of a stack is wanted."""

    depth: int
    """Frames of each thread; 0: all."""
    native: bool = False
    """The frames of C functions, too."""
    values: LocalValues = ""
    is_asked_for: bool = False
    """An administrator waits for it: what it costs is not the pool's doing."""
