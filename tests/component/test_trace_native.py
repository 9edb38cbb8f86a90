"""C functions among Python's frames, in processes that call through both."""

from __future__ import annotations

import os
import sys

import pytest

from fpm.stacks.trace import ThreadStack, Trace
from tests.support.interpreter import interpreters
from tests.support.traced import Looker, Target
from tests.support.waiting import wait_until

SORT = """
import ctypes, time
libc = ctypes.CDLL(None)
compare_type = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
def compare(a, b):
    inner(3)
    return 0
def inner(n):
    if n:
        return inner(n - 1)
    list(map(leaf, [1]))
def leaf(_):
    say()
    time.sleep(600)
def main():
    array = (ctypes.c_int * 3)(3, 2, 1)
    libc.qsort(array, 3, 4, compare_type(compare))
main()
"""
PYTHON = ["leaf", "inner", "inner", "inner", "inner", "compare", "main", "<module>", "<module>"]
THREADS = """
import ctypes, threading
libc = ctypes.CDLL(None)
def sleeper():
    libc.sleep(600)
for _ in range(3):
    threading.Thread(target=sleeper, daemon=True).start()
say()
threading.Event().wait()
"""

pytestmark = pytest.mark.skipif(
    os.uname().machine not in ("x86_64", "aarch64"), reason="native frames are found on x86-64 and aarch64"
)


def python_frames(trace: Trace) -> list[str]:
    return [frame.function for frame in trace.threads[0].frames if not frame.native]


@pytest.mark.parametrize("python", interpreters())
def test_a_c_function_that_calls_python_stands_between(python: str) -> None:
    with Looker() as looker, Target(SORT, python=python) as target:
        wait_until(lambda: target.state == "S")  # it may still be in say()
        plain = looker.trace(target)
        trace = looker.trace(target, native=True)
        shallow = looker.trace(target, native=True, depth=7)
    assert python_frames(plain) == python_frames(trace) == PYTHON
    frames = trace.threads[0].frames
    names = [frame.function for frame in frames]
    (qsort,) = [index for index, frame in enumerate(frames) if frame.function.startswith("qsort")]
    assert frames[qsort].native
    assert "libc" in frames[qsort].file
    assert frames[qsort].address
    before = [name for name, frame in zip(names[:qsort], frames[:qsort], strict=True) if not frame.native]
    assert before[-1] == "compare"
    # What runs at this moment is shown, the interpreter's own functions further out are not.
    assert frames[0].native
    assert "sleep" in frames[0].function
    assert not {"_PyEval_EvalFrameDefault", "_PyFunction_Vectorcall", "Py_RunMain", "_start"} & set(names)
    assert "ffi_call" in names
    assert trace.threads[0].note == ""
    assert [f.function for f in shallow.threads[0].frames if not f.native] == PYTHON[:7]
    assert any(frame.function.startswith("qsort") for frame in shallow.threads[0].frames)
    assert 0 < trace.stopped < 30


def test_threads_in_c() -> None:
    with Looker() as looker, Target(THREADS, python=sys.executable) as target:
        wait_until(lambda: all(map(sleeps, others_of(looker, target))), message="they do not sleep")
        for thread in others_of(looker, target):
            assert sleeps(thread)
            assert all(frame.native for frame in thread.frames[: names_of(thread).index("sleeper")])


def others_of(looker: Looker, target: Target) -> tuple[ThreadStack, ...]:
    """The threads beside the first."""
    trace = looker.trace(target, native=True)
    assert len(trace.threads) == 4
    return trace.threads[1:]


def names_of(thread: ThreadStack) -> list[str]:
    return [frame.function for frame in thread.frames]


def sleeps(thread: ThreadStack) -> bool:
    """Whether it has come to where it stays; it may have begun only."""
    names = names_of(thread)
    return "sleeper" in names and "sleep" in names[: names.index("sleeper")]
