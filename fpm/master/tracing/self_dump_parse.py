"""Stacks that processes write themselves: may a process be asked, how urgently, and what does its answer say?

Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from fpm.frozen import dataclass
from fpm.protocol.spec import BEGIN, END, NUMBERS
from fpm.stacks.credentials import GONE, Status
from fpm.stacks.text.faulthandler import DumpedThread, is_repeated, parse_dump
from fpm.stacks.trace import ThreadStack, Trace

DOING = {"R": "running", "S": "sleeping", "D": "in uninterruptible sleep"}
SLEEPS = "it is in uninterruptible sleep (state D)"
BUSY_TICKS = 5
"""Clock ticks (10 ms each) of its own that a thread of Python never takes to come to a signal."""
QUIET_LOOKS, QUIET_LOOKS_OF_MANY = 3, 7
"""Looks in a row that find it asleep, until it is believed to sleep in C. With other threads it may just wait
for the GIL, which takes some hundredths of a second."""
NUMBER = re.compile(rb"^([0-9a-f]{1,16}) (\d{1,10})$", re.MULTILINE)
"""Thread identifier and kernel's number."""


@dataclass(frozen=True, slots=True)
class Activity:
    """What the first thread of a process does at one moment (/proc/PID/task/PID/stat)."""

    state: str
    ticks: int
    """CPU time so far."""


def obstacle(status: Status | None, *, numbers: Sequence[int], ready: bool, listens: bool) -> str:
    """Say why a process must not be sent the signals; "" if it may.

    Args:
        status: what /proc says of it; None if /proc does not show it.
        numbers: the signals.
        ready: has it said that it has started?
        listens: has it said that it answers?
    """
    names = " and ".join(map(str, numbers))
    if ready and not listens:
        return f"the application has a handler of its own for signal {names}"
    if status is None:
        return "" if listens else f"it has not said that it answers signals {names}"
    bits = sum(1 << (number - 1) for number in numbers)
    if status.has_ended:
        return GONE
    if status.tracer:
        return "its signals go to its tracer"
    if status.state in ("T", "t"):
        return "it is stopped (SIGSTOP); SIGCONT lets it go on"
    if status.caught & bits != bits:
        # The default action of a real-time signal is to end the process (signal(7)).
        return f"it does not catch signals {names}"
    if status.blocked & bits:
        return SLEEPS if status.state == "D" else f"its first thread blocks signals {names}"
    return ""


def stands_in_c(looks: Sequence[Activity | None], threads: int) -> bool:
    """Decide whether a process that has not answered the polite signal stands in C, so that the forced one is harmless.

    Args:
        looks: one for each time that there was no answer; the first was when it was asked.
        threads: how many it has.
    """
    wanted = QUIET_LOOKS if threads == 1 else QUIET_LOOKS_OF_MANY
    last = looks[-wanted:]
    if looks[0] is None or last[-1] is None:
        return False
    if last[-1].ticks - looks[0].ticks >= BUSY_TICKS:
        return True
    return last.count(last[-1]) == wanted and last[-1].state in ("S", "D")


def read_self_dump(pid: int, data: bytes, status: Status | None, *, depth: int, final: bool) -> Trace | None:
    """Read the stacks out of what the process has written; None if they are not complete.

    Args:
        data: what it has written since it was asked.
        status: what /proc said of it then.
        depth: frames of each thread that are wanted; 0: all.
        final: take what is there, for there is no more time.
    """
    doing = DOING.get(status.state, "") if status is not None else ""
    before, begin, polite = data.partition(BEGIN)
    if END in polite:
        return _of_all(pid, polite.partition(END)[0], doing, depth)
    forced = before if is_repeated(before) or not begin else polite
    if not is_repeated(forced) and not (final and data):
        return None
    dumped = next((one for one in parse_dump(forced) if one.current and (one.frames or one.note)), None)
    if dumped is None:
        return None
    unfinished = "" if is_repeated(forced) else "the process had not finished writing it"
    thread = _stack(dumped, tid=pid, main=True, depth=depth, doing=doing, note=unfinished)
    others = status.threads - 1 if status is not None else 0
    note = ""
    if others > 0:
        note = "the other thread is not shown" if others == 1 else f"{others} other threads are not shown"
    return Trace(pid, "faulthandler", (thread,), note=note)


def _of_all(pid: int, data: bytes, doing: str, depth: int) -> Trace | None:
    stacks, _, numbers = data.partition(NUMBERS)
    tids = {int(ident, 16): int(tid) for ident, tid in NUMBER.findall(numbers)}
    threads = []
    for one in parse_dump(stacks):
        # The newest frame of the thread that writes is the handler's own.
        shown = replace(one, frames=one.frames[1:]) if one.current else one
        tid = pid if one.current else tids.get(one.ident, 0)
        stack = _stack(shown, tid=tid, main=one.current, depth=depth, doing=doing if one.current else "", note="")
        threads.append(stack)
    threads.sort(key=lambda thread: not thread.main)
    return Trace(pid, "faulthandler", tuple(threads)) if threads and threads[0].main else None


def _stack(dumped: DumpedThread, *, tid: int, main: bool, depth: int, doing: str, note: str) -> ThreadStack:
    frames = dumped.frames[:depth] if depth > 0 else dumped.frames
    return ThreadStack(tid, main, frames, doing, "; ".join(filter(None, [dumped.note, note])))
