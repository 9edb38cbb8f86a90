"""The last different exceptions of a pool's application, out of what its workers say for the log and print. Pure.

Nothing of it is believed, and all of it is bounded. The time that it takes is charged to the pool, as all reading is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any

from fpm.events.worker import WorkerLogged
from fpm.frozen import dataclass
from fpm.stacks.text.exception import CALL_MAX, HEADER, Raised, own_first, read_exception, show_call, show_calls
from fpm.status.exceptions import SeenException, read_exception_seen

KEPT = 10
"""Different exceptions; of more, those that have not come for the longest time are forgotten."""
REQUEST_MAX = 1024
"""Characters."""
SAID = "uncaught exception\n"
"""What fpm.worker.request and fpm.worker.background write before the traceback."""
TEXTS_MAX = 30
"""Texts that are recognized without being read again."""
PRINTED_MAX = 300
"""Lines of a traceback that is printed."""
PRINTED_SIZE = 32768
"""Characters of it: so much is kept for each stream of each worker, whatever it prints."""
CHAINED = (
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
)
"""Between two tracebacks of which the second tells what has become of the first."""

Key = tuple[str, str]
"""Type and place."""


@dataclass(frozen=True, slots=True)
class Printed:
    """A traceback that a worker has printed."""

    text: str
    follows: bool
    """It is what has become of the exception printed before it."""


class TracebackLines:
    """Finds tracebacks among the lines that one process prints."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._size = 0
        self._follows = False

    def add(self, line: str) -> Printed | None:
        """Take a line; returns the traceback that ends with it."""
        if line.endswith(HEADER):
            self._lines, self._size = [line], len(line)
            return None
        if not self._lines:
            self._follows = line in CHAINED or (self._follows and not line.strip())
            return None
        self._lines.append(line)
        self._size += len(line)
        is_inside = not line[:1].strip()
        if is_inside and len(self._lines) < PRINTED_MAX and self._size < PRINTED_SIZE:
            return None
        printed = None if is_inside else Printed("\n".join(self._lines), self._follows)
        self._lines, self._follows = [], False
        return printed


class ExceptionMemory:
    """Remembers them for one pool."""

    def __init__(self) -> None:
        self._kept: dict[Key, SeenException] = {}
        """The one that has come last is the last."""
        self._read: dict[int, SeenException] = {}
        """What has been read, by the hash of the text above its last line: most differ in their message at most."""
        self._undo: tuple[int, Key, SeenException | None] | None = None
        """Of the last one: its worker, its key, and what was kept before it."""

    @property
    def newest_first(self) -> list[SeenException]:
        """Return what is kept."""
        return list(self._kept.values())[::-1]

    def take(self, event: WorkerLogged) -> None:
        """Remember what a worker says, if it is about an exception."""
        _, said, traceback = event.message.partition(SAID)
        if said and event.severity == "error":
            self._add(traceback, event.request, event.pid, event.time, printed=False)

    def take_printed(self, printed: Printed, request: str, pid: int, now: float) -> None:
        """Remember a traceback that a worker has printed, during this request; `now` is epoch seconds."""
        if printed.follows and self._undo is not None and self._undo[0] == pid:
            _, key, before = self._undo
            self._kept.pop(key, None)
            if before is not None:
                self._kept[key] = before
        self._add(printed.text, request, pid, now, printed=True)

    def dump(self) -> list[dict[str, Any]]:
        """Describe them for the next master."""
        return [asdict(one) for one in self._kept.values()]

    def restore(self, state: Iterable[Mapping[str, Any]]) -> None:
        """Go on where `dump` was."""
        self._kept = {(one.kind, one.place): one for one in map(read_exception_seen, state)}

    def _add(self, traceback: str, request: str, pid: int, now: float, *, printed: bool) -> None:
        seen = self._recognize(traceback)
        if seen is not None:
            new = replace(seen, count=1, first=now, last=now, pid=pid, request=request[:REQUEST_MAX], printed=printed)
            self._keep((seen.kind, seen.place), new)

    def _recognize(self, traceback: str) -> SeenException | None:
        above, _, last = traceback.rpartition("\n")
        text = hash(above)
        known = self._read.get(text)
        if known is not None and (last == known.kind or last.startswith(f"{known.kind}: ")):
            return replace(known, message=last[len(known.kind) + 2 :][:CALL_MAX])
        raised = read_exception(traceback)
        if raised is None:
            return None
        if len(self._read) >= TEXTS_MAX:
            self._read.clear()
        seen = self._read[text] = _describe(raised)
        return seen

    def _keep(self, key: Key, seen: SeenException) -> None:
        before = self._kept.pop(key, None)
        if before is not None:
            seen = replace(seen, count=before.count + 1, first=before.first)
        self._kept[key] = seen
        self._undo = (seen.pid, key, before)
        if len(self._kept) > KEPT:
            del self._kept[next(iter(self._kept))]


def _describe(raised: Raised) -> SeenException:
    own = own_first(raised.frames)
    return SeenException(
        kind=raised.kind[:CALL_MAX],
        message=raised.message[:CALL_MAX],
        place=show_call(own) if own is not None else "",
        count=0,
        first=0.0,
        last=0.0,
        pid=0,
        stack=show_calls(raised.frames),
    )
