"""Events as lines of JSON, from the master to a program. Pure.

A line is an object with `v` (the version of this form), `event` (Event.kind) and the fields of the event, the text that
the master has made of it among them. Nothing that an application writes can be such a line: it is in a field of one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from functools import cache
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from fpm.events import master, pool, worker
from fpm.events.base import Event, PoolEvent, ProcessEvent, kind_of
from fpm.status.overview import Death, read_death

VERSION = 1


class EventError(ValueError):
    """A line is no event of this version."""


def _classes() -> dict[str, type[Event]]:
    found = [value for module in (master, pool, worker) for value in vars(module).values() if isinstance(value, type)]
    concrete = [one for one in found if issubclass(one, Event) and one not in (Event, PoolEvent, ProcessEvent)]
    return {kind_of(one): one for one in concrete}


CLASSES: Mapping[str, type[Event]] = _classes()
"""Every event by its kind."""


def pack_event(event: Event) -> bytes:
    """The line, with its newline."""
    return json.dumps({"v": VERSION, "event": event.kind, **asdict(event)}).encode() + b"\n"


def unpack_event(line: bytes | str) -> Event:
    """The event of a line.

    Raises:
        EventError: it is none, or one of another version.
    """
    try:
        message = json.loads(line)
        if message["v"] != VERSION:
            raise EventError(f"version {message['v']!r} of the form is not known")
        event = CLASSES[message["event"]]
        return event(**{name: _convert(hint, message[name]) for name, hint in _hints(message["event"]).items()})
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise EventError(f"not an event: {error}") from error


@cache
def _hints(kind: str) -> dict[str, Any]:
    """Names and types of the fields."""
    hints = get_type_hints(CLASSES[kind])
    return {field.name: hints[field.name] for field in fields(CLASSES[kind])}


def _convert(hint: Any, value: Any) -> Any:
    if hint is Death and isinstance(value, dict):
        return read_death(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if get_origin(hint) is tuple and isinstance(value, list):
        return tuple(_convert(get_args(hint)[0], one) for one in value)
    if get_origin(hint) is Literal:
        is_right = value in get_args(hint)
    elif get_origin(hint) is UnionType:
        is_right = type(value) in get_args(hint)
    else:
        is_right = type(value) is hint
    if not is_right:
        raise TypeError(f"{value!r} is no {hint}")
    return value
