"""Gives an event its level and its text. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from fpm.event_text import master, pool, worker
from fpm.event_text.rows import Row
from fpm.events.base import Event

TABLE: Mapping[type[Event], Row] = {**master.ROWS, **pool.ROWS, **worker.ROWS}


def describe(event: Event, now: float) -> Event:
    """The event with its time, level and text."""
    level, text = TABLE[type(event)]
    return replace(
        event,
        time=now,
        level=level if isinstance(level, str) else level(event),
        text=text.format(e=event) if isinstance(text, str) else "\n".join(_entries(text(event))),
    )


def entries_of(event: Event) -> list[str]:
    """The entries of the log for an event that has its text: mostly one, whose further lines are an application's."""
    _, text = TABLE[type(event)]
    return [event.text] if isinstance(text, str) else _entries(text(event))


def _entries(told: str | list[str]) -> list[str]:
    return [told] if isinstance(told, str) else told
