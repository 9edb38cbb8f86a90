"""Events as lines of JSON, from the master to a program. Pure.

A line is an object with `v` (the version of this form), `event` (Event.kind) and the fields of the event, the text that
the master has made of it among them. Nothing that an application writes can be such a line: it is in a field of one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import cast

from fpm.events import master, pool, worker
from fpm.events.base import Event, PoolEvent, ProcessEvent, kind_of
from fpm.protocol.wire import MessageError, read_dataclass

VERSION = 1


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
        MessageError: it is none, or one of another version.
    """
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise MessageError(f"no JSON: {error}") from error
    if not isinstance(message, dict) or message.get("v") != VERSION:
        raise MessageError("no event of this version")
    event = CLASSES.get(str(message.get("event")))
    if event is None:
        raise MessageError(f"no event is called {message.get('event')!r}")
    return cast(Event, read_dataclass(event, message))
