"""What the master does for the past of its pools: the status process keeps it, also where nothing else needs one."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from fpm.events.master import HistoryFileFailed
from fpm.frozen import dataclass
from fpm.master.loop.loop import NamedTimers, Timer
from fpm.master.services import Services
from fpm.paths.files import open_to_keep
from fpm.protocol.status import HistoryTaken, HistoryWanted, KeepHistory, SaveHistory, as_message
from fpm.system.descriptors import close_all

BEGIN_AFTER = 5.0
"""Seconds from the master's being ready to the start of a status process for the history alone."""

PATIENCE = 2.0
"""Seconds to wait for an answer."""
QUESTIONS_MAX = 8
"""Questions at once; for more there is no past."""

Done = Callable[[int | None], None]
Send = Callable[[dict[str, Any], list[int] | None], bool]
"""Sends a message with descriptors to the status process; says whether that went."""


def history_path(control: str) -> str:
    """Return the path of the file that keeps the past, beside the control socket; there may be several daemons."""
    return f"{control.removesuffix('.sock')}.history"


@dataclass(frozen=True, slots=True)
class Question:
    """A question that is not answered yet."""

    fd: int
    """Ours, in which the process writes: no descriptor of its own is ever touched here."""
    done: Done
    timer: Timer


class HistoryKeeper:
    """Decides whether there is to be a history, and asks for what is in it.

    What the process writes is passed on without a look at it.
    """

    def __init__(self, services: Services, send: Send) -> None:
        self._services = services
        self._send = send
        self._timers = NamedTimers(services.loop)
        self._is_settled = False
        """The master has been ready for some time."""
        self._is_told = self._is_heard = self._has_complained = False
        self._number = 0
        self._asked: dict[int, Question] = {}

    @property
    def is_wanted(self) -> bool:
        """Return whether there must be a status process for it now."""
        return self._is_settled and self._services.settings.status_history

    @property
    def is_outdated(self) -> bool:
        """Return whether the process that runs does something else than the configuration says."""
        return self._is_told != self._services.settings.status_history

    @property
    def is_kept(self) -> bool:
        """Return whether the process that runs has a past to save."""
        return self._is_told and self._is_heard

    @property
    def is_saving(self) -> bool:
        """Return whether it has been asked to save, and has not answered."""
        return "save" in self._timers

    def master_ready(self, start: Callable[[], None]) -> None:
        """Let the status process be started, but not at once: a daemon that ends soon need not pay for it."""

        def settle() -> None:
            self._is_settled = True
            start()

        self._timers.set("begin", BEGIN_AFTER, settle)

    def begin(self) -> None:
        """Tell a new status process."""
        self._is_told, self._is_heard = self._services.settings.status_history, False
        if not self._is_told:
            return
        path = history_path(self._services.settings.control)
        fds = []
        try:
            fds.append(open_to_keep(path))
        except OSError as error:
            if not self._has_complained:
                self._services.emit(HistoryFileFailed(path, str(error.strerror or error)))
            self._has_complained = True
        try:
            self._send(as_message(KeepHistory(path)), fds)
        finally:
            close_all(fds)

    def save(self, patience: float, give_up: Callable[[], None]) -> None:
        """Have everything saved; `give_up` is called if that takes more than so many seconds."""
        if self.is_kept and self._send(as_message(SaveHistory()), None):
            self._timers.set("save", patience, give_up)

    def saved(self) -> None:
        """Note that this is done."""
        self._timers.cancel("save")

    def close(self) -> None:
        """Begin nothing any more."""
        self.forget()
        self._timers.cancel_all()

    # ---------------------------------------------------------------- what is asked

    def ask(self, pool: str | None, done: Done, *, points: bool) -> None:
        """Ask for the past of a pool, or of all.

        Args:
            done: called once, with a descriptor that it must not close, or None: the past is not known.
            points: the points of the history, too.
        """
        if not self._is_heard or len(self._asked) >= QUESTIONS_MAX:
            done(None)  # one that still begins would be waited for
            return
        try:
            fd = os.memfd_create("pyfpm-history", os.MFD_CLOEXEC)
        except OSError:
            done(None)
            return
        self._number = number = self._number + 1
        timer = self._services.loop.call_later(PATIENCE, lambda: self._end(number, is_known=False))
        self._asked[number] = Question(fd, done, timer)
        if not self._send(as_message(HistoryWanted(number, pool, points)), [fd]):
            self._end(number, is_known=False)

    def heard(self) -> None:
        """Note that the process has begun to talk."""
        self._is_heard = True

    def taken(self, report: HistoryTaken) -> None:
        """Take an answer."""
        self._end(report.number, is_known=report.is_known)

    def forget(self) -> None:
        """Answer all without it: the process has ended."""
        self._is_heard = False
        self._timers.cancel("save")
        for number in list(self._asked):
            self._end(number, is_known=False)

    def _end(self, number: int, *, is_known: bool) -> None:
        question = self._asked.pop(number, None)
        if question is None:
            return  # it came too late
        question.timer.cancel()
        try:
            question.done(question.fd if is_known else None)
        finally:
            os.close(question.fd)
