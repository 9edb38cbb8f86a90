"""An entry out of its JSON form; anybody may have written the file, so every type is looked at."""

from __future__ import annotations

import json
from typing import Any

from fpm.stacks.text.entry import Entry, as_reason
from fpm.stacks.trace import Frame, How, ThreadStack, Trace

TIME_MAX = 253_402_300_799
"""The last second of the year 9999."""


def read_object(line: bytes) -> Entry | None:
    """Read the entry of one line; None if it is none."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    time, pool = _number(value, "timestamp"), value.get("pool")
    if time < 0 or not isinstance(pool, str):
        return None
    pid = _whole(value, "pid")
    return Entry(
        time,
        pool,
        pid,
        as_reason(_text(value, "reason")),
        _text(value, "script"),
        _text(value, "method"),
        _text(value, "uri"),
        _seconds(value, "seconds"),
        _text(value, "stage"),
        _whole(value, "sample"),
        Trace(
            pid,
            _as_how(_text(value, "how")),
            tuple([_read_thread(thread) for thread in _objects(value, "threads")]),
            _text(value, "error"),
            _text(value, "note"),
            _seconds(value, "stopped"),
        ),
    )


def _read_thread(thread: dict[str, Any]) -> ThreadStack:
    frames = tuple([_read_frame(frame) for frame in _objects(thread, "frames")])
    return ThreadStack(
        _whole(thread, "tid"), thread.get("main") is True, frames, _text(thread, "doing"), _text(thread, "note")
    )


def _read_frame(frame: dict[str, Any]) -> Frame:
    values = frame.get("values")
    pairs = values.items() if isinstance(values, dict) else ()
    return Frame(
        _text(frame, "function"),
        _text(frame, "file"),
        _whole(frame, "line"),
        0,
        frame.get("native") is True,
        tuple([(name, text) for name, text in pairs if isinstance(text, str)]),
    )


def _as_how(how: str) -> How:
    return "ptrace" if how == "ptrace" else "faulthandler" if how == "faulthandler" else ""


def _objects(value: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = value.get(name)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _text(value: dict[str, Any], name: str) -> str:
    found = value.get(name)
    return found if isinstance(found, str) else ""


def _whole(value: dict[str, Any], name: str) -> int:
    found = value.get(name)
    return found if isinstance(found, int) and not isinstance(found, bool) and 0 <= found < 1 << 31 else 0


def _seconds(value: dict[str, Any], name: str) -> float:
    return max(_number(value, name), 0.0)


def _number(value: dict[str, Any], name: str) -> float:
    """Read a number from 0 to TIME_MAX; -1.0 for anything else."""
    found = value.get(name)
    if not isinstance(found, int | float) or isinstance(found, bool):
        return -1.0
    # A comparison with NaN is never true.
    return float(found) if 0 <= found <= TIME_MAX else -1.0
