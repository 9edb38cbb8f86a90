"""What the control socket may ask of the master."""

from __future__ import annotations

import base64
import os
from typing import Any, Protocol

from fpm.errors import EXIT_FAILED, EXIT_OK, ConfigError
from fpm.events.base import Event
from fpm.events.master import StopRequested
from fpm.master.commands.trace import TraceHost, run_trace
from fpm.master.control import Connection
from fpm.master.lifecycle import State
from fpm.master.processes.path_looks import paths_of
from fpm.master.reload.plan import Scope
from fpm.master.reload.reloader import Request
from fpm.master.status.process import StatusProcess
from fpm.master.status.reporting import status_answer, unknown_pool
from fpm.master.status.snapshot_source import SnapshotSource, refresh_memory, take_snapshot


class CommandHost(SnapshotSource, TraceHost, Protocol):
    """The master, as far as commands go."""

    status_process: StatusProcess

    def emit(self, event: Event) -> Event:
        """Tell everybody who reads what happens."""

    def stop(self, state: State) -> None:
        """Begin to end."""

    def reopen_logs(self) -> None:
        """Open all logs anew."""

    def upgrade(self, waiter: Connection) -> None:
        """Become the installed program; `waiter` hears how it ends."""


def run_command(host: CommandHost, connection: Connection, request: dict[str, Any]) -> None:
    """Carry out one request and answer it, now or later."""
    command = request.get("command")
    if command == "status":
        connection.answer(status_answer(host.pools, host.config.global_.file, host.reloader.last, request))
    elif command == "snapshot":
        _answer_snapshot(host, connection, request)
    elif command == "history":
        _answer_history(host, connection, request)
    elif command == "trace":
        run_trace(host, connection, request)
    elif command == "stop":
        host.emit(StopRequested())
        connection.answer({"ok": True, "pid": os.getpid()}, last=False)
        host.stop(State.TERMINATING if request.get("now") else State.FINISHING)
    elif command == "reopen-logs":
        host.reopen_logs()
        connection.answer({"ok": True})
    elif command in ("reload", "rollback", "upgrade"):
        paths = paths_of(pool.config for pool in host.pools.values())
        host.services.paths.look(paths, lambda: _change(host, connection, request))
    else:
        connection.answer({"ok": False, "error": f"unknown command {command!r}"})


def _change(host: CommandHost, connection: Connection, request: dict[str, Any]) -> None:
    """Carry out what looks at the paths of pools, now that it is known which of them do not answer."""
    if host.shutdown.state is not State.NORMAL:
        connection.answer({"ok": False, "error": "the master is stopping"})
    elif request.get("command") == "upgrade":
        host.upgrade(connection)
    else:
        _reload(host, connection, request)


def _answer_snapshot(host: CommandHost, connection: Connection, request: dict[str, Any]) -> None:
    """The bytes that fpm.status.snapshot.read_snapshot reads: of `pool` or of all, with `workers` or `routes`."""
    name = request.get("pool")
    if isinstance(name, str) and name not in host.pools:
        connection.answer(unknown_pool(name, host.pools))
        return
    refresh_memory(host)
    workers, routes = bool(request.get("workers")), bool(request.get("routes"))
    data = take_snapshot(host, name if isinstance(name, str) else None, workers=workers, routes=routes)
    connection.answer({"ok": True, "snapshot": base64.b64encode(data).decode()})


def _answer_history(host: CommandHost, connection: Connection, request: dict[str, Any]) -> None:
    """The bytes that fpm.status.past.exchange reads, of `pool` or of all, in a file that goes with the answer."""
    name = request.get("pool")

    def tell(fd: int | None) -> None:
        known: dict[str, Any] = {"ok": True} if fd is not None else {"ok": False, "error": "the past is not known"}
        connection.answer(known, fd=fd)

    points = bool(request.get("points"))
    host.status_process.history.ask(name if isinstance(name, str) else None, tell, points=points)


def _reload(host: CommandHost, connection: Connection, request: dict[str, Any]) -> None:
    names = request.get("pools")
    named = tuple(name for name in names if isinstance(name, str)) if isinstance(names, list) else ()
    scope = Scope(named, changed=bool(request.get("changed")))
    if request.get("dry_run"):
        _answer_plan(host, connection, scope)
        return
    timeout, pool = request.get("timeout"), request.get("pool")
    seconds = float(timeout) if isinstance(timeout, int | float) else 0.0
    rollback = pool if request.get("command") == "rollback" else None
    if request.get("command") == "rollback" and not isinstance(rollback, str):
        connection.answer({"ok": False, "error": "rollback of which pool?"})
        return

    def tell(message: dict[str, Any]) -> None:
        connection.answer(message, last="ok" in message)

    def tell_first(message: dict[str, Any]) -> None:
        """Answer with the plan, with what the reload waits for, or with why there is none."""
        connection.answer({"ok": True, **message})

    no_wait = bool(request.get("no_wait"))
    host.reloader.request(Request(tell_first if no_wait else tell, scope, seconds, rollback))


def _answer_plan(host: CommandHost, connection: Connection, scope: Scope) -> None:
    try:
        plan = host.reloader.plan(scope)
    except ConfigError as error:
        connection.answer({"ok": False, "status": error.exit_status, "complaints": error.complaints})
    else:
        told = {"plan": plan.lines(), "pools": plan.objects()}
        connection.answer({"ok": True, "status": EXIT_OK, "complaints": [], **told})


def refusal(reason: str) -> dict[str, Any]:
    """The answer to a command that could not be carried out, and has changed nothing."""
    return {"ok": False, "status": EXIT_FAILED, "complaints": reason.splitlines()}
