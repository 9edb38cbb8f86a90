"""The inside of one pool's HTML page: figures, history, workers, slow requests, deaths, settings."""

from __future__ import annotations

from fpm.status.death_text import request_words
from fpm.status.deaths import death_notes
from fpm.status.facts import pool_facts
from fpm.status.figures import format_age, format_count, format_rate, format_size, format_span
from fpm.status.overview import Death, Pool, Worker
from fpm.status.web_chart import chart, scale
from fpm.status.web_parts import Cell, badge, facts, lines, meter, moment, table, text, tile, tiles

WORKERS_MAX = 500
"""Rows; the busy ones come first."""
NEWLINE = "\n"
LONG = 5.0
"""Seconds from which a request in hand stands out."""
WORKER_HEADS = (
    ("Pid", ""),
    ("State", ""),
    ("Request", ""),
    ("For", "num"),
    ("Age", "num"),
    ("Requests", "num"),
    ("CPU", "num"),
    ("Memory", "num"),
    ("Peak", "num"),
)
SLOW_HEADS = (("When", ""), ("Request", ""), ("Took", "num"), ("Pid", "num"))
DEATH_HEADS = (
    ("When", ""),
    ("Worker", ""),
    ("How", ""),
    ("What is known", ""),
    ("Lived", "num"),
    ("Requests", "num"),
)


def pool_body(pool: Pool, now: float) -> str:
    """All sections of the page."""
    sections = [
        _figures(pool),
        _history(pool),
        _workers(pool),
        _slow(pool, now),
        _deaths(pool, now),
        "<h2>Settings and totals</h2>",
        facts((name.capitalize(), text(value)) for name, value in pool_facts(pool, now)),
    ]
    return "".join(sections)


def _figures(pool: Pool) -> str:
    numbers = pool.numbers
    busy, most = numbers.active, numbers.max_children
    wait = (
        ""
        if numbers.queue_wait is None or not numbers.listen_queue
        else f"for {format_span(numbers.queue_wait / 1000)}"
    )
    full = "bad" if busy >= most > 0 and numbers.listen_queue else "warn" if busy >= most > 0 else ""
    return tiles(
        [
            tile("Busy", str(busy), f"of {most}{meter(busy, numbers.idle, most)}", full),
            tile("Idle", str(numbers.idle)),
            tile("Waiting", format_count(numbers.listen_queue), wait, "bad" if numbers.listen_queue else ""),
            tile("Requests/s", format_rate(pool.rate)),
            tile("Requests", format_count(numbers.requests)),
            tile("Errors", format_count(numbers.errors), kind="bad" if numbers.errors else ""),
            tile("Slow", format_count(numbers.slow_requests), kind="warn" if numbers.slow_requests else ""),
            tile("Memory", format_size(numbers.memory_pss)),
        ]
    )


def _history(pool: Pool) -> str:
    limit = pool.numbers.max_children
    drawn = chart(pool.history, limit=limit, height=130, label="busy workers, idle workers and queue over time")
    if not drawn:
        return ""
    span = format_age(pool.history[-1].at - pool.history[0].at)
    return (
        f'<h2>History</h2><div class="card history">'
        f'<div class="axis"><span>{scale(pool.history, limit)}</span></div>{drawn}'
        f'<div class="axis"><span>{span} ago</span><span>now</span></div><div class="legend">'
        '<span class="busy">busy</span><span class="idle">idle</span><span class="queue">waiting in the queue</span>'
        '<span class="limit">pm.max_children</span></div></div>'
    )


def _workers(pool: Pool) -> str:
    if not pool.workers:
        return '<h2>Workers</h2><p class="card empty">None at this moment.</p>'
    ordered = sorted(pool.workers, key=lambda worker: (worker.idle, -worker.request_age, worker.pid))
    left_out = len(ordered) - WORKERS_MAX
    more = f'<p class="soft">and {left_out} more</p>' if left_out > 0 else ""
    rows = [_worker(worker, pool.numbers.generation) for worker in ordered[:WORKERS_MAX]]
    return f"<h2>Workers</h2>{table(WORKER_HEADS, rows)}{more}"


def _worker(worker: Worker, generation: int) -> list[Cell]:
    kind = "" if worker.idle else "ok"
    state = badge(worker.state, kind)
    if worker.leaving:
        state += " " + badge(f"leaves: {worker.leaving}", "warn")
    if worker.generation and worker.generation != generation:
        state += " " + badge(f"generation {worker.generation}")
    has_request = worker.request_uri != "-"
    request = (
        f'<span class="mono">{text(worker.request_method)} {text(worker.request_uri)}</span>' if has_request else ""
    )
    if worker.user != "-" and has_request:
        request += f' <span class="soft">{text(worker.user)}</span>'
    if worker.background:
        request += f' <span class="soft">{text(worker.background)}</span>'
    if worker.idle and has_request:
        request = f'<span class="soft">{request}</span>'
    hot = not worker.idle and worker.request_age >= LONG
    cpu = f"{worker.last_request_cpu:.0f} %" if worker.idle and worker.requests else ""
    return [
        Cell(str(worker.pid)),
        Cell(state, "state"),
        Cell(request, "request" if request else "request none"),
        Cell(
            format_span(worker.request_age) if has_request else "",
            "num hot" if hot else "num" if has_request else "num none",
        ),
        Cell(format_age(worker.age), "num"),
        Cell(format_count(worker.requests), "num"),
        Cell(cpu, "num" if cpu else "num none"),
        Cell(format_size(worker.pss), "num"),
        Cell(format_size(worker.memory_peak), "num"),
    ]


def _slow(pool: Pool, now: float) -> str:
    if not pool.slow:
        return ""
    rows = [
        [
            Cell(badge("running", "warn") if slow.running else moment(slow.at, now)),
            Cell(f'<span class="mono">{text(slow.request)}</span>', "request"),
            Cell(format_span(slow.seconds), "num"),
            Cell(str(slow.pid), "num"),
        ]
        for slow in pool.slow
    ]
    return f"<h2>Slow requests</h2>{table(SLOW_HEADS, rows)}"


def _deaths(pool: Pool, now: float) -> str:
    if not pool.deaths:
        return ""
    return f"<h2>Last deaths</h2>{table(DEATH_HEADS, [_death(death, now) for death in pool.deaths])}"


def _death(death: Death, now: float) -> list[Cell]:
    who = str(death.pid) if death.who == "worker" else f"{death.pid} ({text(death.who)})"
    how = badge(death.cause, "bad") + (" " + badge("out of memory", "bad") if death.oom == "yes" else "")
    parts = ["; ".join(text(note) for note in death_notes(death))]
    if death.request:
        request = (
            f'<span class="mono">{text(death.request)}</span> <span class="soft">{text(request_words(death))}</span>'
        )
        parts.insert(0, request)
    about = "<br>".join(filter(None, parts))
    stack = (*death.stack, *death.words)
    if stack:
        name = f"death-{death.pid}-{death.at:.0f}"
        whole = lines(NEWLINE.join(stack))
        about += f'<details id="{name}"><summary>{text(stack[0])}</summary><pre>{whole}</pre></details>'
    return [
        Cell(moment(death.at, now)),
        Cell(who),
        Cell(how, "state"),
        Cell(about, "request" if about else "request none"),
        Cell(format_age(death.age), "num"),
        Cell(format_count(death.requests), "num"),
    ]
