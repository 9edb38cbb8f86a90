"""What grows with pools and with children, and by how much: the table of docs/scaling.md. `python -m bench scaling`.

Each step begins a daemon of its own, looks at it for a few seconds, and ends it. The scoreboard of a pool of 12,800
children is made up, since so many processes do not fit on every machine.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import measure
from bench.peers import PYFPM
from bench.scenario import scratch
from bench.servers import Pyfpm, Setting, pool_text, start_master
from fpm.scoreboard.memory import Scoreboard
from fpm.scoreboard.reading import read_board
from fpm.scoreboard.snapshot import ListenQueue
from fpm.scoreboard.stages import Stage
from fpm.scoreboard.writer import SlotWriter
from fpm.status.model import build_status
from fpm.status.pages import render_status

POOLS = (10, 100, 1000, 5000)
CHILDREN = (10, 100, 1000)
SLOTS = (100, 1000, 12800)
MB = 1024 * 1024
IDLE = 3.0
"""Seconds without traffic."""
SCRAPES = 3
TURNS = 5


def scaling() -> bool:
    """Print a row for each number of pools, of children, and of slots; there is no goal to be met."""
    _table(
        "ondemand pools",
        ["ready s", "its CPU s", "PSS MB", "descriptors", "idle ms/s", "reload CPU s", "metrics s", "kB"],
    )
    for count in POOLS:
        with scratch() as directory:
            _row(count, _pools(directory, count))
    _table(
        "children of one pool",
        ["ready s", "master CPU s", "MB each", "master MB", "descriptors", "idle ms/s", "status s"],
    )
    for count in CHILDREN:
        with scratch() as directory:
            _row(count, _children(directory, count))
    _table("slots in use", ["board kB", "read ms", "full page ms", "page kB"])
    for count in SLOTS:
        _row(count, _slots(count))
    return True


def _table(first: str, columns: Sequence[str]) -> None:
    print(f"\n{first:>22}" + "".join(f"{column:>13}" for column in columns), flush=True)


def _row(count: int, figures: Sequence[float]) -> None:
    print(
        f"{count:22,}" + "".join(f"{figure:13,.3g}" if figure < 1000 else f"{figure:13,.0f}" for figure in figures),
        flush=True,
    )


def _pools(directory: Path, count: int) -> list[float]:
    """A file for each pool, as an administrator has them."""
    files = directory / "pools.d"
    files.mkdir()
    lines = ["pm = ondemand", "pm.max_children = 4"]
    for number in range(count):
        text = pool_text(f"p{number}", Setting(directory), lines)
        (files / f"p{number:05}.conf").write_text(text)
    settings = f"status_listen = {directory}/status\nstatus_listen.mode = 0600\ninclude = {files}/*.conf\n"
    before = time.monotonic()
    process, command = start_master(directory, settings, timeout=120)
    ready = time.monotonic() - before
    server = Pyfpm(PYFPM, process, directory / "p0.sock", command=command)
    try:
        figures = [ready, measure.cpu_seconds(process.pid), measure.pss_bytes(process.pid) / MB]
        figures += [_descriptors(process.pid), _idle(process.pid)]
        before = measure.cpu_seconds(process.pid)
        _timed([*command, "reload"])
        figures.append(measure.cpu_seconds(process.pid) - before)
        size, seconds = _scrape(directory / "status")
        return [*figures, seconds, size / 1024]
    finally:
        server.stop()


def _children(directory: Path, count: int) -> list[float]:
    setting = Setting(directory, count)
    lines = ["pm = static", f"pm.max_children = {count}"]
    before = time.monotonic()
    process, command = start_master(directory, pool_text("many", setting, lines), timeout=120)
    server = Pyfpm(PYFPM, process, directory / "many.sock", command=command)
    try:
        measure.wait_for(lambda: len(server.family()) >= count + 2, "all children", timeout=120)
        ready, spent = time.monotonic() - before, measure.cpu_seconds(process.pid)
        pids = server.family()
        each = sum(measure.pss_bytes(pid) for pid in pids[1:]) / count / MB
        figures = [ready, spent, each, measure.pss_bytes(process.pid) / MB, _descriptors(process.pid)]
        return [*figures, _idle(process.pid), _timed([*command, "status", "many", "--full"])]
    finally:
        server.stop()


def _slots(count: int) -> list[float]:
    board = Scoreboard.create(2 * count)
    try:
        for index in range(count):
            slot = SlotWriter(board, index, pid=1000 + index, started=time.time(), script="app:application")
            slot.begin(time.time(), "GET", f"/some/path/of/{index}", "and=its&query", 0, "")
            slot.set_stage(Stage.EXECUTING if index % 2 else Stage.ACCEPTING)
            slot.close()

        def page() -> bytes:
            reading = read_board(board.view, board.slots)
            queue = ListenQueue(0, 0)
            status = build_status(pool="www", pm="static", board=reading, queue=queue, now=time.time())
            return render_status(status, "full&json").body

        read = _best(lambda: read_board(board.view, board.slots))
        return [len(board.view) / 1024, read * 1e3, _best(page) * 1e3, len(page()) / 1024]
    finally:
        board.close()


def _best(action: Callable[[], object]) -> float:
    """CPU seconds of the quickest of a few turns."""
    found = []
    for _ in range(TURNS):
        before = time.thread_time()
        action()
        found.append(time.thread_time() - before)
    return min(found)


def _descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def _idle(pid: int) -> float:
    """Milliseconds of CPU time a second."""
    before = measure.cpu_seconds(pid)
    time.sleep(IDLE)
    return (measure.cpu_seconds(pid) - before) / IDLE * 1e3


def _timed(command: Sequence[str]) -> float:
    before = time.monotonic()
    subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True, timeout=120)
    return time.monotonic() - before


def _scrape(path: Path) -> tuple[int, float]:
    """Bytes of the metrics of all pools, and the seconds of a scrape; the first one starts the status process."""
    found = []
    for _ in range(SCRAPES):
        before = time.monotonic()
        command = [
            "curl",
            "--silent",
            "--fail",
            "--max-time",
            "60",
            "--retry",
            "9",
            "--unix-socket",
            str(path),
            "http://localhost/metrics",
        ]
        size = len(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)
        found.append((size, time.monotonic() - before))
        time.sleep(1.0)
    return found[0][0], min(seconds for _, seconds in found)
