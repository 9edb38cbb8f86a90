"""One look at one process: what a short-lived child of the tracer does, so that nothing it meets outlives it.

The order matters. What needs rights or time comes before the process is stopped; while it is stopped there is only
what must be; names and lines are made out of it when it runs again. Should this process be killed at any moment, the
kernel lets the other one go on.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import signal
import time
import traceback
from dataclasses import dataclass, replace
from typing import NoReturn

from fpm.protocol.tracing import DEPTH_MAX, THREADS_MAX, TraceTask, pack_trace
from fpm.stacks.credentials import GONE, STRANGER, is_owned_by
from fpm.stacks.reading.lines import resolve
from fpm.stacks.reading.walk import RawThread, ReadLimits, collect
from fpm.stacks.rights import explain, helper_ids, read_status
from fpm.stacks.trace import ThreadStack, Trace
from fpm.tracer.binding import SYSCALL_NAMES, PtraceError, die_with_parent, interrupt, read_registers
from fpm.tracer.descriptors import Descriptors
from fpm.tracer.native import NativeFrames
from fpm.tracer.process import ProcessMemory, read_state, read_threads, read_wait_channel
from fpm.tracer.seize import GoneError, RefusedError, Seizure, StopTimeout
from fpm.tracer.syscall_text import Context, describe
from fpm.tracer.urgency import urgent
from fpm.tracer.warmup import warm_up

NOBODY = 65534
"""The kernel's overflow id (proc(5)): what a stranger's memory is read as."""
STOPPED_MAX = 0.5
"""Seconds that a process is kept stopped, after which the kernel ends us and lets it go on (SIGALRM)."""
BACKGROUND = 10
"""Niceness while native frames are made out, nice(2)."""
UNWIND_TIME = 1.0
"""Seconds for native frames, after the process goes on."""
LINKS_MAX = 64
"""Threads whose descriptors are looked up."""
THREADS_ALL = 512
"""Threads up to which all of a process are looked at; of a larger one only the first, which serves the request."""


@dataclass(slots=True)
class Seen:
    """What was read while the process stood still."""

    descriptors: Descriptors
    threads: tuple[RawThread, ...] = ()
    doing: dict[int, str] | None = None
    """By thread."""
    idents: dict[int, int] | None = None
    """pthread_self() of each thread, where the processor tells it, and its id: right in a pid namespace too."""
    native: NativeFrames | None = None
    stopped: float = 0.0
    left_out: int = 0
    """Threads that were not looked at."""


def run(task: TraceTask, memory: int) -> NoReturn:
    """Run in the child: take the stack, write the trace into the memfd, and end with 0 if it stands there."""
    code = 1
    try:
        _prepare()
        data = pack_trace(look_at(task))
        with open(memory, "wb", buffering=0, closefd=False) as file:
            code = 0 if file.write(data) == len(data) else 1
    except BaseException:  # whatever it is, this process ends here and the tracer says so
        traceback.print_exc(limit=-4)
    finally:
        os._exit(code)


def _prepare() -> None:
    gc.disable()
    die_with_parent(signal.SIGKILL)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    _warm_up()


def _warm_up() -> None:
    """Do once, for nothing, what will be done while a process is stopped (see fpm.tracer.warmup)."""
    me = os.getpid()
    warm_up()
    read_state(me, me)
    for refused in (interrupt, read_registers):
        with contextlib.suppress(PtraceError):
            refused(me)
    with contextlib.suppress(GoneError):
        Seizure(0).stop()
    signal.sigtimedwait({signal.SIGCHLD}, 0)


def look_at(task: TraceTask) -> Trace:
    """Take the stack of a process, or say why there is none."""
    pid = task.pid
    state = read_state(pid)
    if state is None or state.is_dead or task.started not in (0, state.started):
        return Trace(pid, "", error=GONE)
    if is_stranger(task):
        return Trace(pid, "", error=STRANGER)
    ids = helper_ids(pid)
    if ids is not None:
        with contextlib.suppress(OSError):  # then attaching is refused, and why is told
            _become(*ids)
    memory = ProcessMemory(pid)
    threads = len(read_threads(pid))
    seizure = Seizure(pid, alone=threads > THREADS_ALL)
    try:
        seen = _look(task, seizure, memory, state.started, threads)
    except GoneError:
        return Trace(pid, "", error=GONE)
    except RefusedError as error:
        return Trace(pid, "", error=STRANGER if is_stranger(task) else explain(pid, error.errno))
    except StopTimeout:
        return Trace(pid, "", error=explain(pid, errno.ETIMEDOUT))
    seizure.reap()
    if task.native:
        os.nice(BACKGROUND)  # it takes milliseconds, for which the process that was looked at may need the processor
    memory.begin(UNWIND_TIME)
    return _tell(task, seen)


def is_stranger(task: TraceTask) -> bool:
    """Tell whether the process has become another user's, by a setuid program."""
    status = read_status(task.pid) if task.ids is not None else None
    return status is not None and task.ids is not None and not is_owned_by(status, (task.ids[0], task.ids[1]))


