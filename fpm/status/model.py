"""What a status page shows, drawn from one reading of the scoreboard.

Who is counted as what: idle is a worker in the stage ACCEPTING and no other. Everybody else is active, a worker that
is still being made (CREATING) too: it cannot take a request, PHP-FPM counts it so, and idle + active is then the number
of processes that the full page lists. `max active processes` however counts only workers that had a request, or every
start would leave its mark on it.
"""

from __future__ import annotations

from copy import copy

from fpm.frozen import dataclass
from fpm.log.escape import decode_wire
from fpm.scoreboard.numbers import PoolNumbers
from fpm.scoreboard.reading import absorb
from fpm.scoreboard.snapshot import Board, ListenQueue, Slot
from fpm.scoreboard.stages import STATE_TEXT, Stage
from fpm.scoreboard.statistics import NOTHING_COUNTED, Statistics


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """One worker. Times are epoch seconds; texts are as decoded, each format escapes them in its own way.

    The keys of the page are the names of the fields.
    """

    pid: int
    state: str
    start_time: int
    start_since: int
    """Seconds."""
    requests: int
    request_duration: int
    """Microseconds: of the last request of an idle worker, else of the current one until now."""
    request_method: str
    request_uri: str
    """With the query."""
    content_length: int
    user: str
    script: str
    last_request_cpu: float
    """Percent of one core; 0 unless idle, as is the memory."""
    last_request_memory: int
    """Bytes."""
    background_task: str = ""
    """The function that runs after the response."""
    background_since: int = 0
    """Seconds since the response was complete, while the worker goes on with the request."""


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """What a status page shows of one pool."""

    pool: str
    process_manager: str
    numbers: PoolNumbers
    processes: tuple[ProcessStatus, ...]


def build_status(
    *,
    pool: str,
    pm: str,
    board: Board,
    queue: ListenQueue,
    now: float,
    statistics: Statistics = NOTHING_COUNTED,
    memory_pss: int | None = None,
) -> PoolStatus:
    """Compute the status of a pool at `now` (epoch seconds); the caller may know the memory of all workers."""
    used = board.used
    numbers = copy(board.header)
    absorb(numbers, used, now)
    numbers.take_statistics(statistics)
    idle = sum(slot.stage is Stage.ACCEPTING for slot in used)
    serving = sum(slot.stage > Stage.ACCEPTING for slot in used)
    background = [background_age(slot, now) for slot in used if slot.stage is Stage.FINISHED]
    numbers.start_time = float(int(numbers.start_time or now))
    numbers.start_since = max(int(now - numbers.start_time), 0)
    numbers.listen_queue, numbers.listen_queue_len = queue.length, queue.maximum
    numbers.max_listen_queue = max(numbers.max_listen_queue, queue.length)
    numbers.idle, numbers.active, numbers.total = idle, len(used) - idle, len(used)
    numbers.max_active = max(numbers.max_active, serving)
    if numbers.max_children:
        numbers.busy_percent = min(100 * numbers.active // numbers.max_children, 100)
    numbers.background, numbers.background_oldest = len(background), int(max(background, default=0))
    numbers.memory_pss = memory_pss
    return PoolStatus(pool, pm, numbers, tuple(_process(slot, now) for slot in used))


def _process(slot: Slot, now: float) -> ProcessStatus:
    is_idle = slot.stage is Stage.ACCEPTING
    start_time = int(slot.start_time or now)
    if is_idle:
        duration = slot.duration
    else:
        duration = max(int((now - slot.request_start) * 1e6), 0) if slot.request_start else 0
    return ProcessStatus(
        pid=slot.pid,
        state=STATE_TEXT[slot.stage],
        start_time=start_time,
        start_since=max(int(now) - start_time, 0),
        requests=slot.requests,
        request_duration=duration,
        request_method=decode_wire(slot.method) or "-",
        request_uri=decode_wire(f"{slot.uri or '-'}{'?' if slot.query else ''}{slot.query}"),
        content_length=slot.content_length,
        user=decode_wire(slot.user) or "-",
        script=decode_wire(slot.script) or "-",
        last_request_cpu=slot.cpu / slot.duration * 100 if is_idle and slot.duration else 0.0,
        last_request_memory=slot.memory_peak if is_idle else 0,
        background_task=decode_wire(slot.task) if slot.stage is Stage.FINISHED else "",
        background_since=int(background_age(slot, now)),
    )


def background_age(slot: Slot, now: float) -> float:
    """Return the seconds since the response was complete at `now` (epoch seconds); 0.0 without background work."""
    return max(now - slot.released, 0.0) if slot.stage is Stage.FINISHED and slot.released else 0.0
