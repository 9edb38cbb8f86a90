"""How workers leave: asked, signalled, killed. None is ended before its stack was taken, or the log says why not.

Rules of the file. It carries out what the table says and changes no state itself. A worker has one timer, for the next
thing that happens to it. What is said of its request is its own word. A signal for a request is sent only while that
request runs.
"""

from __future__ import annotations

from collections.abc import Callable
from signal import Signals
from typing import Protocol

from fpm.config.model import PoolConfig
from fpm.events.base import PoolEvent
from fpm.events.worker import RequestCutOff, RequestTimedOut, SigkillPending, SigtermIgnored, WorkerSignalled
from fpm.frozen import dataclass
from fpm.master.lifecycle import KILL_AFTER
from fpm.master.pool.child import Child
from fpm.master.pool.history import MAX_MEMORY, MEMORY_HARD, STOP
from fpm.master.pool.stack_capture import StackCapture, explain, read_current_request, why_no_stack
from fpm.master.pool.template_state import TemplateEvent
from fpm.master.pool.worker_state import WorkerAction, WorkerEvent, WorkerState
from fpm.master.processes.exits import Exit
from fpm.master.services import Services
from fpm.protocol.messages import Quit
from fpm.stacks.text.entry import Reason
from fpm.stacks.trace import Trace

EXIT_REPORT_TIME = 2.0
"""Seconds between a worker's last sign of life and the end of waiting for its template's report."""
STACK_LEAD = 1.0
"""Seconds before a signal in which the stack is taken; less if the time to leave is short."""
STACK_TIME = 3.5
"""Seconds that a stack may take where nobody waits for the worker's end."""
REQUEST_LOOK = 1.0
"""Seconds between two looks, at least, whether a request that may take its time has ended."""
AFTER_REQUEST = frozenset({MAX_MEMORY, MEMORY_HARD})
"""Reasons for which no request is cut off."""
UNKNOWN = Exit()


@dataclass(frozen=True, slots=True)
class Change:
    """One event in the life of a worker, with its particulars."""

    event: WorkerEvent
    former: WorkerState
    """The state in which the worker was."""
    reason: str = ""
    """Why it leaves, if it leaves because of the event."""
    timeout: float | None = None
    """Seconds to leave; None: process_control_timeout."""
    error: str = ""
    traceback: str = ""
    exit: Exit = UNKNOWN


Actions = dict[WorkerAction, Callable[[Child, Change], None]]


class Keeper(Protocol):
    """Who keeps the workers of a pool."""

    def happen(
        self,
        child: Child,
        event: WorkerEvent,
        *,
        reason: str = "",
        timeout: float | None = None,
        error: str = "",
        traceback: str = "",
    ) -> None:
        """Let something happen to a worker, and do what the table says."""

    def exited(self, child: Child, exit_: Exit) -> None:
        """A worker has ended."""


