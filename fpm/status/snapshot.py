"""A snapshot of the daemon as the master hands it out: cheap to make, read elsewhere.

It is one line of JSON with what the master knows, then the used parts of the scoreboards as they are; whoever wants to
show something reads them here, so the master spends nothing on it. The scoreboards' bytes are untrusted, the rest is
the master's word.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, field, fields
from operator import attrgetter
from typing import Any

from fpm.frozen import dataclass, known_fields
from fpm.log.escape import decode_wire
from fpm.scoreboard.reading import read_board
from fpm.scoreboard.snapshot import Board, ListenQueue, Slot
from fpm.scoreboard.stages import OWN_STATE_TEXT, Stage
from fpm.scoreboard.statistics import read_statistics
from fpm.status.exceptions import SeenException, read_exception_seen
from fpm.status.model import PoolStatus, ProcessStatus, background_age, build_status
from fpm.status.overview import (
    Daemon,
    Death,
    Pool,
    SlowRequest,
    Worker,
    read_death,
    read_last_reload,
    read_slow_request,
)
from fpm.status.routes import read_routes


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """What the master knows of a worker besides its slot."""

    pid: int
    generation: int
    leaving: str
    pss: int | None
    traced_request: int = 0
    """As it counts its requests, the one that `stack` is of."""
    stack: tuple[str, ...] = ()
    """The newest call first."""


@dataclass(frozen=True, slots=True)
class PoolFacts:
    """What the master says of a pool; the fields of fpm.status.overview.Pool that are not on the scoreboard."""

    name: str
    pm: str
    listen: str
    app: str
    directory: str
    state: str
    ready: bool
    queue: tuple[int, int]
    """Length and maximum."""
    slots: int
    """In the scoreboard that comes with it."""
    room: int
    """Slots of the pool's own scoreboards."""
    error: str = ""
    traceback: str = ""
    pss: int | None = None
    """Bytes of all workers, if each is known."""
    cgroup: Mapping[str, int] = field(default_factory=dict)
    """Figures of the pool's group, by the names of PoolNumbers; see fpm.cgroups.figures."""
    workers: Sequence[WorkerFacts] = ()
    deaths: Sequence[Death] = ()
    slow: Sequence[SlowRequest] = ()
    exceptions: Sequence[SeenException] = ()
    user: str = ""
    python: str = ""
    logs: Sequence[tuple[str, str]] = ()
    limits: Sequence[tuple[str, str]] = ()
    statistics: bytes = b""
    """The sum of what its workers have counted (fpm.scoreboard.statistics.sum_blocks)."""
    routes: bytes = b""
    """The tables of its slots (fpm.scoreboard.route_copy), if they are wanted."""


