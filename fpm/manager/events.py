"""Passes a manager's events to every iteration over them."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator

from fpm.events.base import Event


class EventFeed:
    """A distributor of events. Its methods may be called from any thread.

    Args:
        on_event: also called for each event.
    """

    def __init__(self, on_event: Callable[[Event], None] | None) -> None:
        self._on_event = on_event
        self._lock = threading.Lock()
        self._listeners: list[queue.SimpleQueue[Event | None]] = []

    def listen(self) -> Iterator[Event]:
        """Yield every event from now on, until `close`."""
        waiting: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        with self._lock:
            self._listeners.append(waiting)
        return self._iterate(waiting)

    def put(self, event: Event) -> None:
        """Pass on one event."""
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            listener.put(event)
        if self._on_event is not None:
            self._on_event(event)

    def close(self) -> None:
        """End all iterations: the master has exited."""
        with self._lock:
            for listener in self._listeners:
                listener.put(None)

    def _iterate(self, waiting: queue.SimpleQueue[Event | None]) -> Iterator[Event]:
        try:
            while (event := waiting.get()) is not None:
                yield event
        finally:
            with self._lock, contextlib.suppress(ValueError):
                self._listeners.remove(waiting)
