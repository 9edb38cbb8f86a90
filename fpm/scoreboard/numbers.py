"""The numbers of a pool, one row each: how it is kept in the scoreboard, merged, and shown wherever numbers are shown.

The header of the scoreboard holds the rows that have a code, in this order (it is the order of the status page, too).
The master keeps one `PoolNumbers` for each pool, in which the counters are sums and maxima over workers that are gone;
fpm.status.model adds what the living ones have, and reckons the rest. To add a number: a row at the end of the table
here, or of fpm.scoreboard.response_numbers if it is kept in the scoreboard (and of fpm.scoreboard.snapshot.Slot, if
workers count it), and the code that counts it. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

from fpm.scoreboard.group_pressure import measure_pressure, show_pressure
from fpm.scoreboard.number import Line, Metric, Shown, number, rows_of
from fpm.scoreboard.response_numbers import ResponseNumbers


@dataclass(slots=True)
class PoolNumbers(ResponseNumbers):
    """All numbers of one pool: what is counted, and what the kernel says of its cgroup to those who ask the master."""

    cgroup_memory: int | None = number(
        default=None,
        key="cgroup memory",
        unit="bytes",
        metric=Metric("cgroup_memory_bytes", "Memory of the pool's cgroup, page cache included."),
        line=Line("cgroup", "memory {}", is_optional=True),
    )
    cgroup_memory_peak: int | None = number(
        default=None,
        key="cgroup peak",
        unit="bytes",
        metric=Metric("cgroup_memory_peak_bytes", "The most memory that the pool's cgroup has had."),
        line=Line("cgroup", "at most {}", is_optional=True),
    )
    cgroup_processes: int | None = number(
        default=None,
        key="cgroup tasks",
        metric=Metric("cgroup_tasks", "Processes and threads in the pool's cgroup."),
        line=Line("cgroup", "{} processes and threads", is_optional=True),
    )
    cgroup_cpu: int | None = number(
        default=None,
        key="cgroup cpu",
        unit="milliseconds",
        metric=Metric(
            "cgroup_cpu_seconds",
            "CPU time of the pool's cgroup.",
            "counter",
            measure=lambda n: None if n.cgroup_cpu is None else n.cgroup_cpu / 1000,
        ),
        line=Line("cgroup", "CPU time {}", is_optional=True),
    )
    """Milliseconds, as is the next."""
    cgroup_throttled: int | None = number(
        default=None,
        key="cgroup throttled",
        unit="milliseconds",
        metric=Metric(
            "cgroup_throttled_seconds",
            "For how long the pool's cgroup was held up by cgroup.cpu_max.",
            "counter",
            measure=lambda n: None if n.cgroup_throttled is None else n.cgroup_throttled / 1000,
        ),
        line=Line("cgroup", "held up {}", is_optional=True),
    )
    cpu_pressure: int | None = number(
        default=None,
        key="cpu pressure",
        show=lambda n: show_pressure(n.cpu_pressure),
        metric=Metric(
            "cgroup_pressure_ratio",
            "Part of the last 10 s in which some process of the pool's cgroup waited for this (PSI).",
            label='resource="cpu"',
            measure=lambda n: measure_pressure(n.cpu_pressure),
        ),
        line=Line("pressure", "CPU {} %", is_optional=True),
    )
    """Hundredths of a percent, as are the next two; a page shows percent."""
    memory_pressure: int | None = number(
        default=None,
        key="memory pressure",
        show=lambda n: show_pressure(n.memory_pressure),
        metric=Metric(
            "cgroup_pressure_ratio",
            "",
            label='resource="memory"',
            measure=lambda n: measure_pressure(n.memory_pressure),
        ),
        line=Line("pressure", "memory {} %", is_optional=True),
    )
    io_pressure: int | None = number(
        default=None,
        key="io pressure",
        show=lambda n: show_pressure(n.io_pressure),
        metric=Metric(
            "cgroup_pressure_ratio", "", label='resource="io"', measure=lambda n: measure_pressure(n.io_pressure)
        ),
        line=Line("pressure", "disks {} %", is_optional=True),
    )
    cgroup_high: int | None = number(
        default=None,
        metric=Metric(
            "cgroup_memory_events",
            "What the kernel has counted at the memory limits of the pool's cgroup.",
            "counter",
            label='event="high"',
        ),
    )
    cgroup_max: int | None = number(
        default=None, metric=Metric("cgroup_memory_events", "", "counter", label='event="max"')
    )
    cgroup_oom: int | None = number(
        default=None, metric=Metric("cgroup_memory_events", "", "counter", label='event="oom"')
    )
    cgroup_oom_kill: int | None = number(
        default=None,
        key="cgroup oom kills",
        metric=Metric("cgroup_memory_events", "", "counter", label='event="oom_kill"'),
        line=Line("cgroup", "{} killed for lack of memory", is_optional=True),
    )


ROWS = rows_of(PoolNumbers)
PHP_ROWS = {name: row for name, row in ROWS.items() if row.php}
OWN_ROWS = {name: row for name, row in ROWS.items() if row.key and not row.php}


def show_number(numbers: PoolNumbers, name: str) -> Shown:
    """What is shown of one of the numbers; times are whole seconds, flags 0 or 1."""
    row = ROWS[name]
    value: Shown = row.show(numbers) if row.show else getattr(numbers, name)
    return value if value is None or isinstance(value, str) else int(value)
