"""What the master and the tracer say to each other. The master checks types, ranges and sizes of all of it.

A task goes to the tracer with a memfd of the master's. The stack is written into that, so an answer on the channel only
says how many bytes of it count.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Annotated, Any, Literal, cast

from fpm.frozen import dataclass
from fpm.protocol.wire import MessageError, Range, as_object, read_object
from fpm.stacks.layout import Layout
from fpm.stacks.trace import Frame, ThreadStack, Trace

VERSION = 1
TRACE_MAX = 1 << 20
"""Bytes of one stack on its way; a frame has about 30."""
NAME_MAX = 4096
"""Characters of a function's name, a file's (PATH_MAX), a value; longer ones are cut."""
TEXT_MAX = 4096
"""Characters of an error or a note."""
DEPTH_MAX = 10_000
"""Frames of a thread that are read at most, also with `pyfpm trace --depth`."""
THREADS_MAX = 4096
ADDRESS_MAX = 1 << 64
LINE_MAX = 1 << 31
TRACE_SECONDS = 2.5
"""Seconds that the tracer may take for one process; the master waits a little longer."""
CUT = "..."

LocalValues = Literal["", "types", "values"]
"""What is wanted of local variables: nothing, their types, or simple values too."""


@dataclass(frozen=True, slots=True)
class TraceTask:
    """Read the stack of one process. A memfd comes with the message."""

    pid: int
    started: int = 0
    """Its start in clock ticks since boot (field 22 of /proc/PID/stat, proc(5)): the pid may be another's by now.
    0: not known."""
    ids: list[int] | None = None
    """Its user and group, which must still be its own when it has stopped; None: not known."""
    layout: Layout | None = None
    """Of its interpreter's structures; None: only what its threads do is wanted."""
    depth: int = 20
    """The most frames of a thread."""
    native: bool = False
    """Whether C functions are wanted among the frames."""
    values: LocalValues = ""
    seconds: float = TRACE_SECONDS
    """The most that it may take."""
    number: int = 0
    """Set by the master's end (fpm.master.tracing.tracer_process)."""
    until: float = 0.0
    """Monotonic seconds, also the master's: when nobody waits for the answer any more."""


@dataclass(frozen=True, slots=True)
class TracerReady:
    """The tracer has started and takes tasks."""


@dataclass(frozen=True, slots=True)
class TraceAnswer:
    """The answer to a TraceTask."""

    number: Annotated[int, Range(0, 1 << 62)]
    size: Annotated[int, Range(0, TRACE_MAX)] = 0
    """How many bytes of the memfd count."""
    error: Annotated[str, Range(0, TEXT_MAX)] = ""
    """Why there are none."""
    seconds: Annotated[float, Range(0, 1e9)] = 0.0
    """Of a processor, for looking at it."""


def as_message(message: TraceTask | TracerReady | TraceAnswer) -> dict[str, Any]:
    """Make the JSON object that goes over the channel."""
    return as_object(message, VERSION)


def read_task(values: dict[str, Any]) -> TraceTask:
    """Read a message of the master.

    Raises:
        MessageError: it is no task.
    """
    return cast(TraceTask, read_object(values, {"TraceTask": TraceTask}, VERSION))


def read_answer(values: dict[str, Any]) -> TracerReady | TraceAnswer:
    """Read a message of the tracer.

    Raises:
        MessageError: it is nothing that the tracer may say.
    """
    kinds = {"TracerReady": TracerReady, "TraceAnswer": TraceAnswer}
    return cast(TracerReady | TraceAnswer, read_object(values, kinds, VERSION))


# -------------------------------------------------------------------------------------------------------- the trace


