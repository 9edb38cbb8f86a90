"""What a process tells of itself where it cannot be traced: may it be asked, and what its answer says."""

from __future__ import annotations

from fpm.stack.dump_text import is_complete
from fpm.stack.dump_text import parse_dump
from fpm.stack.trace import ThreadStack
from fpm.stack.trace import Trace
from fpm.tracer.credentials import Status

DOING = {"R": "running", "S": "sleeping", "D": "in uninterruptible sleep"}
GONE = "the process has exited"
SLEEPS = "it is in uninterruptible sleep (state D)"


def obstacle(status: Status | None, *, number: int, ready: bool, listens: bool) -> str:
    """Why a process must not be sent the signal; "" if it may.

    Args:
        status: what /proc says of it; None if /proc does not show it.
        number: the signal.
        ready: has it said that it has started?
        listens: has it said that it answers?
    """
    if ready and not listens:
        return f"the application has a handler of its own for signal {number}"
    if status is None:
        return "" if listens else f"it has not said that it answers signal {number}"
    bit = 1 << (number - 1)
    if status.has_ended:
        return GONE
    if status.tracer:
        return "its signals go to its tracer"
    if status.state in ("T", "t"):
        return "it is stopped (SIGSTOP); SIGCONT lets it go on"
    if not status.caught & bit:
        # The default action of a real-time signal is to end the process (signal(7)).
        return f"it does not catch signal {number}"
    if status.blocked & bit:
        if status.state == "D":
            return SLEEPS
        return f"its first thread blocks signal {number}"
    return ""


def read_account(pid: int, data: bytes, status: Status | None, *, depth: int, final: bool) -> Trace | None:
    """The stack out of what the process has written after two signals; None if it is not complete.

    Args:
        data: what it has written.
        status: what /proc said of it when it was asked.
        depth: frames that are wanted; 0: all.
        final: take what is there, for there is no more time.
    """
    if not is_complete(data) and not (final and data):
        return None
    dumped = parse_dump(data)
    if not dumped or (not dumped[0].frames and not dumped[0].note):
        return None
    first = dumped[0]
    frames = first.frames[:depth] if depth > 0 else first.frames
    notes = [first.note] if first.note else []
    if not is_complete(data):
        notes.append("the process had not finished writing it")
    doing = DOING.get(status.state, "") if status is not None else ""
    thread = ThreadStack(pid, main=True, frames=frames, doing=doing, note="; ".join(notes))
    others = status.threads - 1 if status is not None else 0
    note = ""
    if others > 0:
        note = "the other thread is not shown" if others == 1 else f"{others} other threads are not shown"
    return Trace(pid, "faulthandler", (thread,), note=note)