def _look(task: TraceTask, seizure: Seizure, memory: ProcessMemory, started: int, threads: int) -> Seen:
    """Stop the process, read its memory, and let it go on.

    Raises:
        SeizeError: it could not be stopped.
    """
    depth = min(task.depth, DEPTH_MAX) if task.depth > 0 else DEPTH_MAX
    limits = ReadLimits(THREADS_MAX, depth, first_alone=seizure.alone)
    seen = Seen(Descriptors(task.pid), left_out=threads - 1 if seizure.alone else 0)
    if task.native:
        memory.begin()
        seen.native = NativeFrames(task.pid, memory.read)
        seen.native.prepare()
    with urgent(threads):
        begin = time.monotonic()
        try:
            seizure.stop()
            signal.setitimer(signal.ITIMER_REAL, STOPPED_MAX)
            now = read_state(task.pid)
            if now is None or now.started != started:
                raise GoneError
            if is_stranger(task):  # it may have executed another program until it stopped
                raise RefusedError(errno.EPERM)
            memory.begin()
            _look_at_threads(task.pid, seizure, memory, seen)
            _give_up_rights()
            if task.layout is not None:
                seen.threads = collect(task.layout, memory.read, limits, task.values)
        finally:
            seizure.release()
            seen.stopped = time.monotonic() - begin
            signal.setitimer(signal.ITIMER_REAL, 0)
    return seen


def _look_at_threads(pid: int, seizure: Seizure, memory: ProcessMemory, seen: Seen) -> None:
    """Find out what each thread does, which needs rights."""
    doing: dict[int, str] = {}
    seen.doing, seen.idents = doing, {}
    descriptors = seen.descriptors
    named = Context(SYSCALL_NAMES, memory.read, descriptors.link, descriptors.watched)
    unnamed = Context(SYSCALL_NAMES, memory.read, lambda fd: "")
    for tid in seizure.asleep:
        channel = read_wait_channel(pid, tid)
        doing[tid] = "in uninterruptible sleep" + (f" (wchan {channel})" if channel else "")
    for looks, tid in enumerate(sorted(seizure.stopped, key=lambda tid: tid != pid)):
        try:
            registers = read_registers(tid)
        except PtraceError:
            continue  # killed in this moment
        doing[tid] = describe(registers, named if looks < LINKS_MAX else unnamed)
        if seen.native is not None:
            seen.native.keep(tid, registers)
        if "fs_base" in registers:
            seen.idents[registers["fs_base"]] = tid
    descriptors.keep_tables(doing)


def _tell(task: TraceTask, seen: Seen) -> Trace:
    """Make the trace of what was read."""
    doing, idents = seen.descriptors.complete(seen.doing or {}), seen.idents or {}
    notes = [thread.note for thread in seen.threads if not thread.ident and thread.note]
    if seen.left_out:
        notes.append(f"{seen.left_out} other threads are not shown: it has more than {THREADS_ALL}")
    stacks = []
    for thread in reversed(seen.threads):
        tid = idents.get(thread.ident, thread.native_id)
        if thread.frames or (thread.ident and thread.note):
            stacks.append(ThreadStack(tid, tid == task.pid, resolve(thread), doing.get(tid, ""), thread.note))
    if task.layout is None:
        stacks = [ThreadStack(tid, tid == task.pid, (), what) for tid, what in doing.items()]
    if seen.native is not None:
        stacks = [_with_native(stack, seen.native) for stack in stacks]
    stacks.sort(key=lambda stack: not stack.main)
    error = ""
    if task.layout is not None and not any(stack.frames for stack in stacks):
        clauses = notes + [stack.note for stack in stacks if stack.note]
        error = "no Python frames can be read in it: " + ("; ".join(clauses[:2]) or "it executes none at the moment")
    return Trace(task.pid, "ptrace", tuple(stacks), error, "; ".join(notes), seen.stopped)


def _with_native(stack: ThreadStack, native: NativeFrames) -> ThreadStack:
    frames, note = native.merge(stack.tid, stack.frames, whole=not stack.note)
    return replace(stack, frames=frames, note="; ".join(filter(None, (stack.note, note))))


def _become(uid: int, gid: int) -> None:
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    die_with_parent(signal.SIGKILL)  # other ids undo it


def _give_up_rights() -> None:
    """What a hostile process has in its memory is read without them: the stopped threads stay ours all the same."""
    if os.geteuid() == 0:
        with contextlib.suppress(OSError):  # in a user namespace that has no such user
            _become(NOBODY, NOBODY)
