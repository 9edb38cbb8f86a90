"""All threads of a process stopped, and let go: PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH (ptrace(2)).

A seized thread never stays stopped when its tracer dies, whenever that is. Signals that arrive in the meantime are
kept and passed on. A thread that was stopped before is stopped afterwards.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import time
from types import FrameType

from fpm.tracer import binding
from fpm.tracer.binding import PTRACE_EVENT_STOP, WAIT_ALL, PtraceError
from fpm.tracer.process import read_state, read_threads

STOP_TIME = 0.5
"""Seconds in which all threads must have stopped."""
SLEEP_TIME = 0.02
"""Seconds that the others wait for threads that sleep uninterruptibly (state D)."""
LOOK_EVERY = 0.005
"""Seconds between looks at what those threads do that have not stopped yet."""
REAP_TIME = 0.05
"""Seconds for threads that are dying to be dead."""
REAP_EVERY = 0.001


class SeizeError(Exception):
    """The process could not be stopped; nothing of it is stopped now."""


class RefusedError(SeizeError):
    """The kernel says no: no right to, or somebody else traces it."""

    def __init__(self, number: int) -> None:
        super().__init__(os.strerror(number))
        self.errno = number


class GoneError(SeizeError):
    """There is no such process any more."""


class StopTimeout(SeizeError):
    """A thread did not stop in time."""


class Seizure:
    """The threads of one process. SIGCHLD must be blocked in this process, which has no children of its own."""

    def __init__(self, pid: int, *, alone: bool = False) -> None:
        """`alone`: its first thread only; the others run on."""
        self._pid = pid
        self.alone = alone
        self._seized: set[int] = set()
        """Seized and not known to be dead."""
        self._looked_at: set[int] = set()
        self.stopped: dict[int, int] = {}
        """Threads that stand still, and the signal that each was about to get (0: none)."""
        self.asleep: list[int] = []
        """Threads that sleep in the kernel and cannot be stopped before they wake; they execute nothing of their
        program before they stop, so their stack can be read too."""

    def stop(self) -> None:
        """Stop all threads, also those that come while others are being stopped.

        Raises:
            RefusedError: not allowed.
            GoneError: it has ended.
            StopTimeout: a thread that does not sleep did not stop within STOP_TIME.
        """
        end = time.monotonic() + STOP_TIME
        try:
            while True:
                threads = [self._pid] if self.alone else read_threads(self._pid)
                new = [tid for tid in threads if tid not in self._looked_at]
                if not new:
                    break
                self._looked_at.update(new)
                for tid in new:
                    self._seize(tid)
                self._wait_for({tid for tid in new if tid in self._seized}, end)
            if not self.stopped and not self.asleep:
                raise GoneError("it has ended")
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Let all threads go on, with their signals. Those asleep go on when they wake, or when this process ends."""
        self._detach()
        if self.asleep:
            signal.signal(signal.SIGCHLD, self._on_late_stop)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})

    def _detach(self) -> None:
        while self.stopped:  # the signal handler may add to them
            tid, number = self.stopped.popitem()
            try:
                binding.detach(tid, number)
                self._seized.discard(tid)
            except PtraceError as error:
                if error.errno != errno.ESRCH:
                    raise
                # It was killed in the meantime; see reap().

    def reap(self) -> None:
        """Wait for threads that were killed while they were traced; only then can their parent."""
        end = time.monotonic() + REAP_TIME
        while self._seized.difference(self.asleep) and time.monotonic() < end:
            if not self._wait_once():
                select.select([], [], [], REAP_EVERY)

    def _on_late_stop(self, number: int, frame: FrameType | None) -> None:
        """Let a thread go on that was asleep, has woken up, and has stopped as it was asked to."""
        while self._wait_once():
            pass
        self._detach()

    def _seize(self, tid: int) -> None:
        try:
            binding.seize(tid)
            self._seized.add(tid)
            binding.interrupt(tid)
        except PtraceError as error:
            if error.errno == errno.ESRCH:
                return  # it has just ended
            state = read_state(self._pid, tid)
            # A process may outlive its first thread, which is a zombie then and cannot be seized.
            if error.errno == errno.EPERM and (state is None or state.is_dead):
                return
            raise RefusedError(error.errno or errno.EPERM) from error

    def _wait_for(self, tids: set[int], end: float) -> None:
        """Wait until each of these has stopped, has ended, or sleeps."""
        patience = time.monotonic() + SLEEP_TIME
        while waiting := tids & self._seized - self.stopped.keys():
            if self._wait_once() or signal.sigtimedwait({signal.SIGCHLD}, LOOK_EVERY):
                continue
            states = {tid: read_state(self._pid, tid) for tid in waiting}
            self._seized.difference_update(tid for tid, state in states.items() if state is None)
            asleep = [tid for tid, state in states.items() if state is not None and state.state == "D"]
            now = time.monotonic()
            if now > patience and len(asleep) == len(states):
                self.asleep += asleep
                return
            if now > end:
                raise StopTimeout("a thread did not stop within half a second")

    def _wait_once(self) -> bool:
        """Learn that one thread has stopped or ended; False: there is nothing to be learnt now."""
        try:
            tid, status = os.waitpid(-1, os.WNOHANG | WAIT_ALL)
        except ChildProcessError:
            self._seized.clear()
            return False
        if tid == 0:
            return False
        if os.WIFSTOPPED(status):
            # An event is our interruption, or the process is stopped anyway. Without one it was about to get a signal.
            self.stopped[tid] = 0 if status >> 16 == PTRACE_EVENT_STOP else os.WSTOPSIG(status)
        else:
            self._seized.discard(tid)
            self.stopped.pop(tid, None)
        return True