class WorkerTermination:
    """Ends the workers of one pool."""

    def __init__(
        self, services: Services, stacks: StackCapture, keeper: Keeper, emit: Callable[[PoolEvent], None]
    ) -> None:
        self._services = services
        self._stacks = stacks
        self._keeper = keeper
        self._emit = emit

    def actions(self) -> Actions:
        """List what it carries out."""
        return {
            WorkerAction.SEND_QUIT: self._send_quit,
            WorkerAction.SIGNAL_TERM: lambda child, change: self._signal(child, change, Signals.SIGTERM),
            WorkerAction.SIGNAL_KILL: lambda child, change: self._signal(child, change, Signals.SIGKILL),
            WorkerAction.CLOSE_CHANNEL: self._close_channel,
            WorkerAction.LIMIT_START: lambda child, change: self.limit_start(child),
            WorkerAction.LIMIT_LEAVING: self._limit_leaving,
            WorkerAction.HURRY: lambda child, change: child.set_timer(KILL_AFTER, lambda: self._is_late(child)),
            WorkerAction.AWAIT_REPORT: lambda child, change: self._await_report(child),
            WorkerAction.AWAIT_END: self._await_end,
            WorkerAction.EXPLAIN_START: self._explain_start,
            WorkerAction.END_TEMPLATE: self._end_template,
        }

    # ---------------------------------------------------------------- told to leave

    def _send_quit(self, child: Child, change: Change) -> None:
        child.channel.send(Quit(final=STOP in (change.reason, child.retire_reason)))

    def _limit_leaving(self, child: Child, change: Change) -> None:
        if not child.is_heard:
            return  # it has hung up: its end is awaited already, and sooner
        timeout = self._services.settings.process_control_timeout if change.timeout is None else change.timeout
        reason = child.retire_reason if change.event is WorkerEvent.RESTORED else change.reason
        request = read_current_request(child, self._services.loop.now).number
        if request and change.timeout is None and reason in AFTER_REQUEST:
            self._await_request(child, request, timeout)
        else:
            self._limit(child, timeout)

    def _await_request(self, child: Child, request: int, timeout: float) -> None:
        """Its request is cut off by nothing but its own limits: the time to leave begins after it."""

        def look() -> None:
            if read_current_request(child, self._services.loop.now).number == request:
                self._await_request(child, request, timeout)
            else:
                self._limit(child, timeout)

        child.set_timer(max(timeout, REQUEST_LOOK), look)

    def _limit(self, child: Child, timeout: float) -> None:
        lead = min(STACK_LEAD, timeout / 2)
        if lead > 0:
            child.set_timer(timeout - lead, lambda: self._take_last_stack(child, lead))
        else:
            self.when_taken(child, "stop", STACK_LEAD, lambda: self._is_late(child))

    def _take_last_stack(self, child: Child, seconds: float) -> None:
        """Its time is nearly up."""
        child.notes.last_stack = None
        self._stacks.take(child, "stop")
        child.set_timer(seconds, lambda: self._is_late(child))

    def _is_late(self, child: Child) -> None:
        """The time for the step before is over. A request that SIGTERM was for may have ended by it alone."""
        request = child.notes.ended_request
        if child.state is WorkerState.TERMINATING and request:
            if child.process.is_gone():
                self._await_report(child)
                return
            if read_current_request(child, self._services.loop.now).number != request:
                child.notes.ended_request = 0
                self._keeper.happen(child, WorkerEvent.SURVIVED)
                return
        self._keeper.happen(child, WorkerEvent.LATE)

    # ---------------------------------------------------------------- signalled

    def _signal(self, child: Child, change: Change, number: Signals) -> None:
        if not child.process.is_stranger():
            self._tell_why(child, change, number)
        if not child.process.send_signal(number):
            self._keeper.happen(child, WorkerEvent.UNREACHABLE)

    def _tell_why(self, child: Child, change: Change, number: Signals) -> None:
        request = read_current_request(child, self._services.loop.now)
        doing, no_stack = request.doing, why_no_stack(child.notes.last_stack)
        pool, pid = self._pool, child.process.name
        if change.event in (WorkerEvent.LATE, WorkerEvent.SILENT):
            reason = child.retire_reason
            if change.former is WorkerState.TERMINATING and child.notes.ended_request:
                self._emit(SigtermIgnored(reason, pool=pool, pid=pid))
            else:
                self._emit(WorkerSignalled(number.name, reason, request.name, doing, no_stack, pool=pool, pid=pid))
        elif change.event is WorkerEvent.TIMEOUT:
            told = request.script, request.name, request.seconds, change.reason
            again = 0 < request.number == child.notes.interrupted_request
            self._emit(RequestTimedOut(*told, "terminating", doing, no_stack, again, pool=pool, pid=pid))
        elif change.event is WorkerEvent.TERMINATE and request.number and not change.former.killed_by_master:
            self._emit(RequestCutOff(request.name, request.seconds, change.reason, doing, pool=pool, pid=pid))

    def time_out(self, child: Child, request: int, limit: str) -> None:
        """End a worker because of its request, unless that ends by itself meanwhile.

        Args:
            request: its number, as the worker counts.
            limit: the directive.
        """

        def end() -> None:
            if read_current_request(child, self._services.loop.now).number == request:
                child.notes.ended_request = request
                self._keeper.happen(child, WorkerEvent.TIMEOUT, reason=limit)

        self.when_taken(child, "background" if limit == "background_timeout" else "terminate", STACK_TIME, end)

    def when_taken(self, child: Child, reason: Reason, seconds: float, then: Callable[[], None]) -> None:
        """Go on when the stack has come, or when so many seconds are over, if the worker still lives."""
        child.notes.last_stack = None
        left = [then]

        def go_on() -> None:
            timer.cancel()
            while left:
                action = left.pop()
                if child.state is not WorkerState.GONE:
                    action()

        timer = self._services.loop.call_later(seconds, go_on)
        self._stacks.take(child, reason, lambda trace: go_on())

    # ---------------------------------------------------------------- one that does not start

    def limit_start(self, child: Child) -> None:
        """Give it startup_timeout to be ready; 0: as long as it takes."""
        seconds = _start_limit(child, self._stacks.config)
        if seconds > 0 and child.is_heard:  # else its end is awaited already
            child.set_timer(seconds, lambda: self._keeper.happen(child, WorkerEvent.START_TIMEOUT))

    def _explain_start(self, child: Child, change: Change) -> None:
        """It is not ready in time."""
        seconds, words = _start_limit(child, self._stacks.config), child.notes.last_words

        def give_up(stack: str) -> None:
            error = f"its worker was not ready within {seconds:g} s (startup_timeout){stack}"
            reason, text = "startup_timeout", words.text()
            self._keeper.happen(child, WorkerEvent.GIVE_UP, reason=reason, error=error, traceback=text)

        if words.has_dump:
            give_up("; its stack is in its last output")
        else:
            self.when_taken(child, "startup", STACK_TIME, lambda: give_up(explain(child.notes.last_stack)))

    def _end_template(self, child: Child, change: Change) -> None:
        """Its template has not even forked it: a lock that a thread held, or a function of os.register_at_fork."""
        template, seconds = child.template, _start_limit(child, self._stacks.config)

        def came(trace: Trace) -> None:
            if child.state is WorkerState.GONE or not template.state.has_started:
                return
            if not child.state.is_unforked:
                if not child.state.has_started:
                    self.limit_start(child)
                return
            error = f"its template has not forked a worker within {seconds:g} s (startup_timeout){explain(trace)}"
            template.give_up(TemplateEvent.NOT_FORKING, error)

        self._stacks.take_of_template(template, "startup", came)

    # ---------------------------------------------------------------- one that cannot be reached, or does not end

    def _close_channel(self, child: Child, change: Change) -> None:
        child.forget_channel()
        child.channel.close()

    def _await_report(self, child: Child) -> None:
        """Its exit status comes from its template, or from waitpid(2) if it is an orphan; not for ever."""
        child.set_timer(EXIT_REPORT_TIME, lambda: self._miss_report(child))

    def _miss_report(self, child: Child) -> None:
        if child.process.is_gone():
            self._keeper.exited(child, UNKNOWN)
        else:
            # It has closed its channel and lives on: it can be told nothing any more.
            self.when_taken(child, "stop", STACK_LEAD, lambda: self._keeper.happen(child, WorkerEvent.SILENT))

    def _await_end(self, child: Child, change: Change) -> None:
        if child.process.is_gone():
            self._keeper.exited(child, UNKNOWN)  # its template does not say so
            return
        if not child.process.is_stranger():
            self._emit(SigkillPending(pool=self._pool, pid=child.process.name))
        child.process.watch_end(lambda: self._await_report(child))

    @property
    def _pool(self) -> str:
        return self._stacks.config.name


def _start_limit(child: Child, in_force: PoolConfig) -> float:
    """Return the startup_timeout of a worker; a generation on trial has a configuration of its own."""
    template = child.template
    return (template.config if template.state.is_on_trial else in_force).startup_timeout
