"""`python -m fpm.tracer.probe KIND...`: can processes be traced here? One JSON text a line: "", why not, or null.

Each argument is a JSON list `[uid, gid, interpreter, hidden]`; uid -1: the present one; hidden: it is not dumpable. A
process is made that takes these ids and executes that interpreter, as a pool's launcher does, and then a real look is
taken at it. `pyfpm test` uses it.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress

from fpm.protocol.tracing import TraceTask
from fpm.stacks.rights import needs_named_tracer
from fpm.system.prctl import PR_SET_CHILD_SUBREAPER, PR_SET_DUMPABLE, PR_SET_PTRACER, load_prctl
from fpm.tracer.absent import NOT_INSTALLED, is_absent

PATIENCE = 10.0
"""Seconds for a process to begin, and again for the look at it."""
BECOME = """
import os, sys
uid, gid, python, code, tracer, hidden = sys.argv[1:]
if int(uid) >= 0:
    os.setgroups([])
    os.setresgid(int(gid), int(gid), int(gid))
    os.setresuid(int(uid), int(uid), int(uid))
os.chdir("/")
os.execve(python, [python, "-I", "-S", "-c", code, tracer, hidden], {})
"""
WAIT = f"""
import sys
tracer, hidden = map(int, sys.argv[1:])
for option, argument in [({PR_SET_PTRACER}, tracer)] * (tracer > 0) + [({PR_SET_DUMPABLE}, 0)] * hidden:
    import ctypes
    ctypes.CDLL(None).prctl(option, ctypes.c_ulong(argument), 0, 0, 0)
print("ready", flush=True)
sys.stdin.read()
"""


def try_to_trace(uid: int, gid: int, python: str, hidden: bool) -> str | None:
    """Make such a process and trace it; "" or why that does not work, None if it cannot be made."""
    tracer = str(os.getpid() if needs_named_tracer() else 0)
    command = [sys.executable, "-I", "-S", "-c", BECOME, str(uid), str(gid), python, WAIT, tracer, str(int(hidden))]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL) as process:
        try:
            begun = process.stdout is not None and _read_within(process.stdout.fileno(), PATIENCE)
            if begun:
                return _look(process.pid)
            return None  # an interpreter that does not start: the pool has worse troubles, and says so
        finally:
            process.kill()
            _end_children()


def _end_children() -> None:
    """Kill whatever an interpreter has started: its orphans are this process's children (PR_SET_CHILD_SUBREAPER)."""
    while children := _list_children():
        for pid in children:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in children:
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _list_children() -> list[int]:
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
            return [int(pid) for pid in file.read().split()]
    except FileNotFoundError:  # a kernel without CONFIG_PROC_CHILDREN
        return []


def _look(pid: int) -> str:
    """In a child, which takes the other's ids if it must."""
    from fpm.tracer.snapshot import look_at  # late: it needs python-ptrace

    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(int(PATIENCE))
        try:
            os.write(write, look_at(TraceTask(pid, depth=1)).error.encode() + b"\n")
        finally:
            os._exit(0)
    os.close(write)
    try:
        return (_read_within(read, PATIENCE) or b"the look at it took too long").decode(errors="replace").strip()
    finally:
        os.close(read)
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _read_within(fd: int, seconds: float) -> bytes:
    """What comes within that time; b"" at end of file, or if nothing comes."""
    until = time.monotonic() + seconds
    readable = select.select([fd], [], [], max(until - time.monotonic(), 0.0))[0]
    return os.read(fd, 65536) if readable else b""


def main(arguments: list[str]) -> None:
    """One line for each argument."""
    load_prctl()(PR_SET_CHILD_SUBREAPER, 1)
    try:
        import fpm.tracer.binding  # noqa: F401  # whether python-ptrace is there
    except ModuleNotFoundError as error:
        if not is_absent(error):
            raise
        sys.stdout.write(f"{json.dumps(NOT_INSTALLED)}\n" * len(arguments))
        return
    for argument in arguments:
        sys.stdout.write(json.dumps(try_to_trace(*json.loads(argument))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