_PARTS = ("statistics", "routes")
"""What is not in the head; there the size is, as NAME_size."""
_APART = frozenset({"workers", "deaths", "slow", "exceptions", *_PARTS})
_of_worker = attrgetter(*(one.name for one in fields(WorkerFacts)))
_PLAIN = [one.name for one in fields(PoolFacts) if one.name not in _APART]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The daemon and its pools at one moment, without history."""

    daemon: Daemon
    pools: tuple[Pool, ...]


def pack_snapshot(daemon: Daemon, pools: Sequence[tuple[PoolFacts, bytes]]) -> bytes:
    """Pack a snapshot: each pool with the copy of its scoreboard (fpm.scoreboard.reading.join_board)."""
    described = [_describe(facts) | {"size": len(board)} for facts, board in pools]
    head = json.dumps({"daemon": asdict(daemon), "pools": described})
    parts = (part for facts, board in pools for part in (board, *(getattr(facts, name) for name in _PARTS)))
    return b"".join([head.encode(), b"\n", *parts])


def _describe(facts: PoolFacts) -> dict[str, Any]:
    # asdict() copies deeply, which a thousand pools would feel.
    described = {name: getattr(facts, name) for name in _PLAIN}
    described |= {f"{name}_size": len(getattr(facts, name)) for name in _PARTS}
    if facts.workers:
        described["workers"] = [list(_of_worker(one)) for one in facts.workers]
    if facts.deaths:
        described["deaths"] = [asdict(death) for death in facts.deaths]
    if facts.slow:
        described["slow"] = [asdict(request) for request in facts.slow]
    if facts.exceptions:
        described["exceptions"] = [asdict(one) for one in facts.exceptions]
    return described


def read_snapshot(data: bytes) -> Snapshot:
    """Read the values of a snapshot.

    Raises:
        ValueError, KeyError, TypeError: these bytes are none.
    """
    end = data.index(b"\n")
    head = json.loads(data[:end])
    reload = read_last_reload(head["daemon"].pop("last_reload"))
    daemon = Daemon(**known_fields(Daemon, head["daemon"]), last_reload=reload)
    offset, pools = end + 1, []
    for described in head["pools"]:
        board = memoryview(data)[offset : offset + described.pop("size")]
        offset += len(board)
        for name in _PARTS:
            size = described.pop(f"{name}_size", 0)
            described[name] = data[offset : offset + size]
            offset += size
        pools.append(assemble_pool(_read_facts(described), board, daemon.now))
    return Snapshot(daemon, tuple(pools))


def _read_facts(described: Mapping[str, Any]) -> PoolFacts:
    values = dict(described)
    values["workers"] = [_read_worker(*one) for one in values.get("workers", ())]
    values["deaths"] = [read_death(one) for one in values.get("deaths", ())]
    values["slow"] = [read_slow_request(one) for one in values.get("slow", ())]
    values["exceptions"] = [read_exception_seen(one) for one in values.get("exceptions", ())]
    return PoolFacts(**known_fields(PoolFacts, values))


def _read_worker(pid: int, generation: int, leaving: str, pss: int | None, *traced: Any) -> WorkerFacts:
    request, stack = traced or (0, ())
    return WorkerFacts(pid, generation, leaving, pss, request, tuple(stack))


def assemble_pool(facts: PoolFacts, data: memoryview, now: float) -> Pool:
    """Put together what is shown of one pool, of which `data` is the scoreboard; without its history."""
    board = read_board(data, facts.slots, facts.room)
    queue = ListenQueue(*facts.queue)
    statistics = read_statistics(facts.statistics)
    status = build_status(
        pool=facts.name, pm=facts.pm, board=board, queue=queue, now=now, statistics=statistics, memory_pss=facts.pss
    )
    for name, value in facts.cgroup.items():
        setattr(status.numbers, name, value)
    workers = _workers(facts, board, status, now)
    return Pool(
        name=facts.name,
        listen=facts.listen,
        state=facts.state,
        app=facts.app,
        ready=facts.ready,
        status=status,
        directory=facts.directory,
        error=facts.error,
        traceback=facts.traceback,
        rate=None,
        workers=workers,
        history=(),
        slow=(*_still_slow(facts, board, now), *facts.slow),
        deaths=tuple(facts.deaths),
        exceptions=tuple(facts.exceptions),
        user=facts.user,
        python=facts.python,
        logs=tuple([(kind, path) for kind, path in facts.logs]),
        limits=tuple([(name, value) for name, value in facts.limits]),
        statistics=statistics,
        routes=read_routes(facts.routes),
    )


def _workers(facts: PoolFacts, board: Board, status: PoolStatus, now: float) -> tuple[Worker, ...]:
    known = {one.pid: one for one in facts.workers}
    if not known:
        return ()
    pairs = zip(board.used, status.processes, strict=True)
    return tuple(_worker(slot, process, known.get(slot.pid), now) for slot, process in pairs)


def _worker(slot: Slot, process: ProcessStatus, facts: WorkerFacts | None, now: float) -> Worker:
    return Worker(
        pid=slot.pid,
        state=OWN_STATE_TEXT[slot.stage],
        idle=slot.stage is Stage.ACCEPTING,
        age=max(now - slot.start_time, 0.0) if slot.start_time else 0.0,
        generation=facts.generation if facts else 0,
        leaving=facts.leaving if facts else "",
        requests=slot.requests,
        request_age=process.request_duration / 1e6,
        request_method=process.request_method,
        request_uri=process.request_uri,
        user=process.user,
        last_request_cpu=process.last_request_cpu,
        memory_peak=slot.memory_peak,
        pss=facts.pss if facts else None,
        task=process.background_task,
        task_age=background_age(slot, now),
        later=slot.waiting if process.background_task else 0,
    )


def _still_slow(facts: PoolFacts, board: Board, now: float) -> list[SlowRequest]:
    stacks = {(one.pid, one.traced_request): one.stack for one in facts.workers}
    found = []
    for slot in board.used:
        if slot.is_slow(board.header, now):
            request = decode_wire(f"{slot.method} {slot.uri}{'?' if slot.query else ''}{slot.query}")
            stack = stacks.get((slot.pid, slot.requests), ())
            found.append(SlowRequest(now, slot.pid, now - slot.request_start, request, running=True, stack=stack))
    return sorted(found, key=lambda one: -one.seconds)
