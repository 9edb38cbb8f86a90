"""The work after the response: fpm.finish_request() and fpm.after_response() on the worker's side.

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
from collections.abc import Iterable

from fpm.library import Call, RequestTimeout, current
from fpm.protocol.messages import Level
from fpm.protocol.spec import FD_SCOREBOARD
from fpm.scoreboard.stages import Stage
from fpm.scoreboard.writer import SlotWriter
from fpm.worker.accounting import Accounting, RequestLog, Turn, format_traceback
from fpm.worker.fork_guard import leave_copy
from fpm.worker.request_io import Exchange
from fpm.worker.socket_io import PeerGone
from fpm.wsgi.response import Response

_FINISHED = int(Stage.FINISHED)


class Background:
    """The work after the response of one worker; see fpm.library.Host.

    Args:
        limit: pm.background_max; 0 is none.
    """

    def __init__(self, slot: SlotWriter, accounting: Accounting, log: RequestLog, limit: int) -> None:
        self._slot = slot
        self._accounting = accounting
        self._log = log
        self._limit = limit
        self._pid = os.getpid()
        self._calls: deque[Call] = deque()
        self._held: HeldBack | None = None
        self._released = 0.0
        """When the response was complete, epoch seconds; 0.0 while it is not."""
        self._task = ""
        self._asked = False
        """finish_request() has nothing to do any more."""
        self.turn: Turn | None = None
        """The request that is being served."""

    def set_limit(self, limit: int) -> None:
        """pm.background_max has changed; it counts from the next request on."""
        self._limit = limit

    # ---------------------------------------------------------------- what the application asks for

    def finish_early(self, iterable: Iterable[bytes] | None, task: str) -> bool:
        """See Host. A client that has gone away is no reason to end the application's work."""
        if self._asked:
            return False
        turn = self._turn
        exchange, environ, response, *_ = turn
        if not response.closed:
            self._hold_back(exchange, response)
        try:
            # In a close() the response may be complete already: then only the release is left to do.
            if not response.finish_early(iterable) and not (response.finished or response.short):
                return False  # another thread is just sending it
        except PeerGone:
            response.closed = True
            exchange.abandon()
        self._asked = response.unusual = True
        self._task = task
        if self._held is not None and self._held.pending is not None:
            self._write_slot()
            return True
        if not response.finished:
            exchange.break_off()
            text = "finish_request() was called before all of the Content-Length was there; the connection was cut off"
            self._log.write("warning", environ, text)
        self._release(turn)
        self._accounting.close(turn, done=False)
        return True

    def call_after(self, call: Call) -> None:
        """See Host."""
        exchange, _, response, *_ = self._turn
        response.unusual = True
        self._calls.append(call)
        self._write_slot()
        if not response.closed:
            self._hold_back(exchange, response)

    def _hold_back(self, exchange: Exchange, response: Response) -> None:
        if self._limit and self._held is None:
            self._held = HeldBack(exchange, self)
            response.redirect(self._held)

    def enter(self) -> bool:
        """Be one of the workers that are busy after their response, if there may be one more."""
        slot = self._slot
        # A lock of the process (fcntl(2)): it ends with it, and is held while nothing is waited for.
        fcntl.lockf(FD_SCOREBOARD, fcntl.LOCK_EX)
        try:
            may = slot.stages.tobytes().count(_FINISHED) < self._limit
            if may:
                self._begin()
        finally:
            fcntl.lockf(FD_SCOREBOARD, fcntl.LOCK_UN)
        if not may:
            slot.count_early()
        return may

    def _begin(self) -> None:
        """The response is out, or all but out."""
        if not self._released:
            self._released = time.time()
        self._write_slot()
        self._slot.stages[self._slot.index] = _FINISHED

    def _release(self, turn: Turn) -> None:
        """The response is out and the application goes on: the connection, the log and the others need not wait."""
        self._begin()
        turn[0].release()

    # ---------------------------------------------------------------- at the end of the request

    @property
    def _turn(self) -> Turn:
        assert self.turn is not None, "where there is work, there is a request"
        return self.turn

    @property
    def is_waiting(self) -> bool:
        """Functions wait to be run."""
        return bool(self._calls)

    def run_held(self) -> None:
        """If the last piece is held back: run the functions, then send it."""
        held = self._held
        if held is None or held.pending is None:
            return
        self.run()
        held.let_go()

    def run_released(self) -> None:
        """Run the functions after the response, which is let go of here if the application has not done so."""
        turn = self._turn
        if not turn[0].released:
            self._release(turn)
        self.run()
        self._accounting.close_work(turn)

    def run(self) -> None:
        """All functions in their order, and those that they add."""
        current.request = self._turn[2]
        self._asked = True
        try:
            while self._calls:
                try:
                    self._run_next()
                except BaseException as error:  # SystemExit too: it ends the function that raised it, not the worker
                    if os.getpid() != self._pid:
                        leave_copy(error)
                    self._complain(error)
        finally:
            current.request = None

    def _run_next(self) -> None:
        call = self._calls.popleft()
        self._task = call.name
        self._write_slot()
        call.run()

    def end(self) -> None:
        """The request is over."""
        self._held, self._released, self._task, self._asked, self.turn = None, 0.0, "", False, None
        self._write_slot()

    def _write_slot(self) -> None:
        self._slot.background([call.name for call in self._calls], self._released, self._task)

    def _complain(self, error: BaseException) -> None:
        environ, what = self._turn[1], f"{self._task}(), called by fpm.after_response()"
        if isinstance(error, SystemExit):
            level: Level = "warning" if error.code else "notice"
            self._log.write(level, environ, f"{what}: sys.exit({error.code!r}) has ended it, not the worker")
            return
        self._slot.count_error()
        if isinstance(error, RequestTimeout):
            self._log.write("notice", environ, f"{what}: fpm.RequestTimeout was not caught and has ended it")
            return
        self._log.write("error", environ, f"{what}: uncaught exception\n{format_traceback(error, _OUR_FRAMES)}")


class HeldBack:
    """The sink of a response behind which there is work: its end may have to wait for the work.

    Attributes:
        pending: the last piece, while it waits.
    """

    def __init__(self, exchange: Exchange, background: Background) -> None:
        self._exchange = exchange
        self._background = background
        self.pending: bytes | None = None

    @property
    def finished(self) -> bool:
        """The last piece was given."""
        return self.pending is not None or self._exchange.finished

    def send(self, data: bytes) -> None:
        """See Sink."""
        self._exchange.send(data)

    def finish(self, data: bytes) -> None:
        """See Sink."""
        if self._background.enter():
            self._exchange.finish(data)
        else:
            self.pending = data

    def let_go(self) -> None:
        """The work is done."""
        pending, self.pending = self.pending, None
        try:
            self._exchange.finish(pending or b"")
        except PeerGone:
            self._exchange.abandon()


_OUR_FRAMES = (Background.run.__code__, Background._run_next.__code__, Call.run.__code__)
