"""fpm.RequestTimeout: raised in a request that is over its limit, on a signal of the master.

A request is interrupted only where the application's own code runs, or waits for us to read or to send: our other code
must not be left half-way, and is done in no time, so that the next signal finds the application. The signals are for
one request, whose number the master has written beside the slot before it sends them, so that one that comes late hits
no other, and the first that raises takes the number away.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import CodeType, FrameType

from fpm.library import Call, RequestTimeout, current
from fpm.protocol.spec import INTERRUPT_SIGNAL
from fpm.scoreboard.writer import SlotWriter
from fpm.worker import socket_io
from fpm.worker.request import Request
from fpm.wsgi.response import Response
from fpm.wsgi.run import run_application

_OUTERMOST: tuple[CodeType, ...] = (run_application.__code__, Call.run.__code__)
"""Whoever calls these takes whatever they raise."""
_HARMLESS = (*_OUTERMOST, Response.send_result.__code__, Response._send_pieces.__code__)
"""Ours, and nothing is left half-way there; who waits in them waits for the application, which may be all C."""
_LIBRARY = os.path.join(os.path.dirname(os.__file__), "")
_PACKAGES = ("site-packages", "dist-packages")


class Interrupt:
    """Raises it in the request that the master has named.

    Args:
        callers: code of ours from which the compiled hot path calls the application, so that nothing stands between.
        is_calling: tells whether it has called it and it has not returned; only then is it the application that runs.
    """

    def __init__(
        self,
        slot: SlotWriter,
        callers: tuple[CodeType, ...] = (),
        is_calling: Callable[[], bool] = lambda: False,
    ) -> None:
        self._slot = slot
        self._is_calling = is_calling
        self._harmless = (*_HARMLESS, *callers)

    def install(self) -> None:
        """Take the signal from now on; the handler costs nothing as long as it does not come."""
        signal.signal(INTERRUPT_SIGNAL, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        request = current.request
        if current.is_copy or request is None:
            return
        if not self._slot.is_interrupt_wanted() or not self._is_within(frame):
            return
        ours = self._our_innermost(frame)
        if ours is None:
            self._slot.take_interrupt()
            raise RequestTimeout("the request has taken longer than it may")
        if ours is socket_io.wait.__code__ and isinstance(request, Request):
            # What the peer has not taken stays half a record: nothing may follow it.
            request.io.broken = request.io.broken or _is_sending(frame)
            self._slot.take_interrupt()
            raise RequestTimeout("the request has taken longer than it may, and the web server was waited for")
        # Soon the application's code goes on, or the request has ended; the master sends the signal again.

    def _is_within(self, frame: FrameType | None) -> bool:
        if self._is_calling():
            return True
        while frame is not None:
            if frame.f_code in _OUTERMOST:
                return True
            frame = frame.f_back
        return False

    def _our_innermost(self, frame: FrameType | None) -> CodeType | None:
        """The code of ours that runs, itself or in the standard library; None if it is the application's that does."""
        while frame is not None:
            name = frame.f_globals.get("__name__", "")
            if isinstance(name, str) and (name == "fpm" or name.startswith("fpm.")):
                return None if frame.f_code in self._harmless else frame.f_code
            if not _is_library(frame.f_code.co_filename):
                return None
            frame = frame.f_back
        return None


def _is_sending(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code is socket_io.wait_for_room.__code__:
            return True
        frame = frame.f_back
    return False


def _is_library(file: str) -> bool:
    if file.startswith("<frozen "):
        return True
    return file.startswith(_LIBRARY) and not any(part in file for part in _PACKAGES)
