"""An entry as lines (PHP-FPM's, fpm_php_trace.c, and some of our own) or as one line of JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from fpm.log.escape import escape, show_stray_bytes
from fpm.log.times import format_log_time, local_time
from fpm.stacks.text.entry import Entry
from fpm.stacks.trace import Frame, ThreadStack

NAME_MAX = 500
"""Characters of a function's name."""
TEXT_MAX = 4000
"""Characters of a path, a URI or a reason."""
VALUE_MAX = 200
"""Characters of a local value."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPED = re.compile(r"(?:\\x[0-9a-f]{2})+")


def bound(text: str, limit: int = TEXT_MAX) -> str:
    """Cut a text to `limit` characters; bytes that were no UTF-8 become latin-1 characters, other surrogates U+FFFD."""
    kept = text if len(text) <= limit else text[: limit - 3] + "..."
    return kept if kept.isascii() else _SURROGATE.sub("\ufffd", show_stray_bytes(kept))


def escape_text(text: str, limit: int = TEXT_MAX) -> str:
    """Escape a text for a line of the text form."""
    shown = bound(text, limit)
    if "\\" in shown:
        shown = shown.replace("\\", "\\x5c")
    if "[" in shown:
        shown = shown.replace("[0x", "\\x5b0x").replace("[pool", "\\x5bpool")
    if '{"time"' in shown:
        shown = shown.replace('{"time"', '\\x7b"time"')
    return escape(shown)


def unescape_text(text: str) -> str:
    """Return the text that escape_text() was given."""
    return _ESCAPED.sub(_decode, text) if "\\x" in text else text


def _decode(run: re.Match[str]) -> str:
    return show_stray_bytes(bytes.fromhex(run[0].replace("\\x", "")).decode("utf-8", "surrogateescape"))


ENTRY_MAX = 2 * 1024 * 1024
"""Bytes of an entry, by an estimate that is too high rather than too low."""
_FRAME, _THREAD, _VALUE = 95, 100, 15
"""Bytes around the texts, of the longer form."""
_ESCAPED_SIZE = 12
"""A character may become a pair of surrogates, each written with six."""


def truncate(threads: Sequence[ThreadStack], depth: int, most: int) -> list[ThreadStack]:
    """Keep as many threads as there is room for, each with `depth` frames at most; the note of a shorter one says so.

    Args:
        most: threads.
    """
    kept: list[ThreadStack] = []
    left = ENTRY_MAX
    for thread in threads[:most]:
        left -= _THREAD + _size(thread.doing, TEXT_MAX) + _size(thread.note, TEXT_MAX)
        if left < 0:
            break
        count = 0
        for frame in thread.frames[:depth]:
            left -= _frame_size(frame)
            if left < 0:
                break
            count += 1
        kept.append(thread if count == len(thread.frames) else _shorten(thread, count))
    return kept


def _shorten(thread: ThreadStack, count: int) -> ThreadStack:
    note = f"{len(thread.frames) - count} more frames" + (f"; {thread.note}" if thread.note else "")
    return ThreadStack(thread.tid, thread.main, thread.frames[:count], thread.doing, note)


def _frame_size(frame: Frame) -> int:
    values = sum(_VALUE + _size(name, VALUE_MAX) + _size(value, VALUE_MAX) for name, value in frame.values)
    return _FRAME + _size(frame.function, NAME_MAX) + _size(frame.file, TEXT_MAX) + values


def _size(text: str, limit: int) -> int:
    is_plain = text.isascii() and text.isprintable() and "\\" not in text
    return min(len(text), limit) * (_ESCAPED_SIZE if not is_plain else 2 if '"' in text else 1)


Form = Literal["text", "json"]

NATIVE = "[native]"
"""Before the name of a function of a C library."""
THREADS_MAX = 10_000
ERROR_LOG_THREADS = 10
"""The error log gets the stack of a process that is ended, not what all its threads wait for."""
UNKNOWN = "unknown:0"
"""PHP-FPM's words where there is no file."""
FAILED = "+++ dump failed"
EMPTY = "no frames"
"""The note of a thread without any."""
_ADDRESS = (1 << 64) - 1


def format_entry(entry: Entry, form: Form, depth: int) -> str:
    """Write an entry as it is appended to a slow log, with its last newline.

    Args:
        depth: the most frames of a thread.
    """
    if form == "json":
        return _one_line(as_object(entry, depth)) + "\n"
    if entry.reason == "end":
        return _end_line(entry) + "\n"
    head = f"[{format_log_time(entry.time)}]  [pool {_escape_pool(entry.pool)}] pid {entry.pid}"
    return "\n".join(["", head, *_own_lines(entry), *_stack_lines(entry, depth)]) + "\n"


def format_for_error_log(entry: Entry, depth: int) -> str:
    """Write an entry for the error log, which puts the time and the pool before each line; only some of its threads."""
    return "\n".join(
        [f"child {entry.pid}, its stack:", *_own_lines(entry), *_stack_lines(entry, depth, ERROR_LOG_THREADS)]
    )


