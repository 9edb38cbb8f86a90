"""The ends of one pool's processes: looked into, told of in the log, and kept for the status."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from signal import Signals

from fpm.config.model import PoolConfig
from fpm.events.base import PoolEvent
from fpm.events.worker import ProcessDied, WorkerExited
from fpm.master.pool.child import Child, WorkerEnd
from fpm.master.pool.death_report import Facts, certify
from fpm.master.pool.history import is_death
from fpm.master.pool.template_process import TemplateProcess
from fpm.master.processes.exits import CORE_PATTERN, CORE_USES_PID, Exit, Usage, locate
from fpm.master.processes.oom import read_kernel_file
from fpm.master.processes.oom_reports import OomVerdict
from fpm.master.services import Services
from fpm.status.overview import Death


class PoolExits:
    """Examines the ends of one pool's processes, and tells of them."""

    def __init__(self, services: Services, pool: str, emit: Callable[[PoolEvent], None]) -> None:
        self._services = services
        self._pool = pool
        self._emit = emit

    def examine_worker(self, child: Child, end: WorkerEnd) -> Death | None:
        """Look into the end of a worker as long as there is something to see; one that has left as told is emitted.

        Returns:
            The certificate, to be given to `tell`; None if it has done as it was told.
        """
        now, notes = self._services.loop.now, child.notes
        told, pid, ended = child.retire_reason, child.process.name, end.state.killed_by_master
        if not pid:
            return None  # there has never been a process
        if not is_death(end.exit, told, ended=ended):
            age = now - notes.started
            self._emit(WorkerExited(str(end.exit), end.exit.code, age, told, pool=self._pool, pid=pid))
            return None
        facts = Facts(
            who="worker",
            pid=pid,
            exit=end.exit,
            age=now - notes.started,
            usage=notes.usage,
            slot=end.slot,
            verdict=self._verdict(pid, end.exit, notes.cgroup or child.template.cgroup, ended=ended),
            memory_events=self._memory_events(end.exit, ended=ended),
            core=_core_of(pid, end.exit, child.template),
            told=told,
            ended=ended,
            trace=notes.last_stack if ended or notes.stack_request == end.slot.requests else None,
            exit_calls=notes.exit_calls,
            words=notes.last_words.of_end(now, by_exit=end.exit.signal is None),
        )
        return certify(facts, self._services.clock())

    def examine_template(self, template: TemplateProcess, exit_: Exit, usage: Usage) -> Death:
        """Make the certificate of a template, or of a 503 responder."""
        now, killed = self._services.loop.now, template.state.killed_by_master
        words = template.last_words.of_end(now, by_exit=exit_.signal is None)
        facts = Facts(
            who="503 responder" if template.spec.mode == "unavailable" else "template",
            pid=template.pid,
            exit=exit_,
            age=now - template.started,
            usage=usage,
            verdict=self._verdict(template.pid, exit_, template.cgroup, ended=killed),
            memory_events=self._memory_events(exit_, ended=killed) if template.spec.cgroup_directory else "",
            core=_core_of(template.pid, exit_, template),
            told="startup_timeout" if killed else "",
            ended=killed,
            words=words if template.failure is None else (template.failure[0],),
        )
        return certify(facts, self._services.clock())

    def tell(
        self,
        death: Death,
        next_: str,
        config: PoolConfig,
        *,
        status: int | None = None,
        is_logged: bool = False,
        has_told: bool = False,
    ) -> None:
        """Emit the certificate, now that it is known what happens next.

        Args:
            status: as in wait(2); None: nobody could tell.
            is_logged: another event has said it.
            has_told: the stack is what the process has told of its os._exit().
        """
        stack_in = "" if has_told else "the slow log" if config.slowlog else "the error log"
        self._emit(
            ProcessDied(
                replace(death, next_action=next_),
                status,
                script=config.app if death.who == "worker" else "",
                stack_in=stack_in,
                is_logged=is_logged,
                pool=self._pool,
                pid=death.pid,
            )
        )

    def _verdict(self, pid: int, exit_: Exit, cgroup: str, *, ended: bool) -> OomVerdict:
        if exit_.signal is None and exit_.code is None:
            return OomVerdict("unknown", "its template ended at the same time")
        if exit_.signal != Signals.SIGKILL or ended:
            return OomVerdict("no")
        return self._services.oom.examine(pid, cgroup)

    def _memory_events(self, exit_: Exit, *, ended: bool) -> str:
        is_foreign = exit_.signal == Signals.SIGKILL and not ended
        return self._services.cgroups.memory_events(self._pool) if is_foreign else ""


def _core_of(pid: int, exit_: Exit, template: TemplateProcess) -> str:
    if not exit_.core or exit_.signal is None:
        return ""
    return locate(
        _text(CORE_PATTERN),
        uses_pid=_text(CORE_USES_PID) == "1",
        pid=pid,
        signal=exit_.signal,
        directory=template.directory,
        root=template.config.chroot or "/",
    )


def _text(path: str) -> str:
    return (read_kernel_file(path) or b"").decode("utf-8", "replace").strip()
