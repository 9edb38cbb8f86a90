"""A worker's own part of the scoreboard: its stage byte and its slot (fpm.scoreboard.layout has the rules)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from types import ModuleType

from fpm.scoreboard.counting import STATISTICS_LAYOUT, RequestCounter
from fpm.scoreboard.layout import (
    INTERRUPT,
    INTERRUPT_OFFSET,
    WAKE_BELOW,
    WAKE_BELOW_OFFSET,
    field_offset,
    slot_offset,
    stages_offset,
)
from fpm.scoreboard.memory import Scoreboard
from fpm.scoreboard.route_table import ROUTES_LAYOUT
from fpm.scoreboard.snapshot import (
    METHOD_SIZE,
    QUERY_SIZE,
    SCRIPT_SIZE,
    TASK_SIZE,
    TASKS_SIZE,
    URI_SIZE,
    USER_SIZE,
)
from fpm.scoreboard.stages import Stage

# The groups of fields of layout.SLOT that are written together, and where they begin in it (a test compares them).
IDENTITY = struct.Struct("<Id")
IDENTITY_OFFSET = 4
BEGIN = struct.Struct(f"<QdQQQIQI{METHOD_SIZE}s{URI_SIZE}s{QUERY_SIZE}sd")
BEGIN_OFFSET = 16
DONE = struct.Struct("<QQ")
DONE_OFFSET = 32
MEMORY = struct.Struct("<Q")
MEMORY_OFFSET = 60
SCRIPT = struct.Struct(f"<{SCRIPT_SIZE}s")
SCRIPT_OFFSET = BEGIN_OFFSET + BEGIN.size
USER = struct.Struct(f"<{USER_SIZE}s")
USER_OFFSET = SCRIPT_OFFSET + SCRIPT.size
SLOW_OFFSET = 56
ERRORS_OFFSET = USER_OFFSET + USER.size
EARLY_OFFSET = ERRORS_OFFSET + 4
BACKGROUND = struct.Struct(f"<Id{TASKS_SIZE}sd")
BACKGROUND_OFFSET = EARLY_OFFSET + 4
SENT = struct.Struct("<d")
SENT_OFFSET = field_offset("sent")

CALM_AFTER = 200
COMPILED_LAYOUT = (
    WAKE_BELOW_OFFSET,
    stages_offset(),
    BEGIN_OFFSET,
    BEGIN.size,
    DONE_OFFSET,
    SLOW_OFFSET,
    USER_OFFSET,
    int(Stage.ACCEPTING),
    int(Stage.READING_HEADERS),
    int(Stage.EXECUTING),
    int(Stage.END),
    *ROUTES_LAYOUT,
    *STATISTICS_LAYOUT,
)
"""Where the compiled hot path writes; it names the same numbers (LAYOUT in fpm/_hotpath.c)."""

_ALL = slice(None)
_FREE = int(Stage.FREE)
_CREATING = int(Stage.CREATING)
_READING_HEADERS = int(Stage.READING_HEADERS)
_IDLE = int(Stage.ACCEPTING)
_EXECUTING = int(Stage.EXECUTING)
_ENDING = int(Stage.END)


class SlotWriter:
    """Writes one worker's slot.

    It has many attributes: each request writes through views and from numbers that are looked up once. Where there is
    a compiled hot path, it counts and writes as well: then these numbers are in its Slot (compile_writer()).

    Args:
        index: the slot, given by the master with the fork.
        pid, started: process id, epoch seconds.
        script: what the status page shows as the script.
    """

    def __init__(self, board: Scoreboard, index: int, *, pid: int, started: float, script: str) -> None:
        self._board = board.view
        self.stages = board.stages
        """The stage bytes of the pool; this worker writes the one at `index`."""
        self._offset = slot_offset(board.slots, index)
        self._begin = self._board[self._offset + BEGIN_OFFSET : self._offset + BEGIN_OFFSET + BEGIN.size]
        self._sequences = self._board.cast("I")
        self._counter = self._offset // 4
        self._wake_below = self._board[WAKE_BELOW_OFFSET : WAKE_BELOW_OFFSET + WAKE_BELOW.size].cast("H")
        self._sequence = self._sequences[self._counter] & ~1
        self._peak_active = 0
        self._memory = 0
        self._slow = 0
        self._user = False
        self._released = self._freed = 0.0
        self.index = index
        self.counter = RequestCounter(board.statistics(index))
        """Counts in the block of the slot, which goes on from the worker before."""
        self.requests = self.failed = 0
        """`failed` is the last request in which the application has raised."""
        self.was_long = False
        """The last request was long: so the next one is measured from its start (fpm.worker.accounting.LONG)."""
        self.last_long = 0
        """The last request that took so long that others should not wait for it (fpm.worker.accounting.NOTICED)."""
        self._open()
        IDENTITY.pack_into(self._board, self._offset + IDENTITY_OFFSET, pid, started)
        SCRIPT.pack_into(self._board, self._offset + SCRIPT_OFFSET, script.encode("utf-8", "replace"))
        self._close()
        self.bind(self._board, self._offset, board.slots, index, self.counter.block)

    def rename(self, pid: int) -> None:
        """Show another pid."""
        where = self._offset + IDENTITY_OFFSET
        self._open()
        IDENTITY.pack_into(self._board, where, pid, IDENTITY.unpack_from(self._board, where)[1])
        self._close()

    def _open(self) -> None:
        self._sequence = (self._sequence + 1) & 0xFFFFFFFF
        self._sequences[self._counter] = self._sequence

    _close = _open
    """The counter is odd between the two."""

    def set_stage(self, stage: int) -> None:
        """The stage byte; it stands outside of the slot, next to those of the other workers."""
        self.stages[self.index] = stage

    @contextmanager
    def waiting(self, stage: Stage) -> Iterator[None]:
        """Show that the worker waits for the web server in the middle of a request (see fpm.worker.socket_io)."""
        stages, index = self.stages, self.index
        if stages[index] != _EXECUTING:
            yield
            return
        stages[index] = stage
        try:
            yield
        finally:
            stages[index] = _EXECUTING

    def is_calm(self) -> bool:
        """Whether of the last CALM_AFTER requests all were short enough to be waited for."""
        return self.requests - self.last_long >= CALM_AFTER

    def others_idle(self) -> bool:
        """Whether another worker is idle; this one does not count, idle or not."""
        mine = self.stages[self.index] == _IDLE
        return self.stages.tobytes().count(_IDLE) > mine

    def others_serving(self) -> bool:
        """Whether there is another worker that takes connections, busy now or not."""
        every = self.stages.tobytes()
        away = every.count(_FREE) + every.count(_CREATING) + every.count(_ENDING)
        mine = every[self.index] not in (_FREE, _CREATING, _ENDING)
        return len(every) - away > mine

    def take(self) -> bool:
        """A request has come: READING_HEADERS. True if the master wants to hear that few workers are idle now."""
        stages = self.stages
        stages[self.index] = _READING_HEADERS
        self.requests += 1
        every = stages.tobytes()
        idle = every.count(_IDLE)
        active = len(every) - every.count(_FREE) - every.count(_CREATING) - idle
        if active > self._peak_active:
            self._peak_active = active
        return idle < self._wake_below[0]

    def begin(self, now: float, method: str, uri: str, query: str, length: int, user: str, began: float = 0.0) -> None:
        """What the request is; texts are Latin-1 as in environ and are cut to their fields.

        Args:
            now: epoch seconds.
            began: when its variables were there, monotonic seconds.
        """
        self._sequences[self._counter] = sequence = (self._sequence + 1) & 0xFFFFFFFF
        # In one copy: pack_into() empties its place first, and a reader who meets a writer without a processor, and can
        # wait no longer, would find a worker that has served nothing.
        self._begin[_ALL] = BEGIN.pack(
            self.requests,
            now,
            0,
            0,
            length,
            self._slow,
            self._memory,
            self._peak_active,
            method.encode("latin-1"),
            uri.encode("latin-1"),
            query.encode("latin-1"),
            began,
        )
        if user or self._user:
            self._user = bool(user)
            USER.pack_into(self._board, self._offset + USER_OFFSET, user.encode("latin-1"))
        self._sequences[self._counter] = self._sequence = (sequence + 1) & 0xFFFFFFFF

    def end(self, duration: int, cpu: int, slow: bool = False) -> None:
        """How long the request took, its CPU time, both in microseconds, and whether it counts as slow."""
        self._sequences[self._counter] = sequence = (self._sequence + 1) & 0xFFFFFFFF
        DONE.pack_into(self._board, self._offset + DONE_OFFSET, duration, cpu)
        if slow:
            self._slow += 1
            self._count(SLOW_OFFSET)
        self._sequences[self._counter] = self._sequence = (sequence + 1) & 0xFFFFFFFF

    def mark_sent(self, now: float) -> None:
        """Bytes of the response are out, of a request that may still end in another way; `now` is monotonic seconds."""
        SENT.pack_into(self._board, self._offset + SENT_OFFSET, now)

    def count_error(self) -> None:
        """The application has raised."""
        self.failed = self.requests
        self._count(ERRORS_OFFSET)

    def _count(self, offset: int) -> None:
        # Four bytes in one store: a reader finds the number before or after.
        index = (self._offset + offset) // 4
        self._sequences[index] = min(self._sequences[index] + 1, 0xFFFFFFFF)

    def count_early(self) -> None:
        """Work for after the response ran before it."""
        self._count(EARLY_OFFSET)

    def background(self, waiting: Sequence[str], released: float, task: str) -> None:
        """What is done after the response.

        Args:
            waiting: the names of functions that have not begun yet; as many as there is room for are kept.
            released: when the response was complete, epoch seconds; 0.0: it is not, or the work is done.
            task: the name of the function that runs, cut to TASK_SIZE bytes.
        """
        # Of a long name the end tells more, and UTF-8 is not cut in the middle of a character.
        name = task.encode("utf-8", "replace")[-TASK_SIZE:].decode("utf-8", "ignore")
        names = "\n".join([name, *waiting]).encode("utf-8", "replace")
        if released != self._released:
            self._released, self._freed = released, monotonic() if released else 0.0
        self._open()
        BACKGROUND.pack_into(self._board, self._offset + BACKGROUND_OFFSET, len(waiting), released, names, self._freed)
        self._close()

    def take_interrupt(self) -> None:
        """The request is being interrupted: once is enough."""
        INTERRUPT.pack_into(self._board, self._offset + INTERRUPT_OFFSET, 0)

    def is_interrupt_wanted(self) -> bool:
        """Does the master want the present request to be interrupted?"""
        wanted: int = INTERRUPT.unpack_from(self._board, self._offset + INTERRUPT_OFFSET)[0]
        return wanted == self.requests & 0xFFFFFFFF

    def write_memory(self, memory: int) -> None:
        """The process's memory peak in bytes."""
        self._memory = memory
        self._open()
        MEMORY.pack_into(self._board, self._offset + MEMORY_OFFSET, memory)
        self._close()

    def bind(self, board: memoryview, offset: int, slots: int, index: int, statistics: memoryview) -> None:
        """Tell the compiled hot path, where there is one, where the slot and its statistics are."""

    def close(self) -> None:
        """Lets go of the memory, so that the scoreboard can be unmapped."""
        self._begin.release()
        self._sequences.release()
        self._wake_below.release()
        self.counter.close()


def compile_writer(module: ModuleType | None) -> type[SlotWriter]:
    """Make the SlotWriter whose numbers the compiled hot path shares.

    Args:
        module: fpm._hotpath; None: plain Python serves.
    """
    if module is None:
        return SlotWriter
    return type("CompiledSlotWriter", (module.Slot, SlotWriter), {"__slots__": ()})
