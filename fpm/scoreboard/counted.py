"""The numbers that the processes of a pool and its master count, a row each; see fpm.scoreboard.numbers. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fpm.scoreboard.hot_path import describe_hot_path, measure_hot_path
from fpm.scoreboard.memory_level import describe_memory, measure_memory
from fpm.scoreboard.number import COUNT, FLAG, TIME, UINT, Line, Metric, Php, describe_death, number


def _deaths(cause: str, words: str, *, code: str = COUNT) -> Any:
    """A number of workers that have died of one cause."""
    metric = Metric("deaths", "Workers that have died unexpectedly, by cause.", "counter", label=f'cause="{cause}"')
    return number(code, key=f"deaths by {cause}", metric=metric, line=Line("deaths", words))


@dataclass(slots=True)
class CountedNumbers:
    """What is counted of one pool by its master and workers. Keys of PHP-FPM come first."""

    start_time: float = number(
        TIME,
        key="start time",
        php=Php("", "", ""),
        unit="time",
        metric=Metric(
            "start_time_seconds", "When the pool began, in epoch seconds.", measure=lambda n: int(n.start_time)
        ),
        line=Line("started"),
    )
    start_since: int = number(
        key="start since", php=Php("start_since", "counter", "The number of seconds since FPM has started.")
    )
    requests: int = number(
        COUNT,
        merge=sum,
        key="accepted conn",
        php=Php("accepted_connections", "counter", "The number of requests accepted by the pool."),
        metric=Metric("requests", "Requests taken.", "counter"),
        line=Line("requests"),
    )
    listen_queue: int = number(
        key="listen queue",
        php=Php("listen_queue", "gauge", "The number of requests in the queue of pending connections."),
        metric=Metric("listen_queue", "Connections that wait for a worker."),
        line=Line("listen queue"),
    )
    max_listen_queue: int = number(
        COUNT,
        key="max listen queue",
        php=Php(
            "max_listen_queue",
            "counter",
            "The maximum number of requests in the queue of pending connections since FPM has started.",
        ),
        metric=Metric("listen_queue_max", "The most that have been seen to wait."),
        line=Line("listen queue", "longest {}"),
    )
    listen_queue_len: int = number(
        key="listen queue len",
        php=Php("listen_queue_length", "gauge", "The size of the socket queue of pending connections."),
        metric=Metric("listen_queue_limit", "How many may wait before the kernel refuses them."),
        line=Line("listen queue", "limit {}"),
    )
    idle: int = number(
        key="idle processes",
        php=Php("idle_processes", "gauge", "The number of idle processes."),
        metric=Metric("workers", "Workers by what they do.", label='state="idle"'),
    )
    active: int = number(
        key="active processes",
        php=Php("active_processes", "gauge", "The number of active processes."),
        metric=Metric("workers", "", label='state="active"'),
    )
    total: int = number(
        key="total processes", php=Php("total_processes", "gauge", "The number of idle + active processes.")
    )
    max_active: int = number(
        COUNT,
        merge=max,
        key="max active processes",
        php=Php("max_active_processes", "counter", "The maximum number of active processes since FPM has started."),
        metric=Metric("active_workers_max", "The most active at once."),
        line=Line("most busy"),
    )
    max_children_reached: int = number(
        COUNT,
        key="max children reached",
        php=Php(
            "max_children_reached",
            "counter",
            "The number of times, the process limit has been reached, when pm tries to start more children "
            "(works only for pm 'dynamic' and 'ondemand').",
        ),
        metric=Metric(
            "workers_limit_reached", "How often pm.max_children has been reached while requests waited.", "counter"
        ),
        line=Line("most busy", "limit reached {} times"),
    )
    slow_requests: int = number(
        COUNT,
        merge=sum,
        key="slow requests",
        php=Php(
            "slow_requests", "counter", "The number of requests that exceeded your 'request_slowlog_timeout' value."
        ),
        metric=Metric("slow_requests", "Requests that took longer than request_slowlog_timeout.", "counter"),
        line=Line("requests", "{} slow"),
    )
    memory_peak: int = number(
        COUNT,
        merge=max,
        key="memory peak",
        php=Php("memory_peak", "gauge", "The memory usage peak since FPM has started."),
        unit="bytes",
        metric=Metric("memory_peak_bytes", "The largest memory of one worker so far."),
        line=Line("memory", "largest worker {}"),
    )

    # From here on ours. No key begins with idle, active or total, none contains "pool", each has at most 20 characters.
    generation: int = number(
        UINT, key="generation", metric=Metric("generation", "The generation that serves."), line=Line("generation")
    )
    last_reload: float = number(
        TIME,
        key="last reload",
        unit="time",
        metric=Metric(
            "last_reload_time_seconds",
            "When the last reload ended, in epoch seconds.",
            measure=lambda n: int(n.last_reload) or None,
        ),
        line=Line("last reload"),
    )
    last_reload_failed: bool = number(
        FLAG,
        key="last reload failed",
        metric=Metric(
            "last_reload_ok",
            "Whether the last reload succeeded.",
            measure=lambda n: int(not n.last_reload_failed) if n.last_reload else None,
        ),
        line=Line("last reload", "failed"),
    )
    failed: bool = number(FLAG, key="failed", metric=Metric("failed", "Whether the application does not start."))
    """Clients get 503 unless workers of a former generation serve."""
    failed_since: float = number(TIME, key="failed since", unit="time")
    start_failures: int = number(
        UINT, key="start failures", metric=Metric("start_failures", "Starts in a row that have failed.")
    )
    next_start: float = number(TIME, key="next start", unit="time")
    max_children: int = number(UINT, key="children limit", metric=Metric("workers_limit", "pm.max_children."))
    """Its own name is a part of one of PHP-FPM's keys, which somebody may look for with grep(1)."""
    min_spare: int = number(UINT, key="min spare")
    max_spare: int = number(UINT, key="max spare")
    max_requests: int = number(UINT, key="requests limit", unit="limit", line=Line("pm.max_requests"))
    busy_percent: int = number(
        key="busy percent",
        metric=Metric(
            "busy_ratio",
            "Active workers of pm.max_children, from 0 to 1.",
            measure=lambda n: round(min(n.active / max(n.max_children, 1), 1.0), 4),
        ),
    )
    background: int = number(
        key="background", metric=Metric("background_requests", "Workers that go on after their response.")
    )
    errors: int = number(
        COUNT,
        merge=sum,
        key="errors",
        metric=Metric("errors", "Requests that ended in an uncaught exception.", "counter"),
        line=Line("requests", "{} errors"),
    )
    recycled: int = number(
        COUNT,
        key="recycled",
        metric=Metric("recycled_workers", "Workers that left at pm.max_requests.", "counter"),
        line=Line("recycled", "{} at pm.max_requests"),
    )
    deaths_by_exit: int = _deaths("exit", "{} by exit")
    deaths_by_signal: int = _deaths("signal", "{} by signal")
    """A signal of their own making (SIGSEGV, SIGABRT ...)."""
    deaths_by_kill: int = _deaths("kill", "{} by SIGKILL")
    """That is neither the master's nor the kernel's for lack of memory, as far as that is known."""
    deaths_by_timeout: int = _deaths("timeout", "{} by timeout")
    """Ended by the master because they had not left, or not started, in time."""
    deaths_by_oom: int = _deaths("oom", "{} out of memory")
    recycled_memory: int = number(
        COUNT,
        key="recycled memory",
        metric=Metric("memory_recycled_workers", "Workers that left at pm.max_memory.", "counter"),
        line=Line("recycled", "{} at pm.max_memory"),
    )
    last_death: float = number(
        TIME,
        key="last death",
        unit="time",
        metric=Metric(
            "last_death_time_seconds",
            "When a worker last died unexpectedly, in epoch seconds.",
            measure=lambda n: int(n.last_death) or None,
        ),
    )
    last_death_status: int = number(
        UINT, key="last death cause", show=lambda n: describe_death(n.last_death_status) if n.last_death else "-"
    )
    """Wait status."""
    queue_wait: int | None = number(
        default=None,
        key="queue wait",
        metric=Metric(
            "queue_wait_seconds",
            "How long the last one in the queue will wait at the present rate.",
            measure=lambda n: None if n.queue_wait is None else n.queue_wait / 1000,
        ),
    )
    """Milliseconds."""
    memory_pss: int | None = number(
        default=None,
        key="memory pss",
        unit="bytes",
        metric=Metric("memory_pss_bytes", "Memory of all workers, shared pages counted once."),
        line=Line("memory", "all workers {}"),
    )
    background_oldest: int = number(
        key="background oldest",
        metric=Metric("background_oldest_seconds", "For how long the oldest of them has gone on."),
    )
    """Seconds."""
    background_early: int = number(
        COUNT,
        merge=sum,
        key="background early",
        metric=Metric(
            "background_early",
            "Requests whose work after the response ran before it, because of pm.background_max.",
            "counter",
        ),
    )
    background_max: int = number(UINT, key="background limit")
    """0: no limit."""
    slow_limit: int = number(COUNT)
    """Microseconds from which a request is slow; 0: none is."""
    tracks_finished: bool = number(FLAG)
    """A request may become slow after its response, too."""
    hot_path: int = number(
        UINT,
        key="hot path",
        show=lambda n: describe_hot_path(n.hot_path),
        metric=Metric(
            "hot_path_compiled",
            "Whether the compiled hot path serves, or plain Python.",
            measure=lambda n: measure_hot_path(n.hot_path),
        ),
        line=Line("hot path"),
    )
    deaths_by_memory: int = _deaths("memory", "{} at pm.max_memory_hard", code=UINT)
    memory_level: int = number(
        UINT,
        key="memory limit",
        show=lambda n: describe_memory(n.memory_level),
        metric=Metric(
            "memory_limit_exceeded",
            "Whether the pool uses more than pm.memory_soft (1) or pm.memory_hard (2).",
            measure=lambda n: measure_memory(n.memory_level),
        ),
        line=Line("memory limit"),
    )
    """0: the pool as a whole has no limit; see fpm.scoreboard.memory_level."""
