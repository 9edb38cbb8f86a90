"""C functions among the frames: the threads' stacks are copied while they stand still, and followed afterwards."""

from __future__ import annotations

import os
from collections.abc import Mapping

from fpm.stacks.native.process import MACHINES, Maps, parse_maps, take_registers
from fpm.stacks.native.unwind import StackCopy, Unwinder, copy_stack, merge
from fpm.stacks.reading.memory import Read
from fpm.stacks.trace import Frame

COPIES_MAX = 64
"""Threads whose native frames are looked for; copying a stack takes time while the process stands still."""
MAPS_MAX = 4 << 20
"""Bytes of /proc/PID/maps."""


class NativeFrames:
    """Finds the native frames of one process.

    Args:
        read: its memory, also after it goes on.
    """

    def __init__(self, pid: int, read: Read) -> None:
        self._pid = pid
        self._read = read
        self._machine = MACHINES.get(os.uname().machine)
        self._maps = Maps(())
        self._copies: dict[int, StackCopy] = {}
        self._unwinder = Unwinder(self._maps, read)

    def prepare(self) -> None:
        """Read what is mapped, which needs rights."""
        try:
            with open(f"/proc/{self._pid}/maps", "rb") as file:
                self._maps = parse_maps(file.read(MAPS_MAX).decode("utf-8", "replace"))
        except OSError:  # hidden, or it has ended: there are no native frames then, and the note says so
            return
        self._unwinder = Unwinder(self._maps, self._read)

    def keep(self, tid: int, registers: Mapping[str, int]) -> None:
        """Copy what is needed of a thread that stands still."""
        if self._machine is None or len(self._copies) >= COPIES_MAX:
            return
        found = take_registers(self._machine, registers)
        mapping = self._maps.find(found.stack_pointer)
        if mapping is not None:
            self._copies[tid] = copy_stack(found, self._read, mapping.end)

    def merge(self, tid: int, frames: tuple[Frame, ...], whole: bool) -> tuple[tuple[Frame, ...], str]:
        """Merge Python's frames of a thread and the native ones, and say why some are missing ("" if none is).

        Args:
            whole: these are all of its Python frames.
        """
        if self._machine is None:
            return frames, f"native frames cannot be found on {os.uname().machine}"
        copy = self._copies.get(tid)
        if copy is None:
            return frames, "no native frames: its stack was not copied"
        calls, why = self._unwinder.unwind(copy)
        merged = merge(frames, calls, whole=whole and not why)
        return merged, f"older native frames are missing: {why}" if why else ""
