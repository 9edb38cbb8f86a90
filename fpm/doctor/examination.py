"""Examines a configuration on this machine: has the facts gathered, and hands them to those that judge."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from shutil import which

from fpm.client.control import fetch_snapshot
from fpm.config.model import Config, PoolConfig
from fpm.doctor import capacity, nginx, service, socket_access, stack_advice
from fpm.doctor.capacity import Memory
from fpm.doctor.findings import Finding, in_order, read_finding
from fpm.doctor.helpers import ends_in_time, helper
from fpm.doctor.machine import look_at_machine, selinux_enforces, show_unit, unit_of
from fpm.doctor.nginx_text import Dump
from fpm.doctor.programs import ask_nginx, find_web_user, nginx_command
from fpm.doctor.request import Request, Source, pack_request
from fpm.doctor.shell import Shell
from fpm.doctor.trial import Tried, measure_running, try_pool
from fpm.doctor.trial_config import cannot_be_tried
from fpm.errors import FpmError
from fpm.status.overview import Pool
from fpm.status.snapshot import Snapshot

LOOK_TIME = 15.0
"""Seconds in which the file systems must answer."""


def can_be_read(source: Source) -> bool:
    """Tell whether the configuration can be read without waiting for a file system that does not answer."""
    return ends_in_time("fpm.doctor.look", [pack_request(Request(source, (), None, Shell("")))], LOOK_TIME)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the command line says.

    Attributes:
        pools: their names; empty: all.
        web_user: the web server's user, if it is given.
        nginx_file: nginx's main file, if it is not its default.
        with_import: start applications.
        control: where the daemon's control socket is.
        pyfpm: the command with its options, for a shell.
        stacks: finds out why the stacks of pools cannot be read.
    """

    pools: tuple[str, ...]
    web_user: str | None
    nginx_file: str | None
    with_import: bool
    control: str
    pyfpm: str
    stacks: Callable[[Iterable[PoolConfig]], Mapping[str, str]]


