"""What every part of the master works with: the event loop, the log, the clock, and who awaits the end of a process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fpm.events.base import Event
from fpm.log.error import ErrorLog
from fpm.master.loop.loop import Loop
from fpm.master.sink import EventSink


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
