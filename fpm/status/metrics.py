"""/metrics: all pools in OpenMetrics 1.0, which a strict parser accepts; PHP-FPM's own `?openmetrics` page is not that.

A family is a row of a table: the name without `_total`, the type, the help text and how its value is had.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from fpm.log.escape import escape
from fpm.status.overview import Daemon, Pool

METRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"

Value = int | float | None
"""None: not known, no sample."""


@dataclass(frozen=True, slots=True)
class Family:
    """One metric of each pool."""

    name: str
    kind: str
    help: str
    value: Callable[[Pool], Value]


def _seconds(milliseconds: int | None) -> Value:
    return None if milliseconds is None else milliseconds / 1000


FAMILIES = (
    Family("pyfpm_ready", "gauge", "Whether the pool serves: 1, or 0 while it fails or stops.", lambda p: int(p.ready)),
    Family("pyfpm_failed", "gauge", "Whether the application does not start.", lambda p: int(p.extras.failed)),
    Family(
        "pyfpm_start_time_seconds", "gauge", "When the pool began, in epoch seconds.", lambda p: p.status.start_time
    ),
    Family("pyfpm_requests", "counter", "Requests taken.", lambda p: p.status.accepted_conn),
    Family("pyfpm_errors", "counter", "Requests that ended in an uncaught exception.", lambda p: p.extras.errors),
    Family(
        "pyfpm_slow_requests",
        "counter",
        "Requests that took longer than request_slowlog_timeout.",
        lambda p: p.status.slow_requests,
    ),
    Family("pyfpm_listen_queue", "gauge", "Connections that wait for a worker.", lambda p: p.status.listen_queue),
    Family(
        "pyfpm_listen_queue_max", "gauge", "The most that have been seen to wait.", lambda p: p.status.max_listen_queue
    ),
    Family(
        "pyfpm_listen_queue_limit",
        "gauge",
        "How many may wait before the kernel refuses them.",
        lambda p: p.status.listen_queue_len,
    ),
    Family(
        "pyfpm_queue_wait_seconds",
        "gauge",
        "How long the last one in the queue will wait at the present rate.",
        lambda p: _seconds(p.extras.queue_wait),
    ),
    Family("pyfpm_active_workers_max", "gauge", "The most active at once.", lambda p: p.status.max_active_processes),
    Family("pyfpm_workers_limit", "gauge", "pm.max_children.", lambda p: p.extras.max_children),
    Family(
        "pyfpm_workers_limit_reached",
        "counter",
        "How often pm.max_children has been reached while requests waited.",
        lambda p: p.status.max_children_reached,
    ),
    Family(
        "pyfpm_busy_ratio",
        "gauge",
        "Active workers of pm.max_children, from 0 to 1.",
        lambda p: round(min(p.status.active_processes / max(p.extras.max_children, 1), 1.0), 4),
    ),
    Family(
        "pyfpm_background_requests",
        "gauge",
        "Workers that go on after their answer.",
        lambda p: p.extras.background,
    ),
    Family(
        "pyfpm_background_oldest_seconds",
        "gauge",
        "For how long the oldest of them has gone on.",
        lambda p: p.extras.background_oldest,
    ),
    Family(
        "pyfpm_background_early",
        "counter",
        "Requests whose work after the response ran before it, because of pm.background_max.",
        lambda p: p.extras.background_early,
    ),
    Family("pyfpm_recycled_workers", "counter", "Workers that left at pm.max_requests.", lambda p: p.extras.recycled),
    Family(
        "pyfpm_memory_recycled_workers",
        "counter",
        "Workers that left at pm.max_memory.",
        lambda p: p.extras.recycled_memory,
    ),
    Family(
        "pyfpm_memory_peak_bytes", "gauge", "The largest memory of one worker so far.", lambda p: p.status.memory_peak
    ),
    Family(
        "pyfpm_memory_pss_bytes",
        "gauge",
        "Memory of all workers, shared pages counted once.",
        lambda p: p.extras.memory_pss,
    ),
    Family("pyfpm_generation", "gauge", "The generation that serves.", lambda p: p.extras.generation),
    Family("pyfpm_start_failures", "gauge", "Starts in a row that have failed.", lambda p: p.extras.start_failures),
    Family(
        "pyfpm_last_reload_time_seconds",
        "gauge",
        "When the last reload ended, in epoch seconds.",
        lambda p: p.extras.last_reload or None,
    ),
    Family(
        "pyfpm_last_reload_ok",
        "gauge",
        "Whether the last reload succeeded.",
        lambda p: int(not p.extras.last_reload_failed) if p.extras.last_reload else None,
    ),
    Family(
        "pyfpm_last_death_time_seconds",
        "gauge",
        "When a worker last died unasked, in epoch seconds.",
        lambda p: p.extras.last_death or None,
    ),
)


def render_metrics(daemon: Daemon, pools: Sequence[Pool]) -> bytes:
    """The page."""
    labels = [f'pool="{_label(pool.name)}"' for pool in pools]
    lines = [
        *_head("pyfpm_build", "info", "The version that runs."),
        f'pyfpm_build_info{{version="{_label(daemon.version)}"}} 1',
        *_head("pyfpm_stopping", "gauge", "Whether the daemon is stopping."),
        f"pyfpm_stopping {int(daemon.draining)}",
        *_head("pyfpm_master_start_time_seconds", "gauge", "When the daemon began, in epoch seconds."),
        f"pyfpm_master_start_time_seconds {daemon.started:.3f}",
    ]
    for family in FAMILIES:
        lines += _family(family, labels, pools)
    lines += _workers(labels, pools)
    lines += _deaths(labels, pools)
    return "\n".join([*lines, "# EOF\n"]).encode()


def _head(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# TYPE {name} {kind}"
    for unit in ("seconds", "bytes"):
        if name.endswith(f"_{unit}"):
            yield f"# UNIT {name} {unit}"
    yield f"# HELP {name} {text}"


def _family(family: Family, labels: Iterable[str], pools: Iterable[Pool]) -> Iterator[str]:
    yield from _head(family.name, family.kind, family.help)
    name = f"{family.name}_total" if family.kind == "counter" else family.name
    for label, pool in zip(labels, pools, strict=True):
        value = family.value(pool)
        if value is not None:
            yield f"{name}{{{label}}} {value}"


def _workers(labels: Iterable[str], pools: Iterable[Pool]) -> Iterator[str]:
    yield from _head("pyfpm_workers", "gauge", "Workers by what they do.")
    for label, pool in zip(labels, pools, strict=True):
        yield f'pyfpm_workers{{{label},state="idle"}} {pool.status.idle_processes}'
        yield f'pyfpm_workers{{{label},state="active"}} {pool.status.active_processes}'


def _deaths(labels: Iterable[str], pools: Iterable[Pool]) -> Iterator[str]:
    yield from _head("pyfpm_deaths", "counter", "Workers that have died unasked, by cause.")
    for label, pool in zip(labels, pools, strict=True):
        extras = pool.extras
        causes = (
            ("exit", extras.deaths_by_exit),
            ("signal", extras.deaths_by_signal),
            ("kill", extras.deaths_by_kill),
            ("oom", extras.deaths_by_oom),
            ("timeout", extras.deaths_by_timeout),
        )
        for cause, count in causes:
            yield f'pyfpm_deaths_total{{{label},cause="{cause}"}} {count}'


def _label(text: str) -> str:
    return escape(text).replace("\\", "\\\\").replace('"', '\\"')
