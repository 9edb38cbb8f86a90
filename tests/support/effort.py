"""What code costs, told by what no machine's speed changes: its steps, its calls, and how both grow."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import FrameType

QUICK = 0.05
"""Seconds of CPU time below which it does not matter how something grows."""


def count_steps(action: Callable[[], object]) -> int:
    """Count the instructions of the interpreter that it takes; it is done twice."""
    steps = 0

    def trace(frame: FrameType, event: str, _: object) -> Callable[..., object]:
        nonlocal steps
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        steps += event == "opcode"
        return trace

    former = sys.gettrace()
    sys._getframe().f_trace_opcodes = True  # from Python 3.12 on, what comes later is too late for it
    for _ in range(2):  # Python 3.13 counts nothing in the first turn
        steps = 0
        sys.settrace(trace)
        try:
            action()
        finally:
            sys.settrace(former)
    return steps


def count_calls(action: Callable[[], object]) -> int:
    """Count the calls of functions, of those in C as well."""
    calls = 0

    def profile(_: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    former = sys.getprofile()
    sys.setprofile(profile)
    try:
        action()
    finally:
        sys.setprofile(former)
    return calls


def grows_in_proportion(action: Callable[[int], object], small: int, large: int) -> bool:
    """Does it take about as many times as long as there is more to do, and not the square of that?

    Args:
        action: gets the size.
    """
    return _time(action, large) < max(QUICK, 4 * large / small * _time(action, small))


def _time(action: Callable[[int], object], size: int) -> float:
    """CPU seconds of the quickest of three turns."""
    found = []
    for _ in range(3):
        began = time.thread_time()
        action(size)
        found.append(time.thread_time() - began)
    return min(found)
