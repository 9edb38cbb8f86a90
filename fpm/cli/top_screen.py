"""The live screen of `pyfpm top`: takes samples, draws them, hears keys.

There is a single thread: one poll(2) waits for a key, a signal, or the time of the next sample.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console

from fpm.cli import tables
from fpm.cli.columns import Cell, Column, fit_words
from fpm.cli.output import print_page
from fpm.cli.status_rows import head_line, show_text
from fpm.cli.top_figures import (
    PoolRow,
    WorkerRow,
    compare,
    pool_columns,
    pool_object,
    sort_pools,
    sort_workers,
    totals_cells,
    worker_columns,
    worker_object,
)
from fpm.cli.top_routes import RouteRow, compare_routes, route_columns, route_object, sort_routes
from fpm.cli.top_view import Rows, View
from fpm.cli.top_watch import Watched
from fpm.client.control import follow
from fpm.errors import ControlError
from fpm.stacks.text.fold import fold_entry

FIRST_WAIT = 0.5
"""Seconds between the first two samples: rates are wanted soon."""
KEYS = {
    b"\x1b[A": "up",
    b"\x1b[B": "down",
    b"\x1bOA": "up",
    b"\x1bOB": "down",
    b"\x1b[5~": "page up",
    b"\x1b[6~": "page down",
    b"\r": "enter",
    b"\n": "enter",
    b"\x7f": "backspace",
    b"\x08": "backspace",
    b"\x03": "interrupt",
    b"\x04": "interrupt",
}
FRAME = 5
"""Lines of the screen that are no rows of the table."""
ENTER_SCREEN, LEAVE_SCREEN = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
"""The alternate screen without a cursor, and back (xterm; every terminal of today knows them)."""


def print_pictures(watched: Watched, view: View, interval: float, count: int) -> None:
    """Print `count` pictures; the first one after a short wait, so that it has rates."""
    console = tables.make_console()
    watched.sample()
    for number in range(count):
        select.select([], [], [], min(interval, FIRST_WAIT) if number == 0 else interval)
        watched.sample()
        tables.show(console, [*([""] if number else []), *_picture(watched, view, console.width, None)])


def print_documents(watched: Watched, view: View, interval: float, count: int) -> None:
    """Print `count` snapshots as JSON, one a line; the first one after a short wait, so that it has rates."""
    watched.sample()
    for number in range(count):
        select.select([], [], [], min(interval, FIRST_WAIT) if number == 0 else interval)
        watched.sample()
        assert watched.now is not None
        print_page(json.dumps({"time": round(watched.now.snapshot.daemon.now, 3), **_objects(watched, view)}))


def _objects(watched: Watched, view: View) -> dict[str, Any]:
    assert watched.now is not None
    if view.urls:
        routes = compare_routes(watched.before, watched.now, None)
        return {"routes": [route_object(row) for row in sort_routes(routes, view.route_sort)]}
    pools, workers = compare(watched.before, watched.now)
    value = {"pools": [pool_object(row) for row in sort_pools(pools, view.sort)]}
    if view.workers:
        value["workers"] = [worker_object(row) for row in sort_workers(workers, view.sort)]
    return value


def run_live(watched: Watched, view: View, interval: float) -> None:
    """Draw until the user quits."""
    watched.sample()
    console = Console(highlight=False, markup=False, emoji=False)
    with _terminal() as wake:
        due = time.monotonic() + min(interval, FIRST_WAIT)
        while True:
            _draw(console, watched, view)
            ready = select.select([sys.stdin, wake], [], [], max(due - time.monotonic(), 0.0))[0]
            if wake in ready and _signalled(wake):
                return
            if sys.stdin in ready:
                typed = os.read(sys.stdin.fileno(), 64)
                if not typed or any(view.press(key, console.height - FRAME) for key in split_keys(typed)):
                    return
                _take_trace(watched, view)
                watched.base = (watched.base or watched.now) if view.is_zeroed else None
                if view.urls and not watched.routes:
                    due = 0.0
            if time.monotonic() >= due:
                watched.routes = view.urls
                watched.try_to_sample()
                due = time.monotonic() + interval


def _take_trace(watched: Watched, view: View) -> None:
    """Show the stack that is wanted, if one is."""
    target, view.trace = view.trace, ""
    if not target:
        return
    lines: list[str] = []

    def take(message: dict[str, Any]) -> None:
        if "entry" in message:
            lines.extend([*fold_entry(str(message["entry"]).strip("\n")).split("\n"), ""])

    try:
        follow(watched.path, {"command": "trace", "target": target, "format": "text"}, take)
    except ControlError as error:
        lines.append(str(error))
    view.show(lines or [f"pool {show_text(target)}: no worker is busy"])


def split_keys(typed: bytes) -> list[str]:
    """What was typed as keys; an unknown sequence is none, a lone Esc is one."""
    keys = []
    while typed:
        for code, name in KEYS.items():
            if typed.startswith(code):
                keys.append(name)
                typed = typed[len(code) :]
                break
        else:
            if typed[0] == 0x1B:
                return [*keys, "escape"] if len(typed) == 1 else keys
            keys.append(chr(typed[0]))
            typed = typed[1:]
    return keys


def _picture(watched: Watched, view: View, width: int, room: int | None) -> list[Any]:
    """All parts of a picture; at most `room` rows of the table, with the selected one marked."""
    assert watched.now is not None
    pools, workers = compare(watched.before, watched.now)
    where = f", pool {show_text(watched.pool)}" if watched.pool else ""
    routes = compare_routes(watched.before, watched.now, watched.base) if view.urls else []
    rows = view.select(pools, workers, routes)
    parts = [
        tables.one_line(Cell(head_line(watched.now.snapshot.daemon) + where, "bold")),
        tables.one_line(*_totals(watched, pools, width)),
        tables.one_line(Cell(_choice(view, len(rows)), "yellow")),
    ]
    if room is None:
        return [*parts, tables.table(_columns(view, rows), width)]
    if view.pane:
        view.scroll(len(view.pane), room)
        shown = view.pane[view.offset : view.offset + room]
        return [*parts, *(tables.one_line(Cell(show_text(line))) for line in shown)]
    view.scroll(len(rows), room)
    table = tables.table(
        _columns(view, rows[view.offset : view.offset + room]), width, marked=view.cursor - view.offset
    )
    return [*parts, table]


def _columns(view: View, rows: Rows) -> Sequence[Column]:
    if view.urls:
        routes = [row for row in rows if isinstance(row, RouteRow)]
        return route_columns(routes, with_pool=len({row.pool.name for row in routes}) > 1)
    if view.shows_workers:
        return worker_columns([row for row in rows if isinstance(row, WorkerRow)])
    return pool_columns([row for row in rows if isinstance(row, PoolRow)])


def _totals(watched: Watched, pools: Sequence[PoolRow], width: int) -> list[Cell]:
    if watched.trouble:
        return [Cell(watched.trouble, "bold red")]
    return fit_words(totals_cells(pools, os.getloadavg()), width)


def _choice(view: View, count: int) -> str:
    """Say which rows these are, if not all."""
    parts = [f"pool {show_text(view.pool)} (Esc: all pools)"] if view.pool else []
    if view.urls:
        parts.append("by URL, from the moment of z on" if view.is_zeroed else "by URL, since the daemon's start")
    if view.filter and not view.is_typing:
        parts.append(f"filter '{show_text(view.filter)}': {count} (Esc: all)")
    return ", ".join(parts)


def _draw(console: Console, watched: Watched, view: View) -> None:
    width, height = console.size
    parts = _picture(watched, view, width, max(height - FRAME, 1))
    drawn = [one.rstrip() for one in tables.render(console, parts)][: height - 1]
    drawn += [""] * (height - 1 - len(drawn))
    drawn += tables.render(console, [tables.one_line(*_bottom(view, width))])[:1]
    _write("\x1b[H" + "\x1b[K\r\n".join(drawn) + "\x1b[K")


def _bottom(view: View, width: int) -> list[Cell]:
    """What can be typed; then the sort keys, the one that sorts now first."""
    if view.is_typing:
        return [Cell(f"/{view.filter}_", "bold"), Cell("  Enter: keep, Esc: no filter", "dim")]
    if view.pane:
        return [Cell("any key: back, arrows scroll", "dim")]
    hints = [Cell(text, "dim") for text in ("h help", "  q quit", "  / filter", "  Enter open", "  t trace ")]
    for one in sorted(view.sort_keys, key=lambda one: one is not view.sorting):
        chosen = one is view.sorting
        arrow = ("^" if view.upside_down else "*") if chosen else ""
        hints.append(Cell(f" {one.key} {one.name}{arrow}", "bold" if chosen else "dim"))
    return fit_words(hints, width)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


@contextlib.contextmanager
def _terminal() -> Iterator[int]:
    """The terminal for ourselves, key by key; as it was before at the end. The value wakes select(2) at a signal."""
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    wake, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    former_wakeup = signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    handlers = {number: signal.signal(number, _note) for number in (signal.SIGWINCH, *ENDING)}
    try:
        tty.setcbreak(fd)
        _write(ENTER_SCREEN)
        yield wake
    finally:
        with contextlib.suppress(OSError, termios.error):  # the terminal may be gone (SIGHUP)
            _write(LEAVE_SCREEN)
            termios.tcsetattr(fd, termios.TCSADRAIN, before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(former_wakeup)
        os.close(wake)
        os.close(woken)


ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _note(number: int, frame: object) -> None:
    """The wakeup descriptor tells the loop."""


def _signalled(wake: int) -> bool:
    """Has one of the signals come that end it? The others are about the size of the terminal."""
    return any(number in ENDING for number in os.read(wake, 64))
