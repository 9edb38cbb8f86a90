"""What every part of the master works with: the event loop, the log, the clock, and where everything that happens goes.

What happens is a value (fpm.events); the sink gives it its time and text, and then to every reader.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from fpm.event_text.describe import describe, entries_of
from fpm.events.base import Event
from fpm.events.master import EventsDropped
from fpm.events.wire import pack_event
from fpm.events.worker import ProcessOutput
from fpm.log.error import ErrorLog
from fpm.log.target import Target
from fpm.master.loop.loop import Loop


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
        if log.form == "json":
            _write_json(log, event)
        elif event.level:
            for entry in entries_of(event):
                log.log(event.level, entry, event.pool)
        elif isinstance(event, ProcessOutput):
            log.raw(event.line)

    return write


def _write_json(log: ErrorLog, event: Event) -> None:
    """Write one object; what a process prints is a message of its own, whether it is decorated or not."""
    fields: dict[str, str | int] = {"event": event.kind} | ({"pid": event.pid} if event.pid else {})
    if isinstance(event, ProcessOutput):
        log.raw(event.line, event.pool, {**fields, "stream": event.stream})
    elif event.level:
        log.log(event.level, event.text, event.pool, fields)


class EventWriter:
    """Writes events for a program, as lines of JSON. It never blocks; if the program does not read, it hears how many
    events were dropped.
    """

    def __init__(self, fd: int, clock: Callable[[], float] = time.time) -> None:
        self._target = Target(fd, owns_fd=True)
        self._target.say_dropped = lambda count: pack_event(describe(EventsDropped(count), clock()))

    def take(self, event: Event) -> None:
        """Write one event: a reader of the sink."""
        self._target.write(pack_event(event))

    def pending_fd(self) -> int | None:
        """See ErrorLog.pending_fd."""
        return self._target.pending_fd()

    def flush(self) -> None:
        """Write what waits, as far as it goes without waiting."""
        self._target.flush()


@dataclass(slots=True)
class Core:
    """The same for all processes that a master keeps."""

    loop: Loop
    log: ErrorLog
    """For its settings and its files; what happens goes to `emit`."""
    sink: EventSink
    reapers: dict[int, Callable[[int], None]]
    """Processes that are neither template nor worker: pid, and who is told its wait status."""
    clock: Callable[[], float]
    """Epoch seconds, as the scoreboard has them."""

    def emit(self, event: Event) -> Event:
        """Something has happened. Within a pool use PoolSupervisor.emit, which tells its history, too."""
        return self.sink.emit(event)
