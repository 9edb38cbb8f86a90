"""What `pyfpm top` shows: the difference of two snapshots, sorted. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fpm.cli.columns import Cell, Column
from fpm.cli.status_past import lately_column, p95_column, p95_of
from fpm.cli.status_rows import (
    LONG,
    busy_cell,
    request_age,
    request_cell,
    show_text,
    state_cell,
    warn_cell,
    worker_state,
)
from fpm.frozen import dataclass
from fpm.status.figures import format_age, format_count, format_rate, format_size, format_span
from fpm.status.overview import Pool, Worker
from fpm.status.snapshot import Snapshot

CpuTimes = Mapping[tuple[int, float], float]
"""Seconds by pid and start time."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What the master says and what the kernel says, `at` (monotonic seconds)."""

    at: float
    snapshot: Snapshot
    cpu: CpuTimes


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """One worker; cpu in percent of one core, None: not known yet."""

    pool: Pool
    worker: Worker
    cpu: float | None


@dataclass(frozen=True, slots=True)
class PoolRow:
    """One pool; rate in requests a second, cpu in percent of one core, None: not known yet."""

    pool: Pool
    rate: float | None
    cpu: float | None
    oldest: Worker | None
    """The worker whose current request has been running for the longest time."""


def compare(before: Sample | None, now: Sample) -> tuple[list[PoolRow], list[WorkerRow]]:
    """The rows of a sample, with rates since the one before; without one, those of the last ten seconds."""
    seconds = now.at - before.at if before else 0.0
    cpu = _cpu_shares(before.cpu if before else {}, now.cpu, seconds)
    former = {pool.name: pool.numbers.requests for pool in before.snapshot.pools} if before else {}
    pools, workers = [], []
    for pool in now.snapshot.pools:
        rows = [WorkerRow(pool, worker, cpu.get(worker.pid)) for worker in pool.workers]
        known = [row.cpu for row in rows if row.cpu is not None]
        count = former.get(pool.name)
        is_known = count is not None and seconds > 0
        rate = max(pool.numbers.requests - (count or 0), 0) / seconds if is_known else pool.rate
        in_hand = [worker for worker in pool.workers if not worker.idle]
        oldest = max(in_hand, key=lambda worker: worker.request_age, default=None)
        pools.append(PoolRow(pool, rate, sum(known) if known or (before and not rows) else None, oldest))
        workers += rows
    return pools, workers


def _cpu_shares(before: CpuTimes, now: CpuTimes, seconds: float) -> dict[int, float]:
    if seconds <= 0:
        return {}
    return {
        process[0]: max(spent - before[process], 0.0) / seconds * 100
        for process, spent in now.items()
        if process in before
    }


@dataclass(frozen=True, slots=True)
class SortKey:
    """A way of sorting; the largest first, but for names."""

    key: str
    """What the user types."""
    name: str
    of_pool: Callable[[PoolRow], float | str]
    of_worker: Callable[[WorkerRow], float | str]


SORT_KEYS = (
    SortKey("b", "busy", lambda row: row.pool.numbers.active, lambda row: not row.worker.idle),
    SortKey("r", "rate", lambda row: row.rate or 0.0, lambda row: row.worker.requests),
    SortKey("u", "queue", lambda row: row.pool.numbers.listen_queue, lambda row: row.pool.numbers.listen_queue),
    SortKey("c", "cpu", lambda row: row.cpu or 0.0, lambda row: row.cpu or 0.0),
    SortKey("m", "memory", lambda row: row.pool.numbers.memory_pss or 0, lambda row: row.worker.pss or 0),
    SortKey(
        "l",
        "time",
        lambda row: row.oldest.request_age if row.oldest else -1.0,
        lambda row: -1.0 if row.worker.idle else row.worker.request_age,
    ),
    SortKey("n", "name", lambda row: row.pool.name, lambda row: row.pool.name),
)
BY_NAME = {one.name: one for one in SORT_KEYS}
BY_KEY = {one.key: one for one in SORT_KEYS}


def sort_pools(rows: Sequence[PoolRow], by: SortKey, *, upside_down: bool = False) -> list[PoolRow]:
    """The rows in order; equal ones by name."""
    ordered = sorted(rows, key=lambda row: row.pool.name)
    return sorted(ordered, key=by.of_pool, reverse=(by.name != "name") != upside_down)


def sort_workers(rows: Sequence[WorkerRow], by: SortKey, *, upside_down: bool = False) -> list[WorkerRow]:
    """The rows in order; equal ones by name and pid."""
    ordered = sorted(rows, key=lambda row: (row.pool.name, row.worker.pid))
    return sorted(ordered, key=by.of_worker, reverse=(by.name != "name") != upside_down)


