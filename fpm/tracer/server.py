"""The tracer itself: takes tasks from the master, forks a child for each look, and answers; asleep without work.

It never traces anything, so no process that is looked at can hold it up: its children's time is measured.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import select
import signal
import socket
import time
from collections import deque
from dataclasses import dataclass

from fpm.protocol.tracing import TRACE_SECONDS, TraceAnswer, TracerReady, TraceTask, as_message, read_task
from fpm.protocol.wire import MESSAGE_MAX, MessageError, pack_message, unpack_message
from fpm.system.descriptors import take_descriptor
from fpm.tracer.process import ProcessState, read_state
from fpm.tracer.snapshot import STOPPED_MAX, run
from fpm.tracer.warmup import warm_up

AT_ONCE = 4
"""Looks at the same time; each takes some milliseconds, unless its process sleeps in the kernel."""
WARM_UPS = 20
"""Python's code becomes faster when it has been executed some times (PEP 659); children inherit that."""
MARGIN = 0.1
"""Seconds before the end of the time that we are given, for the answer's way."""


@dataclass(slots=True)
class _Waiting:
    task: TraceTask
    memory: int


@dataclass(slots=True)
class _Looking:
    task: TraceTask
    memory: int
    pid: int
    """Of the child."""
    begun: float
    until: float
    before: ProcessState | None
    """Of the process that is looked at."""
    overdue: bool = False


class Server:
    """Takes tasks, forks a child for each, and answers."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._poll = select.poll()
        self._poll.register(channel.fileno(), select.POLLIN)
        self._waiting: deque[_Waiting] = deque()
        self._looking: dict[int, _Looking] = {}
        """By the descriptor of the child's end (pidfd_open(2))."""

    def run(self) -> None:
        """Serve until the master is gone; children that still work die with this process."""
        for _ in range(WARM_UPS):
            warm_up()
        self._channel.send(pack_message(as_message(TracerReady())))
        while True:
            for fd, _ in self._poll.poll(self._timeout()):
                if fd in self._looking:
                    self._on_end(fd)
                elif not self._obey():
                    return
            now = time.monotonic()
            self._end_late(now)
            self._begin(now)

    def _timeout(self) -> float | None:
        """Compute the milliseconds until something is late; None: never."""
        times = [looking.until for looking in self._looking.values() if not looking.overdue]
        times += [waiting.task.until - MARGIN for waiting in self._waiting]
        return max(0.0, min(times) - time.monotonic()) * 1000 + 1 if times else None

    def _obey(self) -> bool:
        """Take one message of the master; False: there will be no more."""
        try:
            data, ancillary, _, _ = self._channel.recvmsg(MESSAGE_MAX, socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC)
        except ConnectionResetError:  # the master ended with something of ours unread
            return False
        if not data:
            return False
        message, memory = unpack_message(data), take_descriptor(ancillary)
        if memory is not None:
            try:
                self._waiting.append(_Waiting(read_task(message), memory))
            except MessageError as error:
                self._answer(TraceAnswer(int(message.get("number", 0)), 0, str(error)), memory)
        return True

    def _begin(self, now: float) -> None:
        """Fork for tasks whose turn it is; a process is traced once at a time."""
        later: deque[_Waiting] = deque()
        pids = {looking.task.pid for looking in self._looking.values()}
        while self._waiting and len(self._looking) < AT_ONCE:
            waiting = self._waiting.popleft()
            if waiting.task.pid in pids:
                later.append(waiting)
            elif self._fork(waiting, now):
                pids.add(waiting.task.pid)
        self._waiting.extendleft(reversed(later))

    def _fork(self, waiting: _Waiting, now: float) -> bool:
        task, memory = waiting.task, waiting.memory
        before = read_state(task.pid)
        gc.freeze()  # so that no collection in a child touches, and copies, our pages
        try:
            pid = os.fork()
        except OSError as error:
            self._answer(TraceAnswer(task.number, 0, f"the tracer cannot fork: {error.strerror}"), memory)
            return False
        if pid == 0:
            run(task, memory)
        fd = os.pidfd_open(pid)
        until = min(now + min(task.seconds, TRACE_SECONDS), task.until - MARGIN)
        self._looking[fd] = _Looking(task, memory, pid, now, until, before)
        self._poll.register(fd, select.POLLIN)
        return True

    def _end_late(self, now: float) -> None:
        for looking in self._looking.values():
            if now >= looking.until and not looking.overdue:
                looking.overdue = True
                with contextlib.suppress(ProcessLookupError):
                    os.kill(looking.pid, signal.SIGKILL)
                late = "it took too long to look at it"
                self._answer(TraceAnswer(looking.task.number, 0, late, now - looking.begun), -1)
        overdue = [waiting for waiting in self._waiting if now >= waiting.task.until - MARGIN]
        for waiting in overdue:
            self._waiting.remove(waiting)
            busy = f"the tracer is busy with {len(self._looking)} other processes that are slow to look at"
            self._answer(TraceAnswer(waiting.task.number, 0, busy), waiting.memory)

    def _on_end(self, fd: int) -> None:
        """Answer for a child that has ended."""
        looking = self._looking.pop(fd)
        self._poll.unregister(fd)
        os.close(fd)
        _, status, used = os.wait4(looking.pid, 0)
        seconds = used.ru_utime + used.ru_stime
        if status == 0:
            size = os.lseek(looking.memory, 0, os.SEEK_CUR)
            self._answer(TraceAnswer(looking.task.number, size, seconds=seconds), looking.memory)
            return
        _wake(looking.task.pid, looking.before)
        if looking.overdue:  # and answered
            os.close(looking.memory)
            return
        self._answer(TraceAnswer(looking.task.number, 0, _reason(status), seconds), looking.memory)

    def _answer(self, answer: TraceAnswer, memory: int) -> None:
        if memory >= 0:
            os.close(memory)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the master is gone: the next turn says so
            self._channel.send(pack_message(as_message(answer)), socket.MSG_NOSIGNAL)


def _reason(status: int) -> str:
    """Say why there is no stack, by how the child has ended (wait(2))."""
    if not os.WIFSIGNALED(status):
        return "the look at it failed; the error log says why"
    if os.WTERMSIG(status) == signal.SIGALRM:
        return f"it could not be read within {STOPPED_MAX:g} s"
    return f"the look at it failed ({signal.Signals(os.WTERMSIG(status)).name})"


def _wake(pid: int, before: ProcessState | None) -> None:
    """Let a process go on that was not stopped before a look that failed, and is now.

    The kernel never leaves one stopped that was seized (ptrace(2)), so this is a second line, as in PHP-FPM. After a
    look that succeeded whoever is stopped has been stopped by somebody else, who wants it so.
    """
    after = read_state(pid)
    if before is None or after is None or before.started != after.started:
        return
    if after.is_stopped and not before.is_stopped:
        try:
            os.kill(pid, signal.SIGCONT)
        except OSError as error:
            if error.errno not in (errno.ESRCH, errno.EPERM):
                raise
