"""An entry of the text form while its lines are read."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import isfinite

from fpm.stacks.text.entry import Entry, as_reason
from fpm.stacks.text.format import EMPTY, unescape_text
from fpm.stacks.trace import Frame, How, ThreadStack, Trace

PARTS_MAX = 100_000
"""Frames, values and threads of one entry; one that has more was not written by us."""
VALUES_MAX = 500
"""Values of one frame."""
OWN = frozenset(
    ["age", "doing", "note", "reason", "request", "sample", "script_filename", "stage", "stopped", "taken by"]
)
"""Names of the lines between the head and the stack."""


@dataclass(slots=True)
class _Thread:
    tid: int
    main: bool
    doing: str = ""
    note: str = ""
    frames: list[Frame] = field(default_factory=list)

    def finish(self) -> ThreadStack:
        return ThreadStack(self.tid, self.main, tuple(self.frames), self.doing, "" if self.note == EMPTY else self.note)


@dataclass(slots=True)
class EntryBuilder:
    """Collects the lines of one entry, and makes the entry."""

    time: float
    pool: str
    pid: int
    error: str = ""
    _own: dict[str, str] = field(default_factory=dict)
    _threads: list[_Thread] = field(default_factory=list)
    _parts: int = 0

    def add_own(self, name: str, value: str) -> None:
        """Add a line of the head; an unknown one is of a later version."""
        if name in OWN and not self._threads:
            self._own[name] = value

    def add_thread(self, tid: int, doing: str) -> None:
        """Begin a thread that is not the main one."""
        if self._has_room():
            self._threads.append(_Thread(tid, False, doing))

    def add_frame(self, frame: Frame) -> None:
        """Add a call to the current thread, which is the main one at first."""
        if self._has_room():
            self._thread().frames.append(frame)

    def add_value(self, name: str, value: str) -> None:
        """Add a local variable to the last frame."""
        frames = self._threads[-1].frames if self._threads else []
        if frames and len(frames[-1].values) < VALUES_MAX and self._has_room():
            frames[-1] = replace(frames[-1], values=(*frames[-1].values, (name, value)))

    def add_note(self, note: str) -> None:
        """Add why the current thread's frames end."""
        thread = self._thread()
        thread.note = f"{thread.note}; {note}" if thread.note and len(thread.note) < PARTS_MAX else note

    def finish(self) -> Entry:
        """Make the entry of what there is."""
        own = self._own
        method, _, uri = own.get("request", "").partition(" ")
        how: How = "faulthandler" if own.get("taken by") == "faulthandler" else "ptrace" if self._threads else ""
        return Entry(
            self.time,
            self.pool,
            self.pid,
            as_reason(own.get("reason", "")),
            unescape_text(own.get("script_filename", "")),
            unescape_text(method),
            unescape_text(uri),
            _seconds(own.get("age", "")),
            unescape_text(own.get("stage", "")),
            _number(own.get("sample", "1")),
            Trace(
                self.pid,
                how,
                tuple([thread.finish() for thread in self._threads]),
                self.error,
                unescape_text(own.get("note", "")),
                _seconds(own.get("stopped", "")),
            ),
        )

    def _thread(self) -> _Thread:
        if not self._threads:
            self._threads.append(_Thread(self.pid, True, unescape_text(self._own.get("doing", ""))))
        return self._threads[-1]

    def _has_room(self) -> bool:
        self._parts += 1
        return self._parts <= PARTS_MAX


def _seconds(text: str) -> float:
    try:
        seconds = float(text.removesuffix(" s"))
    except ValueError:
        return 0.0
    return seconds if isfinite(seconds) and seconds >= 0 else 0.0


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 1
