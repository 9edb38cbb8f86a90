"""The ends of one pool's processes: looked into, told of in the log, and kept for the status."""

from __future__ import annotations

from collections.abc import Callable
from signal import Signals

from fpm.config.model import PoolConfig
from fpm.master.pool.child import Child
from fpm.master.pool.death_report import AFTER_RESPONSE, IN_HAND, Facts, certificate_line, certify
from fpm.master.pool.history import Record, is_death
from fpm.master.pool.template_process import TemplateProcess
from fpm.master.processes.core_dumps import CORE_PATTERN, CORE_USES_PID, locate
from fpm.master.processes.exits import Exit, Usage
from fpm.master.processes.kernel_files import read_kernel_file
from fpm.master.processes.oom_reports import Verdict
from fpm.master.services import Services
from fpm.scoreboard.snapshot import Slot
from fpm.status.overview import Death

LEVEL_OF_CODE_0 = "notice"
"""As PHP-FPM has it, unless a request was lost; every other end is a warning."""


class Deaths:
    """One pool's coroner."""

    def __init__(self, services: Services, record: Record, log: Callable[[str, str], None]) -> None:
        self._services = services
        self._record = record
        self._log = log

    def examine_worker(self, child: Child, exit_: Exit, slot: Slot) -> Death | None:
        """Count the end of a worker, and look into it as long as there is something to see.

        Returns:
            The certificate, to be given to `tell`; None if it has done as it was told.
        """
        now = self._services.loop.now
        told = child.leaving or ""
        pid = child.pid or child.claimed_pid
        if not pid:
            return None  # there has never been a process
        if not is_death(exit_, told, ended=child.pressed):
            self._record.count_leaving(told)
            self._log_leaving(child, exit_, now - child.started)
            return None
        facts = Facts(
            who="worker",
            pid=pid,
            exit=exit_,
            age=now - child.started,
            usage=child.usage,
            slot=slot,
            verdict=self._verdict(pid, exit_, child.cgroup or child.template.cgroup, ended=child.pressed),
            core=_core_of(pid, exit_, child.template),
            told=told,
            ended=child.pressed,
            trace=child.last_stack if child.pressed or child.stack_request == slot.requests else None,
            words=child.last_words.of_end(now, by_exit=exit_.signal is None),
        )
        death = certify(facts, self._services.clock())
        self._record.count_death(exit_, death)
        return death

    def examine_template(self, template: TemplateProcess, exit_: Exit, usage: Usage) -> Death:
        """The certificate of a template, or of a 503 responder."""
        now = self._services.loop.now
        words = template.last_words.of_end(now, by_exit=exit_.signal is None)
        facts = Facts(
            who="503 responder" if template.spec.mode == "unavailable" else "template",
            pid=template.pid,
            exit=exit_,
            age=now - template.started,
            usage=usage,
            verdict=self._verdict(template.pid, exit_, template.cgroup, ended=template.killed),
            core=_core_of(template.pid, exit_, template),
            told="startup_timeout" if template.killed else "",
            ended=template.killed,
            words=words if template.failure is None else (template.failure[0],),
        )
        return certify(facts, self._services.clock())

    def tell(self, death: Death, next_: str, config: PoolConfig, *, logged: bool = False) -> None:
        """Write the line and keep the certificate, now that it is known what happens next.

        Args:
            logged: another line says it already.
        """
        if not logged:
            is_quiet = death.code == 0 and not death.ended and death.request_state not in (IN_HAND, AFTER_RESPONSE)
            level = LEVEL_OF_CODE_0 if is_quiet else "warning"
            place = "the slow log" if config.slowlog else "the error log"
            script = config.app if death.who == "worker" else ""
            self._log(level, certificate_line(death, next_, script=script, stack_in=place))
        self._record.keep(death, next_)

    def _log_leaving(self, child: Child, exit_: Exit, age: float) -> None:
        """It has done as it was told."""
        pid = child.pid or child.claimed_pid
        seconds = f"after {age:.6f} seconds from start"
        if child.leaving == "idle" and exit_.code == 0:
            self._log("debug", f"child {pid} has been killed by the process management {seconds}")
            return
        self._log("notice", f"child {pid} exited {exit_} {seconds}")

    def _verdict(self, pid: int, exit_: Exit, cgroup: str, *, ended: bool) -> Verdict:
        if exit_.signal is None and exit_.code is None:
            return Verdict("unknown", "its template ended at the same time")
        if exit_.signal != Signals.SIGKILL or ended:
            return Verdict("no")
        return self._services.oom.examine(pid, cgroup)


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
