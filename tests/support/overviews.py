"""Overviews and pool pages with plausible values, for the tests of what shows them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from fpm.scoreboard.buckets import BUCKETS, Histogram, bucket_of
from fpm.scoreboard.numbers import ROWS, PoolNumbers
from fpm.scoreboard.statistics import Statistics
from fpm.status.exceptions import SeenException
from fpm.status.model import PoolStatus
from fpm.status.overview import Daemon, Death, LastReload, Overview, Pool, PoolPage, Route, SlowRequest, Worker
from fpm.status.past.recent import WINDOWS, Mark, MarkKind, Moment, Recent, Window

NOW = 1_795_000_000.0
NASTY = "/\"><script>alert(1)</script>&'\x1b[31m\u202e\udc80\n" + "ä" * 20
DAEMON = Daemon(
    version="0.1.0",
    host="web1.example.net",
    pid=812,
    file="/etc/pyfpm/pyfpm.conf",
    started=NOW - 273_000,
    now=NOW,
    draining=False,
    last_reload=LastReload(NOW - 4000, True, ""),
)
NUMBERS = PoolNumbers(
    start_time=int(NOW) - 273_000,
    start_since=273_000,
    requests=1_284_551,
    listen_queue=0,
    max_listen_queue=31,
    listen_queue_len=4096,
    idle=3,
    active=9,
    total=12,
    max_active=18,
    max_children_reached=2,
    slow_requests=5,
    memory_peak=61_000_000,
    generation=7,
    last_reload=int(NOW) - 4000,
    last_reload_failed=False,
    failed=False,
    failed_since=0,
    start_failures=0,
    next_start=0,
    max_children=20,
    min_spare=2,
    max_spare=6,
    max_requests=1000,
    background=1,
    errors=0,
    recycled=42,
    deaths_by_exit=0,
    deaths_by_signal=1,
    deaths_by_kill=0,
    deaths_by_timeout=0,
    last_death=int(NOW) - 7200,
    queue_wait=None,
    memory_pss=187_000_000,
    busy_percent=45,
    last_death_status=11,
)
STATUS = PoolStatus("shop", "dynamic", NUMBERS, ())
DEATH = Death(
    NOW - 7200,
    4711,
    "on signal 11 (SIGSEGV)",
    812.5,
    340,
    "GET /thumbnail/88123?size=large",
    signal="SIGSEGV",
    oom="no",
    request_state="running",
    request_age=3.2,
    memory_peak=310 << 20,
    cpu_user=12.5,
    cpu_system=0.25,
    output=(
        "Fatal Python error: Segmentation fault",
        '  File "/srv/shop/lib/images.py", line 88 in scale',
        '  File "/srv/shop/views.py", line 17 in thumbnail',
    ),
    next_action="respawned in 0.4 s (backoff, 3 died early in a row)",
)
OUT_OF_MEMORY = replace(
    DEATH,
    at=NOW - 300,
    pid=4822,
    cause="on signal 9 (SIGKILL)",
    signal="SIGKILL",
    oom="yes",
    oom_note="cgroup limit 256 MiB, by the kernel log",
    request="POST /import",
    request_state="after the response",
    task="shop.tasks.read_catalogue",
    output=(),
    next_action="respawned",
)
NASTY_DEATH = replace(
    DEATH,
    request=NASTY * 30,
    task=NASTY * 5,
    request_state="after the response",
    signal="SIGKILL",
    oom="unknown",
    oom_note=NASTY * 5,
    retire_reason=NASTY,
    core="/" + "x" * 300,
    stack=(NASTY * 5, "y" * 200),
    output=(NASTY,) * 12,
    next_action=NASTY,
    who="503 responder",
)


def worker(pid: int, **values: Any) -> Worker:
    """One worker: idle, unless told otherwise."""
    usual: dict[str, Any] = {
        "pid": pid,
        "state": "Idle",
        "idle": True,
        "age": 2700.0 + pid,
        "generation": 7,
        "leaving": "",
        "requests": 512,
        "request_age": 0.034,
        "request_method": "GET",
        "request_uri": "/products/list?page=3",
        "user": "-",
        "last_request_cpu": 41.0,
        "memory_peak": 48_000_000,
        "pss": 15_600_000,
    }
    return Worker(**(usual | values))


def busy(pid: int, uri: str, age: float, **values: Any) -> Worker:
    """One that has a request in hand for `age` seconds."""
    usual: dict[str, Any] = {"state": "Running", "idle": False, "request_uri": uri, "request_age": age}
    return worker(pid, **(usual | {"last_request_cpu": 0.0} | values))


def history(busiest: int, limit: int, seconds: int = 3400, every: int = 10) -> tuple[Moment, ...]:
    """A wave, with a queue where it would rise over the limit, and five minutes of which nobody knows."""
    moments = []
    for second in range(every, seconds + 1, every):
        if 1500 < second <= 1800:
            continue
        wanted = int(busiest * (0.55 + 0.45 * math.sin(second / 230) + 0.15 * math.sin(second / 31)))
        active = max(0, min(wanted, limit))
        moment = Moment(
            NOW - seconds + second,
            min(3, limit - active),
            active,
            max(0, wanted - limit),
            4.0 * active,
            every,
            0.4 if wanted > limit else 0.0,
            0.02 + 0.01 * active + 0.3 * max(0, wanted - limit) if active else None,
        )
        moments.append(moment)
    return tuple(moments)


def statistics(count: int, *, failures: int = 0, slowest: float = 1.6) -> Statistics:
    """So many responses, most of them quick."""
    counts = [0] * BUCKETS
    for part, seconds in ((0.5, 0.012), (0.3, 0.045), (0.15, 0.2), (0.05, slowest)):
        counts[bucket_of(int(seconds * 1e6))] += int(count * part)
    times = Histogram(int(count * 0.08e6), tuple(counts))
    return Statistics(
        (0, count - failures - count // 20, count // 50, count // 20 - count // 50, failures),
        count // 900,
        *[times] * 4,
    )


def recent(rate: float, *, failures: int = 0, errors: int = 0, **values: Any) -> Recent:
    """What has been counted at this rate."""
    windows = [
        Window(
            seconds,
            min(seconds, 3400),
            statistics(int(rate * seconds), failures=failures if seconds >= 300 else 0),
            int(rate * seconds),
            errors if seconds >= 300 else 0,
            values.get("slow", 0),
            values.get("deaths", 0) if seconds >= 3600 else 0,
        )
        for seconds in WINDOWS
    ]
    return Recent(rate, tuple(windows), values.get("saturated_since"))


MARKS = (
    Mark(NOW - 4000, MarkKind.DEPLOY, "generation 7 from /srv/shop/releases/41"),
    Mark(NOW - 2900, MarkKind.RELOAD_FAILED, "ImportError: cannot import name 'basket'"),
    Mark(NOW - 2500, MarkKind.DEPLOY, "generation 8 from /srv/shop/releases/42"),
    Mark(NOW - 300, MarkKind.DEATH, "on signal 9 (SIGKILL)"),
)
STACK = (
    'File "/srv/shop/lib/database.py", line 88, in wait',
    'File "/srv/shop/views/report.py", line 31, in yearly',
    'File "/srv/shop/wsgi.py", line 12, in application',
)
EXCEPTIONS = (
    SeenException(
        "KeyError",
        "'basket'",
        "checkout (/srv/shop/views/order.py:41)",
        37,
        NOW - 900,
        NOW - 12,
        2107,
        "POST /checkout?step=2",
        STACK,
    ),
    SeenException("shop.errors.NoStock", "", "", 1, NOW - 3000, NOW - 3000, 1977),
)
ROUTES = (
    Route("/search", 48_210, 12, 21_400.0, 3_100.0, 1.2, 0),
    Route("/product/<n>", 310_022, 0, 9_800.0, 6_100.0, 0.09, 4 << 20),
    Route("/report/<uuid>", 18, 2, 1_300.0, 1_100.0, 78.0, 310 << 20),
    Route("", 4_120, 0, 310.0, 120.0, 0.2, 0),
)
LIMITS = (
    ("request_terminate_timeout", "2 min"),
    ("request_slowlog_timeout", "5.0 s"),
    ("startup_timeout", "1 min"),
    ("pm.max_memory", "256 MiB"),
    ("rlimit_files", "4096"),
)


def pool(name: str = "shop", **values: Any) -> Pool:
    """One pool; PoolNumbers may be given by their fields, too."""
    numbers = replace(NUMBERS, **{key: values.pop(key) for key in list(values) if key in ROWS})
    status = PoolStatus(name, values.pop("process_manager", "dynamic"), numbers, ())
    values.setdefault("rate", 38.4)
    usual: dict[str, Any] = {
        "name": name,
        "listen": f"/run/pyfpm/{name}.sock",
        "state": "running",
        "app": f"{name}.wsgi:application",
        "ready": True,
        "status": status,
        "directory": "",
        "error": "",
        "traceback": "",
        "workers": (),
        "history": history(11, 20),
        "slow": (),
        "deaths": (OUT_OF_MEMORY, DEATH),
        "recent": recent(values.get("rate") or 0.0),
        "statistics": statistics(numbers.requests),
        "limits": LIMITS,
    }
    return Pool(**(usual | values))


def busy_shop() -> Pool:
    """A pool with something of everything."""
    workers = [
        busy(2101, "/checkout/pay?order=88121", 0.21, user="alice"),
        busy(2102, "/report/yearly?format=xlsx&from=2020-01-01&to=2026-11-21&group=customer", 74.2),
        busy(2107, "/search?q=winter+shoes", 6.4, request_method="POST", generation=6, leaving="replaced"),
        busy(2110, "/api/v2/stock", 0.003, state="Finishing"),
        *(worker(pid) for pid in range(2111, 2114)),
        worker(2114, requests=0, request_uri="-", request_method="-", request_age=0.0, last_request_cpu=0.0, pss=None),
    ]
    slow = (
        SlowRequest(NOW, 2102, 74.2, "GET /report/yearly?format=xlsx", True, STACK),
        SlowRequest(NOW - 3100, 1980, 8.9, "POST /import/prices", False, STACK[1:]),
    )
    return pool(
        workers=tuple(workers),
        slow=slow,
        listen_queue=4,
        queue_wait=120,
        active=20,
        idle=0,
        history=history(26, 20),
        recent=recent(92.0, failures=31, errors=4, slow=2, deaths=1, saturated_since=NOW - 240),
        marks=MARKS,
        routes=ROUTES,
        exceptions=EXCEPTIONS,
        directory="/srv/shop/releases/42",
        user="shop",
        python="/srv/shop/venv/bin/python (3.12.4)",
        logs=(("error", "/var/log/pyfpm/error.log"), ("slow", "/var/log/pyfpm/shop.slow.log")),
    )


def broken() -> Pool:
    """A pool whose application cannot be imported."""
    trace = (
        'Traceback (most recent call last):\n  File "/srv/blog/blog/wsgi.py", line 3, in <module>\n    import djnago'
    )
    return pool(
        "blog",
        state="failed",
        ready=False,
        failed=True,
        failed_since=int(NOW) - 90,
        next_start=int(NOW) + 24,
        start_failures=4,
        error="ModuleNotFoundError: No module named 'djnago'",
        traceback=trace + "\nModuleNotFoundError: No module named 'djnago'\n",
        idle=0,
        active=0,
        total=0,
        rate=0.0,
        history=(),
        errors=0,
        memory_pss=None,
    )


def idle() -> Pool:
    """A pool without a process, and nothing is wrong with it."""
    return pool(
        "wiki-of-the-department-of-internal-affairs",
        process_manager="ondemand",
        state="idle",
        idle=0,
        active=0,
        total=0,
        requests=12,
        slow_requests=0,
        rate=0.0,
        history=history(0, 5),
        max_children=5,
        memory_pss=0,
        deaths=(),
        recent=recent(0.0),
    )


def overview(*pools: Pool) -> Overview:
    """These pools, or a few different ones."""
    few = (
        pool(),
        busy_shop(),
        broken(),
        idle(),
        pool("api", errors=17, rate=481.2, requests=88_120_911, recent=recent(481.2, errors=17)),
    )
    return Overview(DAEMON, pools or tuple(replace(one, workers=()) for one in few))


def page(one: Pool) -> PoolPage:
    """The page of one pool."""
    return PoolPage(DAEMON, one)
