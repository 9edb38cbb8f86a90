"""Texts of the events of workers, of their requests and output, and of the death of any process. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from fpm.event_text.rows import DEBUG, NONE, NOTICE, WARNING, Row, as_clause, in_parentheses
from fpm.events import worker
from fpm.events.base import Event
from fpm.log.escape import escape
from fpm.status.death_text import AFTER_RESPONSE, RUNNING, certificate_line
from fpm.status.figures import format_size, format_span


def output_text(pid: int, who: str, stream: str, line: str) -> str:
    """The entry for one line that a worker or a template has written."""
    return f'{f"child {pid}" if who == "worker" else who} said into {stream}: "{line}"'


def _refused(event: worker.MessageRefused) -> str:
    who = f"child {event.pid}" if event.who == "worker" else "the template"
    return f"{who} has sent a message that is refused: {event.error}"


def _exited(event: worker.WorkerExited) -> str:
    span = f"after {event.age:.6f} seconds from start"
    if _is_surplus(event):
        return f"child {event.pid} has been killed by the process management {span}"
    return f"child {event.pid} exited {event.cause} {span}"


def _is_surplus(event: worker.WorkerExited) -> bool:
    return event.reason == "idle" and event.code == 0


def _died_level(event: worker.ProcessDied) -> str:
    """Exit code 0 is a notice, as PHP-FPM has it, unless a request was lost; every other end is a warning."""
    if event.is_logged:
        return NONE
    death = event.death
    is_quiet = death.code == 0 and not death.killed_by_master and death.request_state not in (RUNNING, AFTER_RESPONSE)
    return NOTICE if is_quiet else WARNING


def _died(event: worker.ProcessDied) -> str:
    return certificate_line(event.death, script=event.script, stack_in=event.stack_in)


def _over_memory(event: worker.WorkerOverMemory) -> str:
    when = f'request "{escape(event.request)}"' if event.request else f"{event.requests} requests"
    return (
        f"child {event.pid} has used {format_size(event.memory)} of memory, more than pm.max_memory "
        f"({format_size(event.limit)}); it is replaced after {when}"
    )


def _discarded(event: worker.WorkerDiscarded) -> str:
    return (
        f"child {event.pid} uses {format_size(event.memory)} of memory, more than pm.max_memory_hard "
        f"({format_size(event.limit)}); it is idle and is replaced"
    )


def _killed_for_memory(event: worker.WorkerKilledForMemory) -> str:
    request = f', request "{escape(event.request)}" ({event.seconds:.6f} sec),' if event.request else ""
    return (
        f"child {event.pid}{request} uses {format_size(event.memory)} of memory, more than pm.max_memory_hard "
        f"({format_size(event.limit)}), sending SIGKILL{in_parentheses(event.doing)}{as_clause(event.no_stack)}"
    )


def _reclaimed(event: worker.WorkerReclaimed) -> str:
    when = f'after request "{escape(event.request)}"' if event.request else "now"
    return (
        f"child {event.pid}, which uses {format_size(event.memory)} of memory, leaves {when} (pm.memory_hard), "
        "and is not replaced before the pool uses less"
    )


def _limit_low(event: worker.MemoryLimitLow) -> str:
    return (
        f"pm.max_memory ({format_size(event.limit)}) seems to be less than the application needs: "
        f"child {event.pid} has exceeded it after {event.requests} requests and {format_span(event.age)}, "
        "consider raising it"
    )


def _limit_not_applied(event: worker.MemoryLimitNotApplied) -> str:
    return (
        f"child {event.pid} uses {format_size(event.memory)} of memory right after its start, "
        f"more than pm.max_memory ({format_size(event.limit)}), which is not applied to such workers: "
        "each would exit after one request. Set it well above the size of the application"
    )


def _signalled(event: worker.WorkerSignalled) -> str:
    request = f', request "{escape(event.request)}"' if event.request else ""
    why = event.reason or "it has closed its channel"
    details = in_parentheses(event.doing) + as_clause(event.no_stack)
    return f"child {event.pid}{request} has not exited in time ({why}), sending {event.signal}{details}"


def _logged(event: worker.WorkerLogged) -> str:
    request = f", {escape(event.request)}" if event.request else ""
    return f"child {event.pid}{request}: {event.message}"


def _output(event: worker.ProcessOutput) -> str:
    if not event.is_decorated:
        return event.line
    return output_text(event.pid, event.who, event.stream, event.line) + (", pipe is closed" if event.is_closed else "")


def _slow(event: worker.RequestSlow) -> str:
    return f"{_request(event)} executing too slow ({event.seconds:.6f} sec), logging{in_parentheses(event.doing)}"


def _slow_ended(event: worker.SlowRequestEnded) -> str:
    return f'child {event.pid}, request "{escape(event.request)}" took {event.seconds:.6f} sec'


def _timed_out(event: worker.RequestTimedOut) -> str:
    what = f"execution timed out ({event.seconds:.6f} sec), {event.action}"
    return f"{_request(event)} {what}{in_parentheses(event.doing)}{as_clause(event.no_stack)}"


def _cut_off(event: worker.RequestCutOff) -> str:
    what = f"is cut off after {event.seconds:.6f} sec ({event.reason}){in_parentheses(event.doing)}"
    return f'child {event.pid}, request "{escape(event.request)}" {what}'


def _request(event: worker.RequestSlow | worker.RequestTimedOut) -> str:
    return f"child {event.pid}, script '{escape(event.script)}' (request: \"{escape(event.request)}\")"


ROWS: Mapping[type[Event], Row] = {
    worker.WorkerStarted: (lambda e: DEBUG if e.is_routine else NOTICE, "child {e.pid} started"),
    worker.WorkerExited: (lambda e: DEBUG if _is_surplus(e) else NOTICE, _exited),
    worker.ProcessDied: (_died_level, _died),
    worker.WorkerKept: (
        WARNING,
        "child {e.pid} keeps serving past pm.{e.limit}: nothing can replace it",
    ),
    worker.WorkerOverMemory: (NOTICE, _over_memory),
    worker.WorkerDiscarded: (WARNING, _discarded),
    worker.WorkerKilledForMemory: (WARNING, _killed_for_memory),
    worker.WorkerReclaimed: (NOTICE, _reclaimed),
    worker.MemoryLimitLow: (WARNING, _limit_low),
    worker.MemoryLimitNotApplied: (WARNING, _limit_not_applied),
    worker.WorkerSignalled: (WARNING, _signalled),
    worker.SigtermIgnored: (WARNING, "child {e.pid} has not exited on SIGTERM ({e.limit}), sending SIGKILL"),
    worker.SigkillPending: (
        WARNING,
        "child {e.pid} does not exit on SIGKILL: it is in uninterruptible sleep (state D, see proc(5))",
    ),
    worker.StrangerRejected: (WARNING, "process {e.pid} sent a message as a worker but is not one; disconnecting it"),
    worker.IdentityChanged: (
        WARNING,
        "process {e.pid} is no longer its pool's user's (it is uid {e.uid} gid {e.gid} now: a setuid program, see "
        "no_new_privs); it is neither signalled nor looked at",
    ),
    worker.MessageRefused: (WARNING, _refused),
    worker.WorkerLogged: (lambda e: e.severity.upper(), _logged),
    worker.ProcessOutput: (lambda e: WARNING if e.is_decorated else NONE, _output),
    worker.RequestSlow: (WARNING, _slow),
    worker.SlowRequestEnded: (NONE, _slow_ended),
    worker.RequestTimedOut: (WARNING, _timed_out),
    worker.RequestCutOff: (NOTICE, _cut_off),
}
