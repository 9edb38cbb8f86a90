"""Texts of the events of a pool. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from fpm.event_text.rows import ERROR, NONE, NOTICE, WARNING, Row, as_clause
from fpm.events import pool
from fpm.events.base import Event
from fpm.status.figures import format_size


def _pool_failed(event: pool.PoolFailed) -> str:
    text = "" if event.traceback_logged else event.traceback
    return f"failed to start: {event.error}; next try in {event.pause:.0f} s\n{text}".rstrip()


def _template_killed(event: pool.TemplateKilled) -> str:
    how = {
        "reload": f"is killed after {event.age:.1f} s of importing: its generation was abandoned",
        "stop": "is killed during the import (stop)",
        "upgrade": "is killed during the import (upgrade)",
        "late": "has not exited in time (stop), sending SIGKILL to its process group",
    }[event.reason]
    return f"template {event.pid} {how}{as_clause(event.no_stack)}"


def _emergency(event: pool.EmergencyRestart) -> str:
    return (
        f"failed processes threshold ({event.threshold} in {event.interval:g} sec) is reached, "
        f"restarting the template of this pool; the last was child {event.pid}, {event.cause}. "
        "Its workers are replaced when the new template is ready"
    )


def _slow_log_failed(event: pool.SlowLogFailed) -> str:
    if event.problem == "reopen":
        return f"unable to re-open slowlog({event.reason}); keeping the previous file"
    if event.problem == "recreate":
        return f"slowlog({event.path}) was removed and cannot be recreated: {event.reason}"
    if event.problem == "write":
        return f"unable to write to slowlog({event.path}): {event.reason}. Entries that cannot be kept are dropped"
    return f"{event.reason}; " + (
        f"slowlog({event.path}) stays in use" if event.path else "entries go to the error log"
    )


def _socket_shut_down(event: pool.SocketShutDown) -> str:
    if event.error:
        return f"the {event.which} socket cannot be replaced: {event.error}; trying again"
    return f"a process of this pool has shut down the {event.which} socket; it is replaced, and so are the workers"


def _scaled(event: pool.Scaled) -> str:
    changes = [f"{event.created} created" if event.created else "", f"{event.retired} retired" if event.retired else ""]
    present = f"{event.idle} idle, {event.active} active, {event.starting} starting"
    return f"workers: {', '.join(filter(None, changes))} ({event.reason}); there were {present}"


_MEMORY_MEASURES = {
    "pm.memory_soft": "it keeps one spare worker only",
    "pm.memory_hard": "it does not grow, and its largest workers leave",
}


def _over_memory(event: pool.PoolOverMemory) -> str:
    used, size = format_size(event.used), format_size(event.size)
    return f"uses {used} of memory, more than {event.limit} ({size}): {_MEMORY_MEASURES[event.limit]}"


def _memory_eased(event: pool.PoolMemoryEased) -> str:
    return f"uses {format_size(event.used)} of memory, less than {event.limit} ({format_size(event.size)}) again"


ROWS: Mapping[type[Event], Row] = {
    pool.PoolFailed: (ERROR, _pool_failed),
    pool.PoolRecovered: (NONE, "the application has started again"),
    pool.SocketShutDown: (WARNING, _socket_shut_down),
    pool.StatusListenFailed: (ERROR, "{e.error}; serving without it until the next reload"),
    pool.PoolChangeFailed: (ERROR, "{e.error}; keeping the previous one"),
    pool.SwapStalled: (
        WARNING,
        "new workers do not become ready; the previous generation keeps serving until they do",
    ),
    pool.EmergencyRestart: (WARNING, _emergency),
    pool.EmergencyRestartFailed: (ERROR, "the new template failed, keeping the previous one: {e.error}"),
    pool.TemplateStarted: (NONE, "template {e.pid} started (generation {e.generation})"),
    pool.TemplateReady: (NONE, "template {e.pid} is ready (generation {e.generation})"),
    pool.PlainHotPath: (NOTICE, "hot path: python, because {e.reason}"),
    pool.TemplateNotice: (NOTICE, "{e.notice}"),
    pool.WarmupFailed: (WARNING, "preload.warmup: {e.request}: {e.problem}"),
    pool.TemplateKilled: (lambda e: WARNING if e.reason == "late" else NOTICE, _template_killed),
    pool.ForkFailed: (ERROR, "the template cannot fork: {e.error}"),
    pool.ResponderFailed: (ERROR, "cannot start the 503 responder: {e.error}"),
    pool.Scaled: (NONE, _scaled),
    pool.MaxChildrenReached: (WARNING, "server reached pm.max_children setting ({e.limit}), consider raising it"),
    pool.PoolBusy: (
        WARNING,
        "seems busy (you may need to increase pm.start_servers, or pm.min/max_spare_servers), "
        "spawning {e.created} children, there are {e.idle} idle, and {e.total} total children",
    ),
    pool.PoolOverMemory: (WARNING, _over_memory),
    pool.PoolMemoryEased: (NOTICE, _memory_eased),
    pool.WorkerNotCreated: (ERROR, "{e.error}"),
    pool.AccessLogReopened: (NOTICE, "access log file re-opened"),
    pool.AccessLogFailed: (ERROR, "{e.error}; keeping the previous file"),
    pool.SlowLogReopened: (NOTICE, "slowlog file re-opened"),
    pool.SlowLogFailed: (ERROR, _slow_log_failed),
    pool.SlowLogRecreated: (NOTICE, "slowlog({e.path}) was removed and has been recreated"),
    pool.SlowLogRecovered: (NOTICE, "slowlog({e.path}) is writable again"),
    pool.StackLogged: (NOTICE, "{e.entry}"),
    pool.SlowRequestsSkipped: (
        WARNING,
        "more than {e.at_once:g} slow requests at once; logging only some of them",
    ),
    pool.StacksUnavailable: (WARNING, "{e.reason}"),
    pool.StacksFromInside: (
        WARNING,
        "stacks cannot be read from outside: {e.reason}; processes write their own stacks instead",
    ),
}
