"""`python -m tests.hostile.look PID`: for each line of input a line that says what a Python process does now.

Its state and where it stands in the kernel (proc(5)), and its stack, read by our own tracer. It must run the same
interpreter as this program.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable

from fpm.protocol.tracing import TraceTask
from fpm.stacks.layout import Layout, parse_layout
from fpm.template.calibrator import run_child
from fpm.tracer.snapshot import look_at

CALLS = 14
"""The newest calls that are shown."""


def ask_child(work: Callable[[int], object]) -> bytes:
    """What a forked child writes to the descriptor that it is given."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reading)
            work(writing)
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as answer:
        data = answer.read()
    os.waitpid(pid, 0)
    return data


def find_layout() -> Layout:
    """How this interpreter lays out memory."""
    return parse_layout(json.loads(ask_child(run_child))["layout"])


def in_kernel(pid: int) -> str:
    """Its state, the function in which it waits, and its system call."""
    found = []
    for name in ("stat", "wchan", "syscall"):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/{name}") as file:
            text = file.read().strip()
            found.append(text.rpartition(")")[2].split()[0] if name == "stat" else text)
    return " ".join(found)


def stack(pid: int, layout: Layout) -> str:
    """The newest calls of its first thread."""
    trace = look_at(TraceTask(pid, layout=layout))
    if not trace.threads:
        return trace.error
    frames = trace.threads[0].frames[:CALLS]
    return " < ".join(f"{one.function} {os.path.basename(one.file)}:{one.line}" for one in frames)


def main() -> None:
    """Look whenever a line comes."""
    pid, layout = int(sys.argv[1]), find_layout()
    for _ in sys.stdin:
        kernel = in_kernel(pid)
        # The tracer gives up its rights when it has seen enough: each look is a process of its own.
        told = ask_child(lambda fd: os.write(fd, stack(pid, layout).encode()))
        print(f"{kernel}: {told.decode()}", flush=True)


if __name__ == "__main__":
    main()
