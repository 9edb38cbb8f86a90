"""What a process has written of late, as far as it explains its end. Pure."""

from __future__ import annotations

from collections import deque

from fpm.master.pool.death_report import STACK_MAX, is_ours
from fpm.status.death_text import FATAL

KEPT = 60
"""Lines that are kept to explain why a worker does not become ready."""
SHORTLY = 1.0
"""Seconds before the end in which a line may tell of it."""
LINES = 3
_CURRENT = "Current thread "
_FRAME = "  "
_DUMP = "Timeout ("
"""How faulthandler.dump_traceback_later() begins."""


class LastWords:
    """The last lines of a worker's output, and Python's own account of a crash if it has given one."""

    def __init__(self) -> None:
        self.lines: deque[str] = deque(maxlen=KEPT)
        self._at = 0.0
        """Monotonic seconds of the last line."""
        self._crash: list[str] = []
        self._in_thread = False
        """Within the stack of the thread that has crashed; faulthandler may write those of others before and after."""

    def add(self, line: str, now: float) -> None:
        """One line, escaped; `now` is monotonic seconds."""
        self._at = now
        self.lines.append(line)
        if line.startswith(FATAL):
            self._crash, self._in_thread = [line], False
        elif self._crash and line.startswith(_CURRENT):
            self._in_thread = True
        elif self._in_thread:
            self._in_thread = line.startswith(_FRAME) and not is_ours(line) and len(self._crash) < STACK_MAX
            if self._in_thread:
                self._crash.append(line)

    @property
    def has_dump(self) -> bool:
        """Has it shown its stack, as the process of an import does shortly before its startup_timeout is over?"""
        return any(line.startswith(_DUMP) for line in self.lines)

    def text(self) -> str:
        """All lines that are kept."""
        return "\n".join(self.lines)

    def of_end(self, now: float, *, by_exit: bool) -> tuple[str, ...]:
        """The lines that tell of the end.

        Args:
            now: monotonic seconds of the end.
            by_exit: it has ended with an exit code of its own: then it may have said why.
        """
        if now - self._at > SHORTLY:
            return ()
        if self._crash and not by_exit:
            return tuple(self._crash)
        return tuple(self.lines)[-LINES:] if by_exit else ()
