"""How workers leave: asked, pressed, killed. None is ended before its stack was taken, or the log says why it was not.

Rules of the file. A worker has one timer, for the next thing that happens to it. What is said of its request is its own
word. A signal for a request is sent only while that request runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from signal import Signals

from fpm.log.escape import escape
from fpm.master.lifecycle import KILL_AFTER
from fpm.master.pool.child import Child
from fpm.master.pool.history import STOP
from fpm.master.pool.stack_capture import StackTaking, explain, look_at
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


@dataclass(frozen=True, slots=True)
class DismissalEvents:
    """Whom the dismissal tells."""

    bury: Callable[[Child, Exit], None]
    on_failed: Callable[[Child, str, str], None]
    """A worker does not start: error and what it has written."""
    on_timed_out: Callable[[Child], None]
    """A worker is ended because of its request: another takes its place."""
    log: Callable[[str, str], None]


class Dismissal:
    """Of the workers of one pool."""

    def __init__(self, services: Services, stacks: StackTaking, events: DismissalEvents) -> None:
        self._services = services
        self._stacks = stacks
        self._events = events

    # ---------------------------------------------------------------- asked to leave

    def retire(self, child: Child, reason: str, timeout: float) -> None:
        """Let it finish its request and leave; TERM after `timeout` seconds, KILL a second later."""
        if child.leaving is None:
            child.leaving = reason
        child.channel.send(Quit(final=reason == STOP))
        self._press_in(child, timeout, Signals.SIGTERM)

    def terminate(self, child: Child, reason: str, timeout: float) -> None:
        """SIGTERM now, KILL after `timeout` seconds."""
        work = look_at(child, self._services.loop.now)
        if work.request and not child.pressed:
            text = f'request "{work.name}" is cut off after {work.seconds:.6f} sec ({reason}){work.doing}'
            self._say(child, "notice", text, ",")
        child.leaving = reason
        if not child.send_signal(Signals.SIGTERM):
            child.channel.send(Quit(final=True))
        self._press_in(child, timeout, Signals.SIGKILL)

    def _press_in(self, child: Child, timeout: float, number: Signals) -> None:
        lead = min(STACK_LEAD, timeout / 2)
        if lead > 0:
            child.set_timer(timeout - lead, lambda: self._last_look(child, lead, number))
        else:
            self._when_taken(child, "stop", STACK_LEAD, lambda: self._press(child, number))

    def _last_look(self, child: Child, seconds: float, number: Signals) -> None:
        """Its time is nearly up."""
        child.last_stack = None
        self._stacks.take(child, "stop")
        child.set_timer(seconds, lambda: self._press(child, number))

    def _press(self, child: Child, number: Signals) -> None:
        child.pressed = True
        work = look_at(child, self._services.loop.now)
        request = f', request "{work.name}"' if work.request else ""
        why = child.leaving or "it has closed its channel"
        text = f"has not left in time ({why}), sending {number.name}{work.doing}{explain(child.last_stack)}"
        self._say(child, "warning", text, request)
        self._signal(child, number)

    def _signal(self, child: Child, number: Signals) -> None:
        """Send it, and see to what comes next."""
        if not child.send_signal(number):
            self.hang_up(child)
        elif number is Signals.SIGKILL:
            child.set_timer(KILL_AFTER, lambda: self._after_kill(child))
        else:
            child.set_timer(KILL_AFTER, lambda: self._press(child, Signals.SIGKILL))

    def _after_kill(self, child: Child) -> None:
        if child.is_gone():
            self._events.bury(child, Exit())  # its template does not say so
            return
        self._say(child, "warning", "does not end on SIGKILL: it is in uninterruptible sleep (state D, see proc(5))")
        child.watch_end(lambda: child.set_timer(EXIT_REPORT_TIME, lambda: self.without_report(child)))

    # ---------------------------------------------------------------- a request over its limit

    def time_out(self, child: Child, request: int, limit: str) -> None:
        """End a worker because of its request, unless that ends by itself meanwhile.

        Args:
            request: its number, as the worker counts.
            limit: the directive.
        """
        reason: Reason = "background" if limit == "background_timeout" else "terminate"
        self._when_taken(child, reason, STACK_TIME, lambda: self._end_request(child, request, limit))

    def _end_request(self, child: Child, request: int, limit: str) -> None:
        work = look_at(child, self._services.loop.now)
        if work.request != request:
            return
        text = f"execution timed out ({work.seconds:.6f} sec), terminating{work.doing}{explain(child.last_stack)}"
        self._say(child, "warning", text, f", script '{escape(work.script)}' (request: \"{work.name}\")")
        is_missed = child.counts
        child.pressed, child.leaving = True, limit
        if child.send_signal(Signals.SIGTERM):
            child.set_timer(KILL_AFTER, lambda: self._after_term(child, request, limit))
        else:
            self.hang_up(child)
        if is_missed:
            self._events.on_timed_out(child)

    def _after_term(self, child: Child, request: int, limit: str) -> None:
        """It has caught or ignored SIGTERM, or cannot take it (stopped, in uninterruptible sleep)."""
        if child.is_gone():
            child.set_timer(EXIT_REPORT_TIME, lambda: self.without_report(child))
        elif look_at(child, self._services.loop.now).request == request:
            self._say(child, "warning", f"has not ended on SIGTERM ({limit}), sending SIGKILL")
            self._signal(child, Signals.SIGKILL)
        else:
            self.retire(child, limit, self._services.settings.process_control_timeout)

    def _when_taken(self, child: Child, reason: Reason, seconds: float, then: Callable[[], None]) -> None:
        """Go on when the stack has come, or when so many seconds are over, if the worker still lives."""
        child.last_stack = None
        left = [then]

        def go_on() -> None:
            timer.cancel()
            while left:
                action = left.pop()
                if not child.closed:
                    action()

        timer = self._services.loop.call_later(seconds, go_on)
        self._stacks.take(child, reason, lambda trace: go_on())

    # ---------------------------------------------------------------- one that does not start

    def startup_timeout(self, child: Child, seconds: float) -> None:
        """It is not ready in time; or its template has not even forked it.

        Args:
            seconds: the pool's startup_timeout.
        """
        if child.claimed_pid or child.pid:
            error = f"its worker was not ready within {seconds:g} s (startup_timeout)"
            if child.last_words.has_dump:
                self._give_up(child, error + "; its stack is among its last words")
                return
            self._when_taken(
                child, "startup", STACK_TIME, lambda: self._give_up(child, error + explain(child.last_stack))
            )
            return

        template = child.template

        def came(trace: Trace) -> None:
            if child.closed or template.failure is not None:
                return
            if child.claimed_pid or child.pid:
                child.set_timer(seconds, lambda: self.startup_timeout(child, seconds))
                return
            # A lock that a thread held, or a function of os.register_at_fork: fork(2) never came back.
            error = f"its template has not forked a worker within {seconds:g} s (startup_timeout){explain(trace)}"
            template.failure = error, ""
            template.kill_alone()

        self._stacks.take_of_template(template, "startup", came)

    def _give_up(self, child: Child, error: str) -> None:
        if child.ready:
            return
        self._events.on_failed(child, error, child.last_words.text())
        child.leaving = "startup_timeout"
        child.pressed = True
        self._signal(child, Signals.SIGKILL)

    # ---------------------------------------------------------------- one that cannot be reached

    def hang_up(self, child: Child) -> None:
        """Its pid has never become known, so it cannot be signalled: it reads end of file, and leaves."""
        child.forget_channel()
        child.channel.close()
        child.set_timer(EXIT_REPORT_TIME, lambda: self.without_report(child))

    def without_report(self, child: Child) -> None:
        """Nobody has said how it ended."""
        if child.is_gone():
            self._events.bury(child, Exit())
        else:
            # It has closed its channel and lives on: it can be told nothing any more.
            self._when_taken(child, "stop", STACK_LEAD, lambda: self._press(child, Signals.SIGTERM))

    def _say(self, child: Child, level: str, text: str, name: str = "") -> None:
        self._events.log(level, f"child {child.pid or child.claimed_pid}{name} {text}")
