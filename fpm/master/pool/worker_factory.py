"""Makes workers: asks a template for one, with a slot, a channel and pipes; or goes on with one after an upgrade."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from typing import Any

from fpm.event_text.worker import output_text
from fpm.events.base import PoolEvent
from fpm.events.pool import WorkerNotCreated
from fpm.events.worker import ProcessOutput
from fpm.log.lines import pool_prefix
from fpm.master.listening.inherited import take_inherited
from fpm.master.loop.fair_reader import Share
from fpm.master.loop.output import OutputReader
from fpm.master.pool.child import Child
from fpm.master.pool.current_config import CurrentConfig
from fpm.master.pool.death_report import describe_request
from fpm.master.pool.exceptions import ExceptionMemory, TracebackLines
from fpm.master.pool.template_process import TemplateProcess
from fpm.master.pool.worker_slot import WorkerSlot
from fpm.master.pool.worker_state import WorkerState
from fpm.master.services import Services
from fpm.scoreboard.memory import Scoreboard

PID_ROOM = 9_999_999
"""The longest pid (proc(5)), for the room of a line while the pid is not known yet."""
STREAMS = ("stdout", "stderr")


class WorkerFactory:
    """Makes the workers of one pool."""

    def __init__(
        self,
        services: Services,
        current: CurrentConfig,
        share: Share,
        exceptions: ExceptionMemory,
        emit: Callable[[PoolEvent], None],
    ) -> None:
        self._services = services
        self._current = current
        self._exceptions = exceptions
        self._share = share
        self._emit = emit

    def request(
        self, template: TemplateProcess, slot: WorkerSlot, access_log: int | None, *, on_trial: bool
    ) -> Child | None:
        """Ask a template for a worker; None if it cannot be asked now."""
        state = WorkerState.TRIAL_REQUESTED if on_trial else WorkerState.REQUESTED
        try:
            child = Child(self._services, template, slot, state)
        except OSError as error:
            self._complain(f"no descriptors left for a new worker: {error.strerror}")
            return None
        try:
            sent = self._send(child, access_log, on_trial=on_trial)
        except OSError as error:
            self._complain(f"cannot make a worker: {error.strerror}")
            sent = False
        finally:
            for output in child.outputs:
                output.close_writer()
            child.channel.close_peer()
        if sent:
            return child
        child.close()
        slot.clear()
        return None

    def restore(self, template: TemplateProcess, board: Scoreboard, state: Mapping[str, Any]) -> Child:
        """Go on with a worker that serves since before an upgrade; `state` is what Child.dump has said."""
        child = Child.restore(self._services, template, board, state)
        for stream, fd in zip(STREAMS, state["outputs"], strict=False):  # none with catch_workers_output = no
            if fd >= 0:
                child.outputs.append(self._read_output(child, stream, take_inherited(fd)))
        child.notes.cgroup = self._services.oom.learn(child.pid)
        return child

    def _send(self, child: Child, access_log: int | None, *, on_trial: bool) -> bool:
        fds = [child.channel.peer.fileno()]
        devnull = -1
        try:
            if self._current.config.catch_workers_output:
                child.outputs = [self._read_output(child, stream) for stream in STREAMS]
                fds += [output.write_fd for output in child.outputs]
            else:
                devnull = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
                fds += [devnull, devnull]
            fds.append(child.own_stack.fd)
            if access_log is not None:
                fds.append(access_log)
            child.slot.mark_creating()
            return child.template.fork_worker(child.slot.number, fds, hold=on_trial)
        finally:
            if devnull >= 0:
                os.close(devnull)

    def _read_output(self, child: Child, stream: str, fd: int | None = None) -> OutputReader:
        log = self._services.log
        decorated = self._current.config.decorate_workers_output
        beside = f"{pool_prefix(self._current.config.name)}{output_text(PID_ROOM, 'worker', stream, '')}"
        room = log.room_beside(beside) if decorated else log.limit
        return OutputReader(self._share, self._line_writer(child, stream), room, fd)

    def _line_writer(self, child: Child, stream: str) -> Callable[[str, bool], None]:
        tracebacks = TracebackLines()

        def write_line(line: str, closed: bool) -> None:
            child.notes.last_words.add(line, self._services.loop.now)
            decorated = self._current.config.decorate_workers_output
            name, pid = self._current.config.name, child.process.name
            self._emit(ProcessOutput("worker", stream, line, decorated, closed, pool=name, pid=pid))
            if (printed := tracebacks.add(line)) is not None:
                now = self._services.clock()
                # It may have begun another one since.
                request, _, _ = describe_request(child.slot.read(), now)
                self._exceptions.take_printed(printed, request, pid, now)

        return write_line

    def _complain(self, text: str) -> None:
        self._emit(WorkerNotCreated(text, pool=self._current.config.name))


def free_slot(board: Scoreboard, children: Collection[Child]) -> WorkerSlot | None:
    """Find a slot of a scoreboard that no worker writes to."""
    taken = {child.slot.number for child in children if child.board is board}
    return next((WorkerSlot(board, number) for number in range(board.slots) if number not in taken), None)