def pack_trace(trace: Trace, room: int = TRACE_MAX) -> bytes:
    """Write a trace as JSON of at most `room` bytes (at least 64 KiB).

    Each name stands there once. Threads that do not fit are left out, and the note says how many; the first thread is
    shortened at its oldest end instead.
    """
    packing = _Packing(room - 12 * TEXT_MAX)  # as JSON writes the least handy characters
    threads: list[Any] = []
    for thread in trace.threads:
        packed = packing.thread(thread, shorten=not threads)
        if packed is None:
            break
        threads.append(packed)
    left_out = len(trace.threads) - len(threads)
    note = f"{left_out} more threads do not fit into the answer" if left_out else ""
    message = {
        "pid": trace.pid,
        "how": trace.how,
        "error": cut(trace.error, TEXT_MAX // 2),
        "note": "; ".join(filter(None, (cut(trace.note, TEXT_MAX // 2), note))),
        "stopped": trace.stopped,
        "names": list(packing.names),
        "threads": threads,
    }
    return json.dumps(message, separators=(",", ":")).encode()


def unpack_trace(data: bytes) -> Trace:
    """Read a trace out of JSON that nobody vouches for.

    Raises:
        MessageError: it is not what `pack_trace` makes.
    """
    try:
        message = json.loads(data)
        names = [_text(name, NAME_MAX + len(CUT)) for name in message["names"]]
        threads = message["threads"]
        if len(threads) > THREADS_MAX:
            raise MessageError("too many threads")
        return Trace(
            pid=_int(message["pid"], 1 << 31),
            how="ptrace" if message["how"] == "ptrace" else "",
            threads=tuple(_unpack_thread(thread, names) for thread in threads),
            error=_text(message["error"], TEXT_MAX),
            note=_text(message["note"], TEXT_MAX),
            stopped=_seconds(message["stopped"]),
        )
    except MessageError:
        raise
    except (ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
        raise MessageError(f"not a stack: {type(error).__name__}: {error}") from error


def cut(text: str, room: int = NAME_MAX) -> str:
    """Cut a text to `room` characters and "...", and escape what UTF-8 cannot write (a traced process may have half
    pairs of surrogates)."""
    short = text if len(text) <= room else text[:room] + CUT
    return short if short.isascii() else short.encode("utf-8", "backslashreplace").decode()[: room + len(CUT)]


class _Packing:
    """Packs threads, and knows the names so far and the bytes that are left."""

    def __init__(self, room: int) -> None:
        self.names: dict[str, int] = {}
        self._room = room

    def thread(self, thread: ThreadStack, *, shorten: bool) -> list[Any] | None:
        """Pack a thread; None if it does not fit."""
        doing, note = cut(thread.doing), cut(thread.note)
        room = self._room - 64 - len(json.dumps(doing)) - len(json.dumps(note))
        before = len(self.names)
        frames: list[Any] = []
        for frame in thread.frames[:DEPTH_MAX]:
            last_names = len(self.names)
            packed, size = self._frame(frame)
            if size > room:
                self._drop_names(last_names)
                if not shorten:
                    self._drop_names(before)
                    return None
                note = f"{len(thread.frames) - len(frames)} older frames do not fit into the answer"
                break
            room -= size
            frames.append(packed)
        if room < 0:
            return None
        self._room = room
        return [thread.tid, int(thread.main), doing, note, frames]

    def _frame(self, frame: Frame) -> tuple[list[Any], int]:
        (function, one), (file, two) = self._name(frame.function), self._name(frame.file)
        packed: list[Any] = [function, file, frame.line, frame.address]
        size = one + two + 64
        if frame.native or frame.values:
            values = [(cut(name), cut(value)) for name, value in frame.values]
            packed += [int(frame.native), values]
            size += len(json.dumps(values)) + 8
        return packed, size

    def _name(self, text: str) -> tuple[int, int]:
        """Return the number of a name, and the bytes that it adds."""
        name = cut(text)
        known = self.names.get(name)
        if known is not None:
            return known, 0
        number = self.names[name] = len(self.names)
        return number, len(json.dumps(name)) + 1

    def _drop_names(self, before: int) -> None:
        for name in list(self.names)[before:]:
            del self.names[name]


def _unpack_thread(packed: Any, names: list[str]) -> ThreadStack:
    tid, main, doing, note, frames = packed
    if len(frames) > DEPTH_MAX:
        raise MessageError("too many frames")
    return ThreadStack(
        tid=_int(tid, 1 << 31),
        main=main == 1,
        frames=tuple(_unpack_frame(frame, names) for frame in frames),
        doing=_text(doing, NAME_MAX + len(CUT)),
        note=_text(note, NAME_MAX + len(CUT)),
    )


def _unpack_frame(packed: Any, names: list[str]) -> Frame:
    """Read a frame. There may be thousands, and the master waits for them: the usual form is read in one go."""
    function, file, line, address, *rest = packed
    count = len(names)
    for value, limit in ((function, count), (file, count), (line, LINE_MAX), (address, ADDRESS_MAX)):
        if type(value) is not int or not 0 <= value < limit:
            raise MessageError("a number is out of range")
    if not rest:
        return Frame(names[function], names[file], line, address)
    native, values = rest
    return Frame(names[function], names[file], line, address, native == 1, tuple(_pairs(values)))


def _pairs(values: Any) -> Iterable[tuple[str, str]]:
    for name, value in values:
        yield _text(name, NAME_MAX + len(CUT)), _text(value, NAME_MAX + len(CUT))


def _int(value: Any, limit: int) -> int:
    """Check that a value is an integer from 0 to limit - 1."""
    if type(value) is not int or not 0 <= value < limit:
        raise MessageError("a number is out of range")
    return value


def _text(value: Any, room: int) -> str:
    if not isinstance(value, str) or len(value) > room:
        raise MessageError("a text is too long, or none")
    return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()


def _seconds(value: Any) -> float:
    if not isinstance(value, int | float) or not 0.0 <= value < 3600.0:
        raise MessageError("a time is out of range")
    return float(value)
