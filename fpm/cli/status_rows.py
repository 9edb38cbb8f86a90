"""What `pyfpm status` shows: the pools in a table, one pool in full, its workers. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fpm.cli.columns import Cell, Column
from fpm.cli.status_past import lately_column, p95_column
from fpm.log.escape import escape
from fpm.log.times import format_access_time
from fpm.status.death_text import death_notes, lived, request_words
from fpm.status.exceptions import SeenException
from fpm.status.facts import pool_facts
from fpm.status.figures import format_age, format_count, format_rate, format_size, format_span
from fpm.status.overview import Daemon, Death, Pool, Worker
from fpm.status.past.figures import past_facts
from fpm.status.trouble import BADGES, Trouble, judge

STATE_STYLES = {"running": "green", "failed": "bold red", "starting": "yellow", "stopping": "yellow", "idle": "dim"}
LONG = 5.0
"""Seconds after which a running request is highlighted."""
TEXT_MAX = 400


def show_text(raw: str) -> str:
    """A text from outside for a terminal: what could drive it is written as `\\xNN`, and the length has a bound."""
    return escape(raw if len(raw) <= TEXT_MAX else raw[:TEXT_MAX] + "...")


def state_cell(pool: Pool) -> Cell:
    """The state, or the word for what is wrong, in its colour."""
    trouble = judge(pool)
    if trouble is Trouble.SATURATED:
        return Cell(BADGES[trouble], "bold red")
    return Cell(pool.state, STATE_STYLES.get(pool.state, ""))


def warn_cell(count: int, style: str) -> Cell:
    """A number that is good as long as it is zero."""
    return Cell(format_count(count), style if count else "")


def busy_cell(pool: Pool) -> Cell:
    """Busy workers of the most there may be."""
    busy, most = pool.numbers.active, pool.numbers.max_children
    return Cell(f"{busy}/{most}", "red" if busy >= most > 0 else "")


def pool_columns(pools: Sequence[Pool]) -> list[Column]:
    """All pools, one a row."""
    return [
        Column("POOL", [Cell(show_text(pool.name), "bold") for pool in pools], 0, shrinks=True),
        Column("STATE", [state_cell(pool) for pool in pools], 0),
        Column("BUSY", [busy_cell(pool) for pool in pools], 1, right=True),
        Column("IDLE", [Cell(str(pool.numbers.idle)) for pool in pools], 9, right=True),
        Column("QUEUE", [warn_cell(pool.numbers.listen_queue, "red") for pool in pools], 2, right=True),
        Column("REQ/S", [Cell(format_rate(pool.rate)) for pool in pools], 4, right=True),
        p95_column(pools, 3),
        lately_column("ERRORS", pools, 5),
        lately_column("5XX", pools, 4),
        lately_column("SLOW", pools, 6),
        lately_column("DEATHS", pools, 8),
        Column("REQUESTS", [Cell(format_count(pool.numbers.requests)) for pool in pools], 8, right=True),
        Column("MEMORY", [Cell(format_size(pool.numbers.memory_pss)) for pool in pools], 7, right=True),
        Column("UP", [Cell(format_age(pool.numbers.start_since)) for pool in pools], 10, right=True),
        Column("GEN", [Cell(str(pool.numbers.generation)) for pool in pools], 11, right=True),
        Column("APPLICATION", [Cell(show_text(pool.app), "dim") for pool in pools], 12, shrinks=True),
    ]


def worker_columns(pool: Pool) -> list[Column]:
    """The workers of one pool, those with the oldest requests first."""
    ordered = sorted(pool.workers, key=lambda worker: (worker.idle, -worker.request_age, worker.pid))
    return [
        Column("PID", [Cell(str(worker.pid)) for worker in ordered], 0, right=True),
        Column("STATE", [worker_state(worker, pool.numbers.generation) for worker in ordered], 0),
        Column("FOR", [request_age(worker) for worker in ordered], 1, right=True),
        Column("AGE", [Cell(format_age(worker.age)) for worker in ordered], 5, right=True),
        Column("REQUESTS", [Cell(format_count(worker.requests)) for worker in ordered], 4, right=True),
        Column("MEMORY", [Cell(format_size(worker.pss)) for worker in ordered], 3, right=True),
        Column("REQUEST", [request_cell(worker) for worker in ordered], 2, shrinks=True),
    ]


def worker_state(worker: Worker, generation: int) -> Cell:
    """The state, and what is unusual about this worker."""
    words = [show_text(worker.state)]
    if worker.leaving:
        words.append(f"(exiting: {show_text(worker.leaving)})")
    if worker.generation and worker.generation != generation:
        words.append(f"(generation {worker.generation})")
    return Cell(" ".join(words), "dim" if worker.idle else "green")


def request_age(worker: Worker) -> Cell:
    """How long the current request has been running, or the last one took."""
    if worker.request_uri == "-":
        return Cell("-", "dim")
    style = "dim" if worker.idle else "bold red" if worker.request_age >= LONG else ""
    return Cell(format_span(worker.request_age), style)


def request_cell(worker: Worker) -> Cell:
    """Method and URI."""
    if worker.request_uri == "-":
        return Cell("-", "dim")
    more = f" ({show_text(worker.background)})" if worker.background else ""
    return Cell(
        f"{show_text(worker.request_method)} {show_text(worker.request_uri)}{more}", "dim" if worker.idle else ""
    )


def head_line(daemon: Daemon) -> str:
    """Return the line that identifies the daemon."""
    leaving = ", stopping" if daemon.draining else ""
    up = format_age(daemon.now - daemon.started)
    return f"pyfpm {daemon.version} on {show_text(daemon.host)}, pid {daemon.pid}, up {up}{leaving}"


def reload_line(daemon: Daemon) -> Cell:
    """How the last reload went."""
    last = daemon.last_reload
    if last is None:
        return Cell("last reload: none", "dim")
    when = f"{format_access_time(last.at)} ({format_age(daemon.now - last.at)} ago)"
    if last.ok:
        return Cell(f"last reload: succeeded, {when}", "dim")
    return Cell(f"last reload: failed, {when}: {show_text(last.reason)}", "yellow")


def fact_cells(pool: Pool, now: float) -> list[tuple[str, Cell]]:
    """One pool in full, as names and values."""
    facts = pool_facts(pool, now, dates=True)
    own = [("directory", pool.directory), ("user", pool.user), ("python", pool.python)]
    logs = [(f"{kind} log", path) for kind, path in pool.logs]
    shown = [*facts[:1], *((name, text) for name, text in own if text), *facts[1:], *past_facts(pool), *logs]
    return [("state", state_cell(pool)), *((name, Cell(show_text(text))) for name, text in shown)]


def event_lines(pool: Pool, now: float) -> Iterator[Cell]:
    """Slow requests, exceptions and deaths, the newest first."""
    for slow in pool.slow:
        when = "still running" if slow.running else f"{format_age(now - slow.at)} ago"
        yield Cell(f"slow   {when}, pid {slow.pid}, {format_span(slow.seconds)}: {show_text(slow.request)}", "yellow")
    for seen in pool.exceptions:
        yield from _exception(seen, now)
    for death in pool.deaths:
        yield from _certificate(death, now)


def _exception(seen: SeenException, now: float) -> Iterator[Cell]:
    often = f", {format_count(seen.count)} times in {format_age(now - seen.first)}" if seen.count > 1 else ""
    yield Cell(f"error  {format_age(now - seen.last)} ago, pid {seen.pid}{often}: {show_text(seen.words)}", "red")
    where = f"in {show_text(seen.place)}" if seen.place else ""
    during = f", {show_text(seen.request)}" if seen.request else ""
    if where or during:
        yield Cell(f"       {where}{during}".replace("       , ", "       "))


def _certificate(death: Death, now: float) -> Iterator[Cell]:
    who = "" if death.who == "worker" else f"{death.who} "
    when = format_age(now - death.at)
    yield Cell(f"death  {when} ago, {who}pid {death.pid} {show_text(death.cause)} {lived(death)}", "red")
    if death.request:
        yield Cell(f"       {show_text(death.request)} {show_text(request_words(death))}", "red")
    yield Cell(f"       {show_text('; '.join(death_notes(death)))}")
    for line in (*death.stack, *death.output):
        yield Cell(f"         {show_text(line)}", "dim")