def pool_columns(rows: Sequence[PoolRow]) -> list[Column]:
    """One pool a row."""
    pools = [row.pool for row in rows]
    return [
        Column("POOL", [Cell(show_text(pool.name), "bold") for pool in pools], 0, shrinks=True),
        Column("STATE", [state_cell(pool) for pool in pools], 5),
        Column("BUSY", [busy_cell(pool) for pool in pools], 0, right=True),
        Column("QUEUE", [warn_cell(pool.numbers.listen_queue, "red") for pool in pools], 2, right=True),
        Column("REQ/S", [Cell(format_rate(row.rate)) for row in rows], 1, right=True),
        Column("CPU%", [_cpu(row.cpu) for row in rows], 3, right=True),
        Column("PSS", [Cell(format_size(pool.numbers.memory_pss)) for pool in pools], 4, right=True),
        p95_column(pools, 2),
        lately_column("ERRORS", pools, 8),
        lately_column("5XX", pools, 5),
        lately_column("SLOW", pools, 9),
        Column("OLDEST", [_oldest_age(row.oldest) for row in rows], 6, right=True),
        Column("REQUEST", [request_cell(row.oldest) if row.oldest else Cell("") for row in rows], 7, shrinks=True),
    ]


def worker_columns(rows: Sequence[WorkerRow]) -> list[Column]:
    """One worker a row."""
    return [
        Column("PID", [Cell(str(row.worker.pid)) for row in rows], 0, right=True),
        Column("POOL", [Cell(show_text(row.pool.name), "bold") for row in rows], 2, shrinks=True),
        Column("STATE", [worker_state(row.worker, row.pool.numbers.generation) for row in rows], 0),
        Column("CPU%", [_cpu(row.cpu) for row in rows], 3, right=True),
        Column("PSS", [Cell(format_size(row.worker.pss)) for row in rows], 4, right=True),
        Column("FOR", [request_age(row.worker) for row in rows], 1, right=True),
        Column("REQUESTS", [Cell(format_count(row.worker.requests)) for row in rows], 6, right=True),
        Column("AGE", [Cell(format_age(row.worker.age)) for row in rows], 7, right=True),
        Column("REQUEST", [request_cell(row.worker) for row in rows], 5, shrinks=True),
    ]


def pool_object(row: PoolRow) -> dict[str, Any]:
    """One pool for a program; null: not known (yet)."""
    numbers = row.pool.numbers
    return {
        "pool": row.pool.name,
        "state": row.pool.state,
        "active": numbers.active,
        "idle": numbers.idle,
        "max_children": numbers.max_children,
        "queue": numbers.listen_queue,
        "requests_per_second": row.rate,
        "cpu_percent": row.cpu,
        "memory": numbers.memory_pss,
        "errors": numbers.errors,
        "slow": numbers.slow_requests,
        "p95_seconds": p95_of(row.pool),
        "oldest_seconds": row.oldest.request_age if row.oldest else None,
        "oldest_request": f"{row.oldest.request_method} {row.oldest.request_uri}" if row.oldest else "",
    }


def worker_object(row: WorkerRow) -> dict[str, Any]:
    """One worker for a program; null: not known (yet)."""
    return {
        "pool": row.pool.name,
        "pid": row.worker.pid,
        "state": row.worker.state,
        "idle": row.worker.idle,
        "cpu_percent": row.cpu,
        "memory": row.worker.pss,
        "requests": row.worker.requests,
        "request_seconds": row.worker.request_age,
        "request": f"{row.worker.request_method} {row.worker.request_uri}",
        "age": row.worker.age,
    }


def _cpu(share: float | None) -> Cell:
    return Cell("-" if share is None else f"{share:.0f}" if share >= 9.95 else f"{share:.1f}")


def _oldest_age(oldest: Worker | None) -> Cell:
    if oldest is None:
        return Cell("")
    return Cell(format_span(oldest.request_age), "bold red" if oldest.request_age >= LONG else "")


def totals_cells(rows: Sequence[PoolRow], load: tuple[float, float, float]) -> list[Cell]:
    """All pools in one line, with the machine's load averages."""
    busy = sum(row.pool.numbers.active for row in rows)
    total = sum(row.pool.numbers.total for row in rows)
    queue = sum(row.pool.numbers.listen_queue for row in rows)
    rates = [row.rate for row in rows if row.rate is not None]
    shares = [row.cpu for row in rows if row.cpu is not None]
    sizes = [row.pool.numbers.memory_pss for row in rows if row.pool.numbers.memory_pss is not None]
    parts = [
        f"{len(rows)} pool{'s' * (len(rows) != 1)}",
        f"{busy}/{total} busy",
        f"{queue} waiting",
        f"{format_rate(sum(rates) if rates else None)} req/s",
        f"cpu {_cpu(sum(shares) if shares else None).text} %",
        f"pss {format_size(sum(sizes) if sizes else None)}",
        "load " + " ".join(f"{one:.2f}" for one in load),
    ]
    return [Cell(f", {part}" if number else part) for number, part in enumerate(parts)]
