"""The numbers of the status page, drawn from one reading of the scoreboard; fields are PHP-FPM's keys.

Who is counted as what: idle is a worker in the stage ACCEPTING and no other. Everybody else is active, a worker that
is still being made (CREATING) too: it cannot take a request, PHP-FPM counts it so, and idle + active is then the number
of processes that the full page lists. `max active processes` however counts only workers that had a request, or every
start would leave its mark on it.
"""

from __future__ import annotations

from dataclasses import dataclass

from fpm.log.escape import decode_wire
from fpm.scoreboard.snapshot import Board, ListenQueue, Slot
from fpm.scoreboard.stages import STATE_TEXT, Stage


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """One worker. Times are epoch seconds; texts are as decoded, each format escapes them in its own way."""

    pid: int
    state: str
    start_time: int
    start_since: int
    """Seconds."""
    requests: int
    request_duration: int
    """Microseconds: of the last request of an idle worker, else of the one in hand until now."""
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
    """One pool."""

    pool: str
    process_manager: str
    start_time: int
    start_since: int
    accepted_conn: int
    """Requests, those of workers that are gone among them."""
    listen_queue: int
    max_listen_queue: int
    listen_queue_len: int
    idle_processes: int
    active_processes: int
    total_processes: int
    max_active_processes: int
    max_children_reached: int
    slow_requests: int
    memory_peak: int
    """Bytes."""
    processes: tuple[ProcessStatus, ...]


def build_status(*, pool: str, pm: str, board: Board, queue: ListenQueue, now: float) -> PoolStatus:
    """The status of a pool at `now` (epoch seconds)."""
    header = board.header
    used = board.used
    idle = sum(slot.stage is Stage.ACCEPTING for slot in used)
    serving = sum(slot.stage > Stage.ACCEPTING for slot in used)
    start_time = int(header.start_time or now)
    return PoolStatus(
        pool=pool,
        process_manager=pm,
        start_time=start_time,
        start_since=max(int(now) - start_time, 0),
        accepted_conn=header.requests + sum(slot.requests for slot in used),
        listen_queue=queue.length,
        max_listen_queue=max(header.max_listen_queue, queue.length),
        listen_queue_len=queue.maximum,
        idle_processes=idle,
        active_processes=len(used) - idle,
        total_processes=len(used),
        max_active_processes=max([header.max_active, serving, *(slot.max_active for slot in used)]),
        max_children_reached=header.max_children_reached,
        slow_requests=header.slow_requests + sum(slot.slow + slot.is_slow(header, now) for slot in used),
        memory_peak=max([header.memory_peak, *(slot.memory_peak for slot in used)]),
        processes=tuple(_process(slot, now) for slot in used),
    )


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
    """Seconds since the response was complete, at `now` (epoch seconds); 0.0 if there is no work after it."""
    return max(now - slot.released, 0.0) if slot.stage is Stage.FINISHED and slot.released else 0.0
