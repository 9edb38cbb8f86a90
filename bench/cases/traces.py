"""How long a process stands still while its stack is read, beside py-spy, by its own clock and in the same run."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench.scenario import goal
from tests.support.traced import Looker, Target

BUSY = """
import signal, time
def loop():
    clock, gaps = time.monotonic_ns, []
    def end(*_):
        say(gaps)
        raise SystemExit
    signal.signal(signal.SIGTERM, end)
    say()
    last = clock()
    while True:
        now = clock()
        if now - last > 100_000:
            gaps.append((last, now))
        last = now
def call(depth):
    return call(depth - 1) if depth else loop()
call(%d)
"""
SLEEPING = """
import time
def call(depth):
    if depth:
        return call(depth - 1)
    say()
    time.sleep(3600)
call(%d)
"""
OUTER = 3
"""Frames around and above the calls: two modules, and loop() or the first call()."""
LOOKS = 300
"""With each tool."""
PAUSE = 0.01
"""Seconds between two looks."""

Window = tuple[int, int]
"""Monotonic nanoseconds: from before a look until after it."""


def trace() -> bool:
    """Stop times for 20 and 200 frames."""
    good = by_its_own_clock(LOOKS)
    return as_the_tracer_says(LOOKS) and good


def by_its_own_clock(looks: int) -> bool:
    """A busy process of 20 frames notes when its clock jumps."""
    with Looker() as looker, Target(BUSY % (20 - OUTER)) as target:
        tools: dict[str, Callable[[], object]] = {
            "nobody looks": lambda: time.sleep(0.01),
            "pyfpm": lambda: looker.trace(target, depth=100),
            "pyfpm, native": lambda: looker.trace(target, depth=100, native=True),
        }
        py_spy = shutil.which("py-spy", path=Path(sys.executable).parent) or shutil.which("py-spy")
        if py_spy is None:
            print("py-spy is not there; pip install py-spy")
        else:
            command = [py_spy, "dump", "--pid", str(target.pid)]
            tools["py-spy dump"] = lambda: subprocess.run(command, check=True, capture_output=True)
            tools["py-spy dump --native"] = lambda: subprocess.run(
                [*command, "--native"], check=True, capture_output=True
            )
        windows = {name: _look(tool, looks) for name, tool in tools.items()}
        target.process.send_signal(signal.SIGTERM)
        gaps: list[Window] = target.hear()
    print(f"\nA busy process of 20 frames, {looks} looks each: milliseconds that its clock jumped in a look\n")
    print(f"  {'':24} {'median':>8} {'p95':>8} {'p99':>8} {'most':>8} {'a look takes':>14}")
    rows = {name: sorted(_jump(window, gaps) for window in found) for name, found in windows.items()}
    for name, found in windows.items():
        print(f"  {name:24} {_figures(rows[name])} {_at(sorted(end - begin for begin, end in found), 50) / 1e6:14.1f}")
    if _at(rows["nobody looks"], 50) > 1e6:
        print("  (this machine is too busy for a verdict: the clock jumps as far when nobody looks)")
    good = goal("median at most 1 ms", _at(rows["pyfpm"], 50) <= 1e6)
    return goal("p99 at most 8 ms", _at(rows["pyfpm"], 99) <= 8e6) and good


def as_the_tracer_says(looks: int) -> bool:
    """Sleeping processes; the tracer measures from the first PTRACE_SEIZE to the last PTRACE_DETACH."""
    print(f"\nSleeping processes, {looks} looks each: milliseconds of standing still, as the tracer measures it\n")
    print(f"  {'':24} {'median':>8} {'p95':>8} {'p99':>8} {'most':>8}")
    good = True
    for frames, limit in ((20, 1e6), (200, 2e6)):
        with Looker() as looker, Target(SLEEPING % (frames - OUTER)) as target:
            traces = [looker.trace(target, depth=1000) for _ in range(looks)]
        assert {len(one.threads[0].frames) for one in traces} == {frames}
        times = sorted(int(one.stopped * 1e9) for one in traces)
        print(f"  {f'{frames} frames':24} {_figures(times)}")
        good &= goal(f"median at most {limit / 1e6:g} ms", _at(times, 50) <= limit)
    return good


def _look(tool: Callable[[], object], looks: int) -> list[Window]:
    tool()
    windows = []
    for _ in range(looks):
        time.sleep(PAUSE)
        begin = time.monotonic_ns()
        tool()
        windows.append((begin, time.monotonic_ns()))
    return windows


def _jump(window: Window, gaps: list[Window]) -> int:
    """Nanoseconds of the longest jump in a window."""
    return max((end - begin for begin, end in gaps if end > window[0] and begin < window[1]), default=0)


def _figures(values: list[int]) -> str:
    return " ".join(f"{_at(values, percent) / 1e6:8.2f}" for percent in (50, 95, 99, 100))


def _at(values: list[int], percent: int) -> int:
    return values[min(len(values) * percent // 100, len(values) - 1)]
