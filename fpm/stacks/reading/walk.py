"""From the interpreter to its threads, their frames and code: all that must be read while the process is stopped.

Nothing that is read is believed: a thread that does not belong to the interpreter, an object of another type, a pointer
to nowhere, a list without an end, each ends the walk with a note. Every way through is bounded by ReadLimits.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

from fpm.frozen import dataclass
from fpm.stacks.layout import ABSENT, Layout
from fpm.stacks.reading.memory import BYTE, POINTER, Memory, Read, Record, Unreadable
from fpm.stacks.reading.objects import Objects, RawCode
from fpm.stacks.reading.values import FRAMES, Values

NO_CALL = frozenset({"<shim>", "__init__"})
"""File names of code objects that CPython puts between calls; their tables have no line, in one byte or none."""

SPARE = 16
"""Shims beyond one for each frame; more are no real stack."""


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """How much is read of a process at most."""

    threads: int = 512
    frames: int = 2000
    """Of each thread, the newest."""
    total: int = 40_000
    """Frames of all threads; so many take a twentieth of a second to read."""
    memory: int = 64 << 20
    """Bytes in all."""
    first_alone: bool = False
    """Frames of the first thread only, which is the oldest."""


class RawFrame(NamedTuple):
    """One call."""

    address: int
    code: RawCode
    offset: int
    """Of the instruction in the code, in bytes; negative if the frame has not begun."""
    entry: bool
    """C has called Python here: native frames belong between it and the next older one."""
    values: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class RawThread:
    """One thread state of the interpreter."""

    ident: int
    """threading.get_ident(): pthread_self()."""
    native_id: int
    """As the kernel numbers it; 0: not known."""
    frames: tuple[RawFrame, ...]
    """The newest first."""
    note: str = ""
    """Why the frames, or the threads after this one, end early."""


def collect(layout: Layout, read: Read, limits: ReadLimits, values: str = "") -> tuple[RawThread, ...]:
    """Read all that resolve() needs, while the process does not run.

    Args:
        read: gives memory of the process; it is asked for whole pages, each once, so it needs no cache.
        values: "" for no local variables, "types" for the names of their types, "values" for simple values too.

    Returns:
        The threads in the interpreter's order, the newest first. A list that cannot be read to its end has a last
        thread without number and frames, whose note says why.
    """
    return _Walk(layout, Memory(read, limits.memory), limits, values).threads()


class _Walk:
    """Walks through the threads of one process."""

    def __init__(self, layout: Layout, memory: Memory, limits: ReadLimits, level: str) -> None:
        self.layout = layout
        self.memory = memory
        self.limits = limits
        self.left = limits.total
        self.objects = Objects(layout, memory)
        self.values = Values(layout, memory, self.objects, level) if level else None
        direct = layout.thread_cframe == ABSENT
        self.thread = Record(
            (layout.thread_interpreter, POINTER),
            (layout.thread_next, POINTER),
            (layout.thread_ident, POINTER),
            (layout.thread_native, POINTER),
            (layout.thread_frame if direct else layout.thread_cframe, POINTER),
        )
        entry = layout.frame_owner if layout.frame_entry == ABSENT else layout.frame_entry
        self.frame = Record(
            (layout.frame_code, POINTER),
            (layout.frame_previous, POINTER),
            (layout.frame_instruction, POINTER),
            *((place, BYTE) for place in dict.fromkeys((layout.frame_owner, entry))),
        )

    def threads(self) -> tuple[RawThread, ...]:
        """Read all threads of the interpreter."""
        heads, note = self.heads()
        if self.limits.first_alone:
            heads = heads[-1:]
        # The oldest is the one that serves requests: what there is of the limits is used for it first.
        found = [self.one_thread(*head) for head in reversed(heads)]
        found.reverse()
        if note:
            found.append(RawThread(0, 0, (), note))
        return tuple(found)

    def heads(self) -> tuple[list[tuple[int, int, int]], str]:
        """Read the ident, native id and first frame of each thread; and why the list ends early."""
        heads: list[tuple[int, int, int]] = []
        seen: set[int] = set()
        try:
            address = self.pointer(self.layout.at_interpreter + self.layout.interpreter_threads)
            if not address:
                raise Unreadable("the interpreter has no thread")
            while address:
                if address in seen:
                    raise Unreadable("the list of threads is a ring")
                if len(heads) == self.limits.threads:
                    raise Unreadable(f"more than {self.limits.threads} threads")
                seen.add(address)
                interpreter, following, *head = self.thread.take(*self.memory.view(address, self.thread.size))
                if interpreter != self.layout.at_interpreter:
                    raise Unreadable(f"no thread of this interpreter at {address:#x}")
                heads.append((head[0], head[1], head[2]))
                address = following
        except Unreadable as error:
            return heads, str(error)
        return heads, ""

    def one_thread(self, ident: int, native: int, frame: int) -> RawThread:
        """Read the frames of a thread, or those that can be read."""
        frames: list[RawFrame] = []
        note = ""
        try:
            if self.layout.thread_cframe != ABSENT and frame:
                frame = self.pointer(frame + self.layout.thread_frame)
            self.take_frames(frame, frames)
        except Unreadable as error:
            note = str(error)
        self.left -= len(frames)
        return RawThread(ident, native, tuple(frames), note)

    def pointer(self, address: int) -> int:
        """Read eight bytes as a number."""
        return int.from_bytes(self.memory.copy(address, 8), sys.byteorder)

    def take_frames(self, address: int, frames: list[RawFrame]) -> None:
        """Read the frames from the newest on, and append them to `frames`."""
        layout = self.layout
        pointer_bits = ~layout.frame_tags
        size, take = self.frame.size, self.frame.take
        view, code_of = self.memory.view, self.objects.code
        seen: set[int] = set()
        limit = min(self.limits.frames, self.left)
        most = limit * 2 + SPARE
        while address:
            if address in seen:
                raise Unreadable("the frames are a ring")
            if len(frames) == limit:
                raise Unreadable(f"only the newest {limit} frames" if limit else "too many frames in other threads")
            if len(seen) > most:
                raise Unreadable("too many frames that are no calls")
            seen.add(address)
            code_address, previous, instruction, owner, *entry = take(*view(address, size))
            if owner >= layout.frame_shim:
                if frames:
                    frames[-1] = frames[-1]._replace(entry=True)
            else:
                code_address &= pointer_bits
                code = code_of(code_address)
                if len(code.table) > 1 or code.file not in NO_CALL:
                    offset = instruction - code_address - layout.code_start
                    shown = self.values.of_frame(address, code.names) if self.values and len(frames) < FRAMES else ()
                    frames.append(RawFrame(address, code, offset, bool(entry and entry[0]), shown))
            address = previous
