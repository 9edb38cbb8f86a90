"""/metrics: all pools in OpenMetrics 1.0, which a strict parser accepts; PHP-FPM's own `?openmetrics` page is not that.

What is measured of a pool is in fpm.scoreboard.numbers.PoolNumbers, and in its histograms. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fpm.log.escape import escape
from fpm.scoreboard.number import Shown
from fpm.scoreboard.numbers import ROWS, PoolNumbers, show_number
from fpm.status.histograms import histogram_lines, quote_label
from fpm.status.overview import Daemon, Pool

METRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
_FAMILIES = {
    metric.name: [name for name, row in ROWS.items() if row.metric and row.metric.name == metric.name]
    for metric in (row.metric for row in ROWS.values())
    if metric
}
"""The numbers of each metric."""


def render_metrics(daemon: Daemon, pools: Sequence[Pool], *, exemplars: bool = False) -> bytes:
    """Write the page of all pools.

    Args:
        exemplars: slow requests that are over are named where they have been counted.
    """
    labels = [f'pool="{_label(pool.name)}"' for pool in pools]
    lines = [
        *_head("pyfpm_build", "info", "The version that runs."),
        f'pyfpm_build_info{{version="{_label(daemon.version)}"}} 1',
        *_head("pyfpm_stopping", "gauge", "Whether the daemon is stopping."),
        f"pyfpm_stopping {int(daemon.draining)}",
        *_head("pyfpm_master_start_time_seconds", "gauge", "When the daemon began, in epoch seconds."),
        f"pyfpm_master_start_time_seconds {daemon.started:.3f}",
        *_head("pyfpm_ready", "gauge", "Whether the pool serves: 1, or 0 while it fails or stops."),
        *(f"pyfpm_ready{{{label}}} {int(pool.ready)}" for label, pool in zip(labels, pools, strict=True)),
    ]
    for names in _FAMILIES.values():
        lines += _family(names, labels, pools)
    lines += histogram_lines(pools, labels, exemplars=exemplars)
    return "\n".join([*lines, "# EOF\n"]).encode()


def _head(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# TYPE {name} {kind}"
    for unit in ("seconds", "bytes"):
        if name.endswith(f"_{unit}"):
            yield f"# UNIT {name} {unit}"
    yield f"# HELP {name} {text}"


def _family(names: Sequence[str], labels: Sequence[str], pools: Sequence[Pool]) -> Iterator[str]:
    metrics = [(name, metric) for name in names if (metric := ROWS[name].metric)]
    first = metrics[0][1]
    yield from _head(f"pyfpm_{first.name}", first.kind, first.help)
    suffix = "_total" if first.kind == "counter" else ""
    for label, pool in zip(labels, pools, strict=True):
        for name, metric in metrics:
            value = _measure(pool.numbers, name)
            if value is not None:
                more = f",{metric.label}" if metric.label else ""
                yield f"pyfpm_{first.name}{suffix}{{{label}{more}}} {value}"


def _measure(numbers: PoolNumbers, name: str) -> Shown:
    metric = ROWS[name].metric
    return metric.measure(numbers) if metric and metric.measure else show_number(numbers, name)


def _label(text: str) -> str:
    return quote_label(escape(text))
