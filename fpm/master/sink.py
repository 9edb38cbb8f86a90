"""Where everything that happens arrives, as values (fpm.events), and from where its readers get it."""

from __future__ import annotations

from collections.abc import Callable

from fpm.event_text.describe import describe, pool_prefix
from fpm.events.base import Event
from fpm.events.worker import ProcessOutput
from fpm.log.error import ErrorLog


class EventSink:
    """Gives each event its time and text, and then to every reader."""

    def __init__(self, clock: Callable[[], float], *readers: Callable[[Event], None]) -> None:
        """
        Args:
            clock: epoch seconds.
        """
        self._clock = clock
        self._readers = list(readers)

    def add_reader(self, reader: Callable[[Event], None]) -> None:
        """Let somebody have all events from now on, in the order of their emission."""
        self._readers.append(reader)

    def emit(self, event: Event) -> Event:
        """Tell all readers; returns the event with its time and text."""
        described = describe(event, self._clock())
        for reader in self._readers:
            reader(described)
        return described


def log_reader(log: ErrorLog) -> Callable[[Event], None]:
    """Make the reader that writes the error log."""

    def write(event: Event) -> None:
        if event.level:
            log.log(event.level, f"{pool_prefix(event.pool)}{event.text}")
        elif isinstance(event, ProcessOutput):
            log.raw(event.line)

    return write