class Examination:
    """One examination.

    Raises:
        KeyError: there is no user with the given name.
    """

    def __init__(self, config: Config, source: Source, wanted: Wanted) -> None:
        self._config = config
        self._wanted = wanted
        self.pools = [pool for pool in config.pools if not wanted.pools or pool.name in wanted.pools]
        self._running = self._ask_daemon()
        self._dump, self._of_nginx = ask_nginx(wanted.nginx_file)
        self._shell = Shell(wanted.pyfpm, which("setfacl") is not None)
        names = tuple(pool.name for pool in self.pools)
        web = find_web_user(wanted.web_user, self._dump)
        self._request = Request(source, names, web, self._shell)
        pid = self._running.daemon.pid if self._running is not None else 0
        unit = unit_of(pid)
        self._unit = unit.name
        self._properties = show_unit(unit)
        self._machine = look_at_machine(config.global_, pid, self._unit, self._properties)
        self._memories: dict[str, Memory] = {}

    def run(self) -> Iterator[tuple[str, list[Finding]]]:
        """Examine one pool after another, and then what is common to all, whose name is ""."""
        stacks = self._wanted.stacks(self.pools)
        looks = self._look()
        for pool in self.pools:
            found = next(looks) + self._judge_presence(pool.name)
            found += stack_advice.judge(pool, stacks.get(pool.name, ""), self._machine.unit)
            found += self._judge_numbers(pool, self._try(pool, found))
            if self._dump is not None:
                found += self._judge_nginx(pool, self._dump)
            yield pool.name, in_order(_placed(pool, one) for one in found)
        yield "", in_order(self._judge_machine())

    def _ask_daemon(self) -> Snapshot | None:
        try:
            return fetch_snapshot(self._wanted.control, workers=True)
        except FpmError:
            return None  # it does not run, or is not this user's

    def _look(self) -> Iterator[list[Finding]]:
        """Look at the paths of each pool; one that hangs is given up, and the next ones are looked at without it."""
        left = [pool.name for pool in self.pools]
        while left:
            with helper("fpm.doctor.look", pack_request(replace(self._request, pools=tuple(left)))) as looking:
                while left and (answer := looking.read(LOOK_TIME)) is not None:
                    left.pop(0)
                    yield [read_finding(one) for one in answer["findings"]]
            if left:
                name = left.pop(0)
                text = f"a path of this pool does not answer within {LOOK_TIME:g} s: its file system hangs"
                yield [Finding("paths", "problem", text, name)]

    def _try(self, pool: PoolConfig, found: list[Finding]) -> Tried:
        """Start the application, unless it is known that it cannot be."""
        lacking = self._config.obstacles.get(pool.name, ())
        covered = {"venv": "venv", "python": "venv"}
        for line in lacking:
            directive = line.partition("] ")[2].partition(":")[0]
            if covered.get(directive) not in {one.check for one in found}:
                found.append(Finding("test", "problem", line.rstrip("."), pool.name))
        if lacking or not self._wanted.with_import or any(one.check in ("venv", "paths") for one in found):
            return Tried([], None, None)
        present = self._present(pool.name)
        if present is not None and (reason := cannot_be_tried(pool)):
            text = f"the application was not started beside the daemon's own: {reason}. `pyfpm status` says how that is"
            found.append(Finding("import", "note", text, pool.name))
            return Tried([], None, None)
        tried = try_pool(self._request, pool.name)
        found += tried.findings
        if present is not None and present.error and not tried.findings:
            text = f"the running daemon could not start it: {present.error.rstrip('.')}. It would start now"
            command = self._shell.reload(pool.name)
            found.append(Finding("state", "problem", text, pool.name, commands=(command,)))
        return tried

    def _judge_numbers(self, pool: PoolConfig, tried: Tried) -> list[Finding]:
        memory = self._measure_running(pool.name) or tried.memory
        if memory is not None:
            self._memories[pool.name] = memory
        found = capacity.judge_memory(pool, memory, self._machine, self._shell)
        found += capacity.judge_backlog(pool, self._machine, self._shell)
        return found + capacity.judge_worker_descriptors(pool, tried.descriptors, self._shell)

    def _judge_presence(self, name: str) -> list[Finding]:
        """A pool file that is newer than the daemon's configuration: everything is right, and nobody listens."""
        if self._running is None or self._present(name) is not None:
            return []
        text = "the running daemon does not know this pool yet, so nothing listens on its address"
        return [Finding("state", "problem", text, name, commands=(self._shell.reload(name),))]

    def _measure_running(self, name: str) -> Memory | None:
        present = self._present(name)
        workers = [worker.pid for worker in present.workers] if present is not None else []
        return measure_running(workers) if workers else None

    def _present(self, name: str) -> Pool | None:
        """Return what the running daemon says of a pool; None if it has none, or does not run."""
        pools = self._running.pools if self._running is not None else ()
        return next((pool for pool in pools if pool.name == name), None)

    def _judge_nginx(self, pool: PoolConfig, dump: Dump) -> list[Finding]:
        others = [str(other.listen) for other in self._config.pools]
        return nginx.judge(pool, dump, others, shlex.join(nginx_command(self._wanted.nginx_file)))

    def _judge_machine(self) -> list[Finding]:
        found = list(self._of_nginx)
        found += socket_access.hint_of_selinux(selinux_enforces())
        found += capacity.judge_descriptors(self._config, self._machine)
        found += capacity.judge_all_memory(self._config, self._memories, self._machine)
        if self._properties:
            found += service.judge(self._config, self._unit, self._properties)
        if os.geteuid() != 0:
            text = "not everything can be seen by this user; root also sees other users' directories and processes"
            found.append(Finding("user", "note", text))
        return found


def _placed(pool: PoolConfig, finding: Finding) -> Finding:
    """Say where the lines of a finding belong, if they are directives of the pool."""
    return replace(finding, where=pool.where) if finding.lines and finding.check != nginx.CHECK else finding
