"""The scoreboard's memory, and the part of it that the master writes.

The memory is a sealed memfd: a process of the pool can scribble in it but not shrink it, which would kill the master by
SIGBUS at its next look.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
from collections.abc import Iterator

from fpm.scoreboard.layout import (
    HEADER_END,
    HEADER_SEQUENCE_OFFSET,
    INTERRUPT,
    INTERRUPT_OFFSET,
    MAGIC,
    SLOT_SIZE,
    START,
    WAKE_BELOW,
    WAKE_BELOW_OFFSET,
    board_size,
    routes_offset,
    slot_offset,
    slots_end,
    stages_offset,
    statistics_offset,
)
from fpm.scoreboard.numbers import PoolNumbers
from fpm.scoreboard.reading import SLOTS_MAX, absorb, pack_header, read_slot
from fpm.scoreboard.route_copy import copy_table
from fpm.scoreboard.route_table import ROUTES_SIZE
from fpm.scoreboard.snapshot import Slot
from fpm.scoreboard.stages import Stage
from fpm.scoreboard.statistics import STATISTICS_SIZE, sum_blocks

_SEQUENCE_MASK = 0xFFFFFFFF
_EMPTY = bytes(SLOT_SIZE - 4)
_BODY_OFFSET = HEADER_SEQUENCE_OFFSET + 4


class Scoreboard:
    """One pool's scoreboard, mapped and shared.

    Attributes:
        fd: the memfd; close-on-exec where this process has created it.
        slots: how many workers have room.
        view: all bytes.
        stages: the stage bytes alone, one for each slot.
    """

    def __init__(self, fd: int, slots: int, *, owns_fd: bool) -> None:
        self.fd = fd
        self.slots = slots
        self._owns_fd = owns_fd
        # One of a pyfpm before the statistics ends with its slots; what is smaller is no scoreboard (ValueError).
        stat = os.fstat(fd)
        self._file = stat.st_dev, stat.st_ino
        size = min(stat.st_size, board_size(slots))
        self._map = mmap.mmap(fd, max(size, slots_end(slots)))
        self.view = memoryview(self._map)
        self.stages = self.view[stages_offset() : stages_offset() + slots]

    @classmethod
    def create(cls, slots: int) -> Scoreboard:
        """Make an empty scoreboard.

        Raises:
            ValueError: `slots` is not from 1 to SLOTS_MAX.
            OSError: memfd_create(2), ftruncate(2) or mmap(2) failed.
        """
        if not 1 <= slots <= SLOTS_MAX:
            raise ValueError(f"a scoreboard has 1 to {SLOTS_MAX} slots, not {slots}")
        fd = os.memfd_create("pyfpm-scoreboard", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(fd, board_size(slots))
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
            board = cls(fd, slots, owns_fd=True)
        except BaseException:
            os.close(fd)
            raise
        START.pack_into(board.view, 0, MAGIC, 0, slots, SLOT_SIZE, 0)
        return board

    @classmethod
    def attach(cls, fd: int, slots: int) -> Scoreboard:
        """Map the scoreboard behind a descriptor that stays the caller's.

        Raises:
            ValueError: it is smaller than a scoreboard with that many slots, or none at all.
            OSError: mmap(2) failed.
        """
        board = cls(fd, slots, owns_fd=False)
        if bytes(board.view[: len(MAGIC)]) != MAGIC:
            board.close()
            raise ValueError(f"descriptor {fd} is not a scoreboard")
        return board

    @property
    def is_whole(self) -> bool:
        """Has it room for all that workers count?"""
        return len(self.view) == board_size(self.slots)

    def statistics(self, index: int) -> memoryview:
        """Return the block of a slot's statistics, to be released before close(); empty if there is no room for it."""
        return self._part(statistics_offset(self.slots, index), STATISTICS_SIZE)

    def routes(self, index: int) -> memoryview:
        """Return a slot's table of routes, to be released before close(); empty if there is no room for it."""
        return self._part(routes_offset(self.slots, index), ROUTES_SIZE)

    def _part(self, offset: int, size: int) -> memoryview:
        end = offset + size
        return self.view[offset:end] if end <= len(self.view) else self.view[:0]

    def sum_statistics(self) -> bytes:
        """Add up what all slots have counted, those without a worker too; see sum_blocks()."""
        return self._sum(0, self.slots)

    def sum_slots(self, first: int, last: int) -> bytes:
        """Add up what the slots from `first` to before `last` have counted; see sum_blocks()."""
        return self._sum(first, last)

    def find_written(self, first: int) -> int | None:
        """Find the first slot, from this one on, that may have counted something; None if there is none."""
        begin, end = statistics_offset(self.slots, first), statistics_offset(self.slots, self.slots)
        found = next(self._written(begin, end), None) if end <= len(self.view) else None
        return None if found is None else first + (found[0] - begin) // STATISTICS_SIZE

    def sum_everything(self) -> bytes:
        """Add up the same, and what the master says that the pool has counted elsewhere; for the pool's workers."""
        return self._sum(0, self.slots + 1)

    def write_elsewhere(self, block: bytes) -> None:
        """Say what the pool has counted on other scoreboards; only the master does."""
        place = self._part(statistics_offset(self.slots, self.slots), STATISTICS_SIZE)
        if len(place):
            place[:] = block.ljust(STATISTICS_SIZE, b"\0")
        place.release()

    def _sum(self, first: int, last: int) -> bytes:
        begin, end = statistics_offset(self.slots, first), statistics_offset(self.slots, last)
        if end > len(self.view):
            return b""
        found: list[bytes] = []
        for at, until in self._written(begin, end):
            before = (at - begin) % STATISTICS_SIZE  # what is cut off of a block is zeros, or with its neighbours
            part = bytes(before) + self.view[at:until]
            found += [part[start : start + STATISTICS_SIZE] for start in range(0, len(part), STATISTICS_SIZE)]
        return sum_blocks(found)

    def _written(self, begin: int, end: int) -> Iterator[tuple[int, int]]:
        """Find the parts that anybody has written to; to read the others, which are zeros, would give them memory."""
        try:
            stat = os.fstat(self.fd)
            if (stat.st_dev, stat.st_ino) != self._file:
                raise OSError(errno.EBADF, "an application has closed it, and another file has its number")
            while begin < end and (first := os.lseek(self.fd, begin, os.SEEK_DATA)) < end:
                begin = min(os.lseek(self.fd, first, os.SEEK_HOLE), end)
                yield first, begin
        except OSError as error:
            if error.errno != errno.ENXIO:  # that is: nothing is written any further
                yield begin, end

    def copy_routes(self, limit: int) -> list[bytes]:
        """Copy the tables of routes that are in use, those of the first slots, with at most `limit` bytes."""
        copied: list[bytes] = []
        for index in self._tables():
            with self.routes(index) as table:
                copy = copy_table(table)
            limit -= len(copy)
            if limit < 0:
                break
            if copy:
                copied.append(copy)
        return copied

    def _tables(self) -> Iterator[int]:
        """List the slots that have ever had a table of routes, and maybe others."""
        begin, end = routes_offset(self.slots, 0), routes_offset(self.slots, self.slots)
        after = 0
        for first, last in self._written(begin, end) if end <= len(self.view) else ():
            tables = range(max((first - begin) // ROUTES_SIZE, after), -(-(last - begin) // ROUTES_SIZE))
            yield from tables
            after = tables.stop

    def close(self) -> None:
        """Unmap it, and close the descriptor where `create` has made it. Views taken by others must be gone."""
        self.stages.release()
        self.view.release()
        self._map.close()
        if self._owns_fd:
            self._owns_fd = False
            os.close(self.fd)


def write_header(view: memoryview, values: PoolNumbers) -> None:
    """Write the header's values; only the master does. `wake_below` stays as it is."""
    sequence = _open_header(view)
    # A process of the pool may have overwritten what the next worker checks before it maps the scoreboard.
    view[: len(MAGIC)] = MAGIC
    view[_BODY_OFFSET:HEADER_END] = pack_header(values)[_BODY_OFFSET:HEADER_END]
    _write_sequence(view, HEADER_SEQUENCE_OFFSET, sequence + 1)


def retire_slot(view: memoryview, slots: int, index: int, values: PoolNumbers, now: float) -> Slot:
    """Move what a dead worker has counted from its slot to the header, so that no reader counts it twice or not at all.

    Args:
        now: epoch seconds.

    Returns:
        The slot as it was.
    """
    slot = read_slot(view, slots, index)
    absorb(values, [slot], now)
    sequence = _open_header(view)
    view[_BODY_OFFSET:HEADER_END] = pack_header(values)[_BODY_OFFSET:HEADER_END]
    clear_slot(view, slots, index)
    _write_sequence(view, HEADER_SEQUENCE_OFFSET, sequence + 1)
    return slot


def _open_header(view: memoryview) -> int:
    sequence = int.from_bytes(view[HEADER_SEQUENCE_OFFSET:_BODY_OFFSET], "little") | 1
    _write_sequence(view, HEADER_SEQUENCE_OFFSET, sequence)
    return sequence


def set_wake_below(view: memoryview, count: int) -> None:
    """Let workers tell the pool's eventfd when fewer than `count` of them are idle; 0: never."""
    WAKE_BELOW.pack_into(view, WAKE_BELOW_OFFSET, min(max(count, 0), 0xFFFF))


def want_interrupt(view: memoryview, slots: int, index: int, request: int) -> None:
    """Say that this request (its number in the slot) is to be interrupted: the signal that follows is for it alone."""
    INTERRUPT.pack_into(view, slot_offset(slots, index) + INTERRUPT_OFFSET, request & _SEQUENCE_MASK)


def is_interrupt_wanted(view: memoryview, slots: int, index: int, request: int) -> bool:
    """Has this request not been interrupted yet, though that is wanted?"""
    wanted: int = INTERRUPT.unpack_from(view, slot_offset(slots, index) + INTERRUPT_OFFSET)[0]
    return wanted == request & _SEQUENCE_MASK


def clear_slot(view: memoryview, slots: int, index: int) -> None:
    """Free a slot whose worker is gone (or was never made): stage FREE, all else 0."""
    view[stages_offset() + index] = Stage.FREE
    _empty_slot(view, slots, index)


def mark_creating(view: memoryview, slots: int, index: int) -> None:
    """Take a slot for a worker that is about to be forked; the worker fills it."""
    view[: len(MAGIC)] = MAGIC  # should a process of the pool have scribbled over it, the new worker would find none
    _empty_slot(view, slots, index)
    view[stages_offset() + index] = Stage.CREATING


def _empty_slot(view: memoryview, slots: int, index: int) -> None:
    # The counter goes on from where the last owner left it, so that a reader in the middle of the slot notices.
    offset = slot_offset(slots, index)
    sequence = int.from_bytes(view[offset : offset + 4], "little") | 1
    _write_sequence(view, offset, sequence)
    view[offset + 4 : offset + SLOT_SIZE] = _EMPTY
    _write_sequence(view, offset, sequence + 1)


def _write_sequence(view: memoryview, offset: int, sequence: int) -> None:
    view[offset : offset + 4] = (sequence & _SEQUENCE_MASK).to_bytes(4, "little")
