"""Reads the stacks of a process that is stopped for it by SIGSTOP; runs under any CPython from 3.11 on.

As a program: the layout as JSON on standard input, the process's number as argument, the stacks as JSON out.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fpm.stacks.layout import Layout, parse_layout
from fpm.stacks.reading.lines import resolve
from fpm.stacks.reading.memory import Read
from fpm.stacks.reading.walk import RawThread, ReadLimits, collect

PATIENCE = 20.0


@contextmanager
def stopped(pid: int) -> Iterator[Read]:
    """The memory of a process that does not run meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    fd = os.open(f"/proc/{pid}/mem", os.O_RDONLY)

    def read(address: int, size: int) -> bytes:
        try:
            return os.pread(fd, size, address)
        except OSError:
            return b""

    try:
        deadline = time.monotonic() + PATIENCE
        while state_of(pid) != "T":
            assert time.monotonic() < deadline, f"process {pid} does not stop"
        yield read
    finally:
        os.close(fd)
        os.kill(pid, signal.SIGCONT)


def state_of(pid: int) -> str:
    """The letter in /proc/PID/stat; every thread's, as one that has not stopped yet could still move."""
    states = set()
    for tid in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{tid}/stat") as file:
                states.add(file.read().rpartition(")")[2].split()[0])
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            return "?"
    return states.pop() if len(states) == 1 else "?"


def read_threads(pid: int, layout: Layout, limits: ReadLimits | None = None, values: str = "") -> tuple[RawThread, ...]:
    with stopped(pid) as read:
        return collect(layout, read, limits or ReadLimits(), values)


def as_lists(threads: tuple[RawThread, ...]) -> dict[int, list[list[Any]]]:
    """Frames by the kernel's thread number, as function, file, line."""
    return {
        thread.native_id: [[frame.function, frame.file, frame.line] for frame in resolve(thread)] for thread in threads
    }


if __name__ == "__main__":
    print(json.dumps(as_lists(read_threads(int(sys.argv[1]), parse_layout(json.load(sys.stdin))))))
