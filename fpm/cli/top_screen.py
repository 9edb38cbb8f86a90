"""The live screen of `pyfpm top`: takes samples, draws them, hears keys.

There is a single thread: one poll(2) waits for a key, a signal, or the time of the next sample.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psutil
from rich.console import Console

from fpm.cli import tables
from fpm.cli.columns import Cell
from fpm.cli.status_rows import head_line, show_text
from fpm.cli.top_figures import (
    BY_KEY,
    SORT_KEYS,
    CpuTimes,
    Sample,
    SortKey,
    compare,
    pool_columns,
    sort_pools,
    sort_workers,
    totals_line,
    worker_columns,
)
from fpm.client.control import fetch_snapshot
from fpm.errors import ControlError

FIRST_WAIT = 0.5
"""Seconds between the first two samples: rates are wanted soon."""
KEYS = {
    b"\x1b[A": "up",
    b"\x1b[B": "down",
    b"\x1bOA": "up",
    b"\x1bOB": "down",
    b"\x1b[5~": "page up",
    b"\x1b[6~": "page down",
}
ENTER_SCREEN, LEAVE_SCREEN = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
"""The alternate screen without a cursor, and back (xterm; every terminal of today knows them)."""


@dataclass
class View:
    """What the user has chosen."""

    sort: SortKey
    workers: bool = False
    upside_down: bool = False
    offset: int = 0
    """Rows scrolled away."""

    def press(self, key: str, page: int) -> bool:
        """Do what a key says; True: quit."""
        if key in BY_KEY:
            self.sort, self.offset = BY_KEY[key], 0
        elif key == "w":
            self.workers, self.offset = not self.workers, 0
        elif key == "o":
            self.upside_down = not self.upside_down
        elif key in ("up", "k", "page up"):
            self.offset -= page if key == "page up" else 1
        elif key in ("down", "j", "page down", " "):
            self.offset += page if key in ("page down", " ") else 1
        self.offset = max(self.offset, 0)
        return key == "q"


class Watched:
    """The daemon, sample after sample."""

    def __init__(self, path: str, pool: str | None) -> None:
        self.path = path
        self.pool = pool
        self.before: Sample | None = None
        self.now: Sample | None = None
        self.trouble = ""
        """Why the last sample failed, or ""."""

    def sample(self) -> None:
        """Take a sample.

        Raises:
            ControlError: nobody answers.
        """
        snapshot = fetch_snapshot(self.path, self.pool, workers=True)
        at = time.monotonic()
        cpu = read_cpu_times(worker.pid for pool in snapshot.pools for worker in pool.workers)
        self.before, self.now = self.now, Sample(at, snapshot, cpu)
        self.trouble = ""

    def try_to_sample(self) -> None:
        """Take a sample; a daemon that does not answer is remembered as trouble, it may come back."""
        try:
            self.sample()
        except ControlError as error:
            self.trouble = str(error)


def read_cpu_times(pids: Iterable[int]) -> CpuTimes:
    """Ask the kernel for the CPU time of processes; those that are gone are left out."""
    found = {}
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            spent = process.cpu_times()
            found[pid, process.create_time()] = spent.user + spent.system
    return found


def print_pictures(watched: Watched, view: View, interval: float, count: int) -> None:
    """Print `count` pictures; the first one after a short wait, so that it has rates."""
    console = tables.make_console()
    watched.sample()
    for number in range(count):
        select.select([], [], [], min(interval, FIRST_WAIT) if number == 0 else interval)
        watched.sample()
        tables.show(console, [*([""] if number else []), *_picture(watched, view, console.width, None)])


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
                if not typed or any(view.press(key, console.height - 5) for key in split_keys(typed)):
                    return
            if time.monotonic() >= due:
                watched.try_to_sample()
                due = time.monotonic() + interval


def split_keys(typed: bytes) -> list[str]:
    """What was typed as keys; an unknown sequence is none, the end of the input is `q`."""
    keys = []
    while typed:
        for code, name in KEYS.items():
            if typed.startswith(code):
                keys.append(name)
                typed = typed[len(code) :]
                break
        else:
            if typed[0] == 0x1B:
                break
            keys.append("q" if typed[0] in (3, 4) else chr(typed[0]))
            typed = typed[1:]
    return keys


def _picture(watched: Watched, view: View, width: int, rows_max: int | None) -> list[Any]:
    """All parts of a picture; at most `rows_max` rows of the table."""
    assert watched.now is not None
    pools, workers = compare(watched.before, watched.now)
    load = os.getloadavg()
    where = f", pool {show_text(watched.pool)}" if watched.pool else ""
    parts = [
        tables.one_line(Cell(head_line(watched.now.snapshot.daemon) + where, "bold")),
        tables.one_line(Cell(watched.trouble, "bold red") if watched.trouble else Cell(totals_line(pools, load))),
        "",
    ]
    if view.workers:
        ordered_workers = sort_workers(workers, view.sort, upside_down=view.upside_down)
        return [*parts, tables.table(worker_columns(_window(ordered_workers, view, rows_max)), width)]
    ordered = sort_pools(pools, view.sort, upside_down=view.upside_down)
    return [*parts, tables.table(pool_columns(_window(ordered, view, rows_max)), width)]


def _window(rows: Sequence[Any], view: View, rows_max: int | None) -> Sequence[Any]:
    if rows_max is None:
        return rows
    view.offset = max(min(view.offset, len(rows) - rows_max), 0)
    return rows[view.offset : view.offset + rows_max]


def _draw(console: Console, watched: Watched, view: View) -> None:
    width, height = console.size
    parts = _picture(watched, view, width, max(height - 5, 1))
    drawn = [one.rstrip() for one in tables.render(console, parts)][: height - 1]
    drawn += [""] * (height - 1 - len(drawn))
    drawn += tables.render(console, [tables.one_line(*_help(view))])[:1]
    _write("\x1b[H" + "\x1b[K\r\n".join(drawn) + "\x1b[K")


def _help(view: View) -> Iterator[Cell]:
    """The keys; the one that sorts now stands out."""
    yield Cell(f"q quit  w {'pools' if view.workers else 'workers'}  o order ", "dim")
    for one in SORT_KEYS:
        chosen = one is view.sort
        arrow = ("^" if view.upside_down else "*") if chosen else ""
        yield Cell(f" {one.key} {one.name}{arrow}", "bold" if chosen else "dim")


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
