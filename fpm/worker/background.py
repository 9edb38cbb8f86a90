"""The work after the response of one request: what fpm.finish_request() and fpm.after_response() leave to be done.

A response that was finished early, or has functions waiting behind it, is out before they run: END_REQUEST is sent, the
application's iterable is closed, the connection has been let go. The worker is in the stage FINISHED then, which is a
busy one. Where pm.background_max workers of the pool are in it already, the last piece of the response is held back
until the work is done: who sends more work than the pool has room for waits for it.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections import deque

from fpm.library import Call, RequestTimeout
from fpm.protocol.messages import Level
from fpm.protocol.spec import FD_SCOREBOARD
from fpm.scoreboard.stages import Stage
from fpm.worker.fork_guard import leave_copy
from fpm.worker.request_io import RequestIO
from fpm.worker.request_log import format_traceback
from fpm.worker.service import Service
from fpm.worker.socket_io import PeerGone
from fpm.wsgi.environ import Environ
from fpm.wsgi.response import Response
from fpm.wsgi.sink import PlainFile

_FINISHED = int(Stage.FINISHED)


class BackgroundWork:
    """The work after the response of one request.

    Attributes:
        task: the name of what is done now.
        is_finishing: finish_request() has nothing to do any more.
    """

    def __init__(self, service: Service, environ: Environ) -> None:
        self._slot = service.slot
        self._log = service.log
        self._pid = service.pid
        self._limit = service.settings.given.pm_background_max
        """0 is none."""
        self._environ = environ
        self._calls: deque[Call] = deque()
        self._held: HeldBack | None = None
        self._released = 0.0
        """When the response was complete, epoch seconds; 0.0 while it is not."""
        self.task = ""
        self.is_finishing = False

    @property
    def is_waiting(self) -> bool:
        """Functions wait to be run."""
        return bool(self._calls)

    @property
    def is_held_back(self) -> bool:
        """The last piece of the response waits for the work."""
        return self._held is not None and self._held.pending is not None

    def add(self, call: Call) -> None:
        """Have a function run after those that wait already."""
        self._calls.append(call)
        self.write_slot()

    def hold_back(self, io: RequestIO, response: Response) -> None:
        """Let the end of the response wait for the work, if it has not gone out and finds no room in the pool."""
        if self._limit and self._held is None and not response.closed:
            self._held = HeldBack(io, self)
            response.redirect(self._held)

    def send_held(self) -> None:
        """Send the last piece, which was held back, as the work is done."""
        if self._held is not None:
            self._held.let_go()

    def enter(self) -> bool:
        """Enter the stage FINISHED, if pm.background_max has room for one more; return False if it has not."""
        slot = self._slot
        # A lock of the process (fcntl(2)): it ends with it, and is held while nothing is waited for.
        fcntl.lockf(FD_SCOREBOARD, fcntl.LOCK_EX)
        try:
            may = slot.stages.tobytes().count(_FINISHED) < self._limit
            if may:
                self.begin()
        finally:
            fcntl.lockf(FD_SCOREBOARD, fcntl.LOCK_UN)
        if not may:
            slot.count_early()
        return may

    def begin(self) -> None:
        """The response is out, or all but out."""
        if not self._released:
            self._released = time.time()
        self.write_slot()
        self._slot.stages[self._slot.index] = _FINISHED

    def run(self) -> None:
        """Run all functions in their order, and those that they add."""
        self.is_finishing = True
        while self._calls:
            try:
                self._run_next()
            except BaseException as error:  # SystemExit too: it ends the function that raised it, not the worker
                if os.getpid() != self._pid:
                    leave_copy(error)
                self._complain(error)

    def _run_next(self) -> None:
        call = self._calls.popleft()
        self.task = call.name
        self.write_slot()
        call.run()

    def write_slot(self) -> None:
        """Show it in the scoreboard."""
        self._slot.background([call.name for call in self._calls], self._released, self.task)

    def clear(self) -> None:
        """Show no work any more."""
        self._slot.background([], 0.0, "")

    def _complain(self, error: BaseException) -> None:
        what = f"{self.task}(), called by fpm.after_response()"
        if isinstance(error, SystemExit):
            level: Level = "warning" if error.code else "notice"
            text = f"{what}: sys.exit({error.code!r}) has ended it, not the worker"
            self._log.write(level, self._environ, text)
            return
        self._slot.count_error()
        if isinstance(error, RequestTimeout):
            self._log.write("notice", self._environ, f"{what}: fpm.RequestTimeout was not caught and has ended it")
            return
        text = f"{what}: uncaught exception\n{format_traceback(error, _OUR_FRAMES)}"
        self._log.write("error", self._environ, text)


class HeldBack:
    """The sink of a response behind which there is work: its end may have to wait for the work.

    Attributes:
        pending: the last piece, while it waits.
    """

    def __init__(self, io: RequestIO, background: BackgroundWork) -> None:
        self._io = io
        self._background = background
        self.pending: bytes | None = None

    can_finish = False
    """The application may add work until it returns."""

    @property
    def finished(self) -> bool:
        """The last piece was given."""
        return self.pending is not None or self._io.finished

    def send(self, data: bytes, is_last: bool = False) -> None:
        """See Sink."""
        self._io.send(data, is_last)

    def find_file(self, file: object) -> PlainFile | None:
        """See Sink."""
        return self._io.find_file(file)

    def send_file(self, head: bytes, file: PlainFile, size: int) -> int:
        """See Sink."""
        return self._io.send_file(head, file, size)

    def finish(self, data: bytes) -> None:
        """See Sink."""
        if self._background.enter():
            self._io.finish(data)
        else:
            self.pending = data

    def let_go(self) -> None:
        """The work is done."""
        pending, self.pending = self.pending, None
        try:
            self._io.finish(pending or b"")
        except PeerGone:
            self._io.abandon()


_OUR_FRAMES = (BackgroundWork.run.__code__, BackgroundWork._run_next.__code__, Call.run.__code__)