def as_object(entry: Entry, depth: int) -> dict[str, Any]:
    """Make the JSON form of an entry, whose fields docs/slow-requests.md describes."""
    trace = entry.trace
    threads = [_thread_object(thread) for thread in truncate(trace.threads, depth, THREADS_MAX)]
    left_out = len(trace.threads) - len(threads)
    return {
        "time": local_time(entry.time).isoformat(timespec="milliseconds"),
        "timestamp": round(entry.time, 6),
        "pool": bound(entry.pool),
        "pid": entry.pid,
        "reason": entry.reason,
        "script": bound(entry.script),
        "method": bound(entry.method, NAME_MAX),
        "uri": bound(entry.uri),
        "seconds": round(entry.seconds, 6),
        "stage": bound(entry.stage),
        "sample": entry.sample,
        "how": trace.how,
        "stopped": round(trace.stopped, 6),
        "error": bound(trace.error),
        "note": bound(trace.note),
        "threads": threads,
        **({"more_threads": left_out} if left_out else {}),
    }


def _one_line(value: dict[str, Any]) -> str:
    # ASCII, so that nothing in it drives a terminal; DEL is the one that JSON leaves.
    return json.dumps(value, ensure_ascii=True).replace("\x7f", "\\u007f")


def _thread_object(thread: ThreadStack) -> dict[str, Any]:
    return {
        "tid": thread.tid,
        "main": thread.main,
        "doing": bound(thread.doing),
        "note": bound(thread.note),
        "frames": [_frame_object(frame) for frame in thread.frames],
    }


def _frame_object(frame: Frame) -> dict[str, Any]:
    values = {bound(name, VALUE_MAX): bound(value, VALUE_MAX) for name, value in frame.values}
    return {
        "function": bound(frame.function, NAME_MAX),
        "file": bound(frame.file),
        "line": frame.line,
        "address": f"0x{frame.address & _ADDRESS:016x}",
        "native": frame.native,
        **({"values": values} if values else {}),
    }


def _end_line(entry: Entry) -> str:
    """One line, no head and no frame: readers of PHP-FPM's logs leave it out as they do our other lines."""
    pool = _escape_pool(entry.pool).replace(",", "\\x2c")
    how = f"{entry.stage} after {entry.seconds:.6f} s"
    return f"-- end {format_log_time(entry.time)}, pid {entry.pid}, {how}, pool {pool}, {_request(entry)}"


def _request(entry: Entry) -> str:
    return f"{escape_text(entry.method, NAME_MAX).replace(' ', _BLANK)} {escape_text(entry.uri)}"


def _own_lines(entry: Entry) -> Iterator[str]:
    """`name = value`, as PHP-FPM's script_filename; nothing that a reader of PHP-FPM's takes for a head or a frame."""
    trace = entry.trace
    yield f"script_filename = {escape_text(entry.script)}"
    if entry.method:
        yield f"request = {_request(entry)}"
    yield f"age = {entry.seconds:.6f} s"
    yield f"stage = {escape_text(entry.stage)}"
    yield f"reason = {entry.reason}"
    if entry.sample != 1:
        yield f"sample = {entry.sample}"
    if trace.threads and trace.threads[0].main and trace.threads[0].doing:
        yield f"doing = {escape_text(trace.threads[0].doing)}"
    if trace.how not in ("ptrace", ""):
        yield f"taken by = {trace.how}"
    if trace.note:
        yield f"note = {escape_text(trace.note)}"
    if trace.stopped:
        yield f"stopped = {trace.stopped:.6f} s"


def _stack_lines(entry: Entry, depth: int, most: int = THREADS_MAX) -> Iterator[str]:
    threads = truncate(entry.trace.threads, depth, most)
    for number, thread in enumerate(threads):
        yield from _thread_lines(thread, is_first=number == 0)
    left_out = len(entry.trace.threads) - len(threads)
    if left_out:
        yield f"... {left_out} more threads"
    if entry.trace.error or not entry.trace.threads:
        yield f"{FAILED}: {escape_text(entry.trace.error or 'no thread was found')}"


def _thread_lines(thread: ThreadStack, *, is_first: bool) -> Iterator[str]:
    if not (is_first and thread.main):
        doing = f", {escape_text(thread.doing)}" if thread.doing else ""
        yield f"-- thread {thread.tid}{doing}"
    for frame in thread.frames:
        yield _frame_line(frame)
        for name, value in frame.values:
            yield f"    {escape_text(name, VALUE_MAX).replace(' ', _BLANK)} = {escape_text(value, VALUE_MAX)}"
    if thread.note or not thread.frames:
        yield f"... {escape_text(thread.note or EMPTY)}"


def _frame_line(frame: Frame) -> str:
    function = escape_text(frame.function, NAME_MAX).replace("() ", "()" + _BLANK)
    if frame.native:
        function = NATIVE + function
    elif function.startswith(NATIVE):
        function = "\\x5b" + function[1:]
    place = f"{escape_text(frame.file)}:{frame.line}" if frame.file else UNKNOWN
    return f"[0x{frame.address & _ADDRESS:016x}] {function}() {place}"


def _escape_pool(pool: str) -> str:
    return escape_text(pool).replace("]", "\\x5d")


_BLANK = "\\x20"
