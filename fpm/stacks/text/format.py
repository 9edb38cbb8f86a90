"""An entry as lines (PHP-FPM's, fpm_php_trace.c, and some of our own) or as one line of JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal

from fpm.log.times import format_log_time, local_time
from fpm.stacks.text.entry import Entry
from fpm.stacks.text.escape import NAME_MAX, VALUE_MAX, bound, spell
from fpm.stacks.text.truncate import fit
from fpm.stacks.trace import Frame, ThreadStack

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
    """What is appended to a slow log, with its last newline.

    Args:
        depth: the most frames of a thread.
    """
    if form == "json":
        return _one_line(as_object(entry, depth)) + "\n"
    head = f"[{format_log_time(entry.time)}]  [pool {_spell_pool(entry.pool)}] pid {entry.pid}"
    return "\n".join(["", head, *_own_lines(entry), *_stack_lines(entry, depth)]) + "\n"


def format_for_error_log(entry: Entry, depth: int) -> str:
    """The same in lines for the error log, which puts the time and the pool before each; of the threads only some."""
    return "\n".join(
        [f"child {entry.pid}, its stack:", *_own_lines(entry), *_stack_lines(entry, depth, ERROR_LOG_THREADS)]
    )


def as_object(entry: Entry, depth: int) -> dict[str, Any]:
    """The JSON form; docs/slow-requests.md describes the fields."""
    trace = entry.trace
    threads = [_thread_object(thread) for thread in fit(trace.threads, depth, THREADS_MAX)]
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


def _own_lines(entry: Entry) -> Iterator[str]:
    """`name = value`, as PHP-FPM's script_filename; nothing that a reader of PHP-FPM's takes for a head or a frame."""
    trace = entry.trace
    yield f"script_filename = {spell(entry.script)}"
    if entry.method:
        yield f"request = {spell(entry.method, NAME_MAX).replace(' ', _BLANK)} {spell(entry.uri)}"
    yield f"age = {entry.seconds:.6f} s"
    yield f"stage = {spell(entry.stage)}"
    yield f"reason = {entry.reason}"
    if entry.sample != 1:
        yield f"sample = {entry.sample}"
    if trace.threads and trace.threads[0].main and trace.threads[0].doing:
        yield f"doing = {spell(trace.threads[0].doing)}"
    if trace.how not in ("ptrace", ""):
        yield f"taken by = {trace.how}"
    if trace.note:
        yield f"note = {spell(trace.note)}"
    if trace.stopped:
        yield f"stopped = {trace.stopped:.6f} s"


def _stack_lines(entry: Entry, depth: int, most: int = THREADS_MAX) -> Iterator[str]:
    threads = fit(entry.trace.threads, depth, most)
    for number, thread in enumerate(threads):
        yield from _thread_lines(thread, is_first=number == 0)
    left_out = len(entry.trace.threads) - len(threads)
    if left_out:
        yield f"... {left_out} more threads"
    if entry.trace.error or not entry.trace.threads:
        yield f"{FAILED}: {spell(entry.trace.error or 'no thread was found')}"


def _thread_lines(thread: ThreadStack, *, is_first: bool) -> Iterator[str]:
    if not (is_first and thread.main):
        doing = f", {spell(thread.doing)}" if thread.doing else ""
        yield f"-- thread {thread.tid}{doing}"
    for frame in thread.frames:
        yield _frame_line(frame)
        for name, value in frame.values:
            yield f"    {spell(name, VALUE_MAX).replace(' ', _BLANK)} = {spell(value, VALUE_MAX)}"
    if thread.note or not thread.frames:
        yield f"... {spell(thread.note or EMPTY)}"


def _frame_line(frame: Frame) -> str:
    function = spell(frame.function, NAME_MAX).replace("() ", "()" + _BLANK)
    if frame.native:
        function = NATIVE + function
    elif function.startswith(NATIVE):
        function = "\\x5b" + function[1:]
    place = f"{spell(frame.file)}:{frame.line}" if frame.file else UNKNOWN
    return f"[0x{frame.address & _ADDRESS:016x}] {function}() {place}"


def _spell_pool(pool: str) -> str:
    return spell(pool).replace("]", "\\x5d")


_BLANK = "\\x20"
