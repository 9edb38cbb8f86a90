"""A real pyfpm for a test: configuration in a directory of its own, readiness by sd_notify, and a strict end.

    def test_hello(daemon):
        fpm = daemon({"www": {"app": "hello:application", "pm.max_children": 2}})
        assert fpm.get("www", "/").status == 200

`daemon` is the fixture of tests/conftest.py. When the test is over, each Daemon must have no more descriptors than when
it was ready (but for those of more processes and pools, and what `expect_descriptors` says). Then it is stopped
gracefully and must leave exit code 0, no process, no zombie, no socket or pid file, and no log line of level WARNING or
above that the test has not announced with `expect_log`.
"""

from __future__ import annotations

import base64
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import psutil

from fpm.status.reports import report_pool
from fpm.status.snapshot import Pool, read_snapshot
from tests.support import commands, control, raw_fastcgi
from tests.support.directories import close_directory, open_directory
from tests.support.holdings import Holdings, HoldingsWatch, count_holdings, count_kinds, steady
from tests.support.interpreter import pool_python, pyfpm_command
from tests.support.processes import Child, children, descendants, describe_process, end_strays, no_zombies, spawn_logged
from tests.support.waiting import wait_until

APPS = Path(__file__).parent.parent / "apps"
IS_ROOT = os.geteuid() == 0
POOL_USER = "nobody"
TROUBLE = re.compile(r"^\[[^]]+\] (WARNING|ERROR|ALERT): ")
STOP_TIMEOUT = 60.0
EVERYWHERE = dict(pair.split("=", 1) for pair in os.environ.get("PYFPM_TEST_POOL", "").split(";") if pair)
"""What all pools get that do not say otherwise, as in `PYFPM_TEST_POOL="seccomp=strict" pytest tests/process`."""
LOG_SHOWN = 20_000

Settings = Mapping[str, object]


def spell(value: object) -> str:
    """A value as a configuration file spells it."""
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


class Daemon:
    """One master, started by `start`. Attributes: directory, apps (the pools' chdir), pid (once started)."""

    def __init__(self, pools: Mapping[str, Settings], *, global_: Settings | None = None) -> None:
        self.directory = open_directory()
        self.apps = self.directory / "apps"
        shutil.copytree(APPS, self.apps, ignore=shutil.ignore_patterns("__pycache__"))
        self.apps.chmod(0o755)
        self.config_file = self.directory / "pyfpm.conf"
        self.log_file = self.directory / "stderr.log"
        self.pid_file = self.directory / "pyfpm.pid"
        self.control = self.directory / "control.sock"
        self.pid = 0
        self.expected_exit = 0
        """Exit code the master must end with; negative if the test kills it, and then files may be left."""
        self.states: list[str] = []
        """Every STATUS=, READY= ... line that came over NOTIFY_SOCKET."""
        self._expected: list[re.Pattern[str]] = []
        self._holdings: HoldingsWatch | None = None
        self._kept: Counter[str] = Counter()
        self._pools = 0
        self._listen: dict[str, raw_fastcgi.Address] = {}
        self._process: Child | None = None
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._notify.bind(str(self.directory / "notify"))
        self.configure(pools, global_=global_)

    # --- configuration and start ------------------------------------------------------------------------------------

    def configure(self, pools: Mapping[str, Settings], *, global_: Settings | None = None) -> None:
        """Write the configuration file; what a pool does not set gets a value that suits tests.

        Where there is no address of the status process, there is no such process, unless `status_history` is set: most
        tests need none, and some count descriptors and processes.
        """
        self._pools = len(pools)
        lines = ["[global]"]
        given = {**(global_ or {})}
        if "status_listen" not in given and not any(pool.get("pm.status_listen") for pool in pools.values()):
            given.setdefault("status_history", "no")
        values = {"pid": self.pid_file, "control": self.control, **given}
        lines += [f"{name} = {spell(value)}" for name, value in values.items()]
        for pool, settings in pools.items():
            lines += ["", f"[{pool}]"]
            lines += [f"{name} = {spell(value)}" for name, value in self._pool(pool, settings).items()]
        self.config_file.write_text("\n".join(lines) + "\n")

    def _pool(self, name: str, settings: Settings) -> dict[str, object]:
        values: dict[str, object] = {
            "listen": self.directory / f"{name}.sock",
            "app": "hello:application",
            "chdir": self.apps,
            "python": pool_python(),
            "pm": "static",
            "pm.max_children": 1,
        }
        if IS_ROOT:
            values |= {"user": POOL_USER, "listen.mode": "0666"}
        values |= EVERYWHERE if settings.get("no_new_privs") is not False else {}
        if "venv" in settings:
            del values["python"]
        values |= settings
        if values["listen"] is not None:
            self._listen[name] = _address(str(values["listen"]), self.directory)
        return {key: value for key, value in values.items() if value is not None}

    def start(
        self,
        *arguments: str,
        environ: Mapping[str, str] | None = None,
        ready: bool = True,
        wrapper: Sequence[str] = (),
        whole: bool = False,
    ) -> Daemon:
        """Run `pyfpm -c FILE run` (or other arguments instead of `run`) and wait for READY=1.

        A master without arguments, variables or a wrapper of its own comes from the command server, if there is one:
        half of what a start costs is imports, the same for all. `whole` is for a test that measures the process.

        Args:
            wrapper: a command that executes its arguments, such as setpriv(1), with the same pid.
        """
        variables = {**os.environ, "NOTIFY_SOCKET": str(self.directory / "notify"), **(environ or {})}
        given = ["-c", str(self.config_file), *(arguments or ("run",))]
        while select.select([self._notify], [], [], 0)[0]:  # what a former master has said last
            self._hear()
        self.states = [state for state in self.states if state != "READY=1"]
        if whole or arguments or environ or wrapper:
            self.watch(spawn_logged([*wrapper, pyfpm_command(), *given], variables, self.log_file))
        else:
            self.watch(commands.spawn(given, variables, self.log_file))
        if ready:
            self.wait_ready()
        return self

    def start_background(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Run `pyfpm -c FILE OPTIONS start`; if it succeeds, the daemon is watched from then on.

        Give it an error_log (`global_={"error_log": "error.log"}`, found by `log`): it has no standard error.
        """
        command = [pyfpm_command(), "-c", str(self.config_file), *options, "start"]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
        )
        if self.pid_file.exists():
            self.watch(int(self.pid_file.read_text()))
            self._holdings = HoldingsWatch(self._count_holdings)
        return done

    def cli(
        self,
        *arguments: str,
        wrapper: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
        timeout: float = 60.0,
    ) -> subprocess.CompletedProcess[str]:
        """Run another `pyfpm -c FILE ARGUMENTS` to its end, with both outputs caught.

        A short one without an environment or a wrapper of its own is run by the command server, if there is one.
        """
        given = ["-c", str(self.config_file), *arguments]
        variables = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"} | dict(environ or {})
        if not wrapper and not environ and arguments and arguments[0] in commands.SHORT:
            return commands.run(given, variables, timeout=timeout)
        return commands.run_whole([*wrapper, pyfpm_command(), *given], variables, timeout=timeout)

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """Begin another `pyfpm -c FILE ARGUMENTS`, both outputs caught; the caller waits (`communicate`)."""
        variables = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
        command = [pyfpm_command(), "-c", str(self.config_file), *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=variables, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True)

    def watch(self, pid: int) -> None:
        """Take this process for the master: the one just started, or a daemon adopted by the test process."""
        self.pid = pid
        self._process = Child(pid)

    def wait_ready(self, *, timeout: float = 60.0) -> None:
        """Block until the master says READY=1; AssertionError with its log if it ends first or says nothing."""
        self.wait_notify("READY=1", timeout=timeout)
        self._holdings = HoldingsWatch(self._count_holdings)

    def forget_notify(self) -> None:
        """Forget all that the master has said so far; it drops what does not fit into the queue of its messages."""
        self.states.clear()
        while select.select([self._notify], [], [], 0)[0]:
            self._notify.recv(65536)

    def wait_notify(self, line: str, *, timeout: float = 60.0) -> None:
        """Block until `line` has come in a datagram of its own sending, and forget it."""
        assert self._process is not None, "not started"
        deadline = time.monotonic() + timeout
        while line not in self.states:
            left = max(0.0, deadline - time.monotonic())
            waiting = [self._notify] if self._process.status is not None else [self._notify, self._process.pidfd]
            readable = select.select(waiting, [], [], left)[0]
            if self._notify in readable:
                self._hear()
            elif not readable or self._process.wait(0) is not None:
                raise AssertionError(f"no {line} (exit code {self._process.status}); the log:\n{self.log()}")
        self.states.remove(line)

    def _hear(self) -> None:
        self.states += self._notify.recv(65536).decode().splitlines()

    # --- what a test asks -------------------------------------------------------------------------------------------

    def address(self, pool: str) -> raw_fastcgi.Address:
        """Where the pool listens: a path, or (host, port)."""
        return self._listen[pool]

    def get(self, pool: str, path: str = "/", *, query: str = "", timeout: float = 60.0) -> raw_fastcgi.Reply:
        """GET on a connection of its own, as nginx would ask."""
        return raw_fastcgi.get(self.address(pool), path, query=query, timeout=timeout)

    def figures(self, pool: str) -> dict[str, Any]:
        """What `pyfpm status POOL --full --format json` would print, without a process for it."""
        figures: dict[str, Any] = json.loads(report_pool(self.pool(pool), "json", full=True))
        return figures

    def stages(self, pool: str) -> list[str]:
        """What each worker of a pool does, in the words of `pyfpm status`."""
        return [worker.state for worker in self.pool(pool).workers]

    def pool(self, pool: str) -> Pool:
        """What the status knows of a pool, with its workers."""
        answer = self.ask("snapshot", pool=pool, workers=True)
        (found,) = read_snapshot(base64.b64decode(answer["snapshot"])).pools
        return found

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """The last message that the master answers to a command on the control socket."""
        *_, last = control.messages(self.control, command, **arguments)
        return last

    def wait_active(self, pool: str, count: int) -> None:
        """Wait until that many workers of a pool are busy."""
        wait_until(lambda: self.figures(pool)["active processes"] == count)

    def log(self) -> str:
        """All that was written to the error log (or standard error) so far."""
        text = self.log_file.read_text(errors="replace") if self.log_file.exists() else ""
        more = self.directory / "error.log"
        return text + (more.read_text(errors="replace") if more.exists() else "")

    def wait_log(self, pattern: str, *, timeout: float = 60.0) -> re.Match[str]:
        """Wait for a line that matches; it is an expected one from then on."""
        self.expect_log(pattern)
        found = re.compile(pattern, re.MULTILINE)
        return wait_until(
            lambda: found.search(self.log()),
            timeout=timeout,
            message=lambda: f"no log line matches {pattern!r}; the log:\n{self.log()}",
        )

    def expect_log(self, *patterns: str) -> None:
        """Allow lines of level WARNING and above that match one of the patterns (re.search)."""
        self._expected += [re.compile(pattern) for pattern in patterns]

    def describe(self) -> str:
        """The master's family as it is now, and the end of the log; for whoever looks for the reason of a failure."""
        family = [psutil.Process(self.pid), *descendants(self.pid)] if psutil.pid_exists(self.pid) else []
        return "\n".join([*map(describe_process, family), self.log()[-LOG_SHOWN:]])

    def processes(self, title: str = "") -> list[psutil.Process]:
        """The descendants whose title contains `title` (`pool www`, `template www`)."""
        return [p for p in descendants(self.pid) if title in title_of(p)]

    def workers(self, pool: str) -> list[int]:
        """Pids of a pool's workers, by process title."""
        return sorted(p.pid for p in descendants(self.pid) if title_of(p) == f"pyfpm: pool {pool}")

    def templates(self, pool: str) -> list[int]:
        """Pids of a pool's templates, without what they have forked, which bears their title for a moment."""
        return [p.pid for p in children(self.pid) if title_of(p) == f"pyfpm: template {pool}"]

    def wait_workers(self, pool: str, count: int, *, timeout: float = 60.0) -> list[int]:
        """Wait until the pool has exactly `count` workers: those."""
        (found,) = wait_until(
            lambda: [pids for pids in [self.workers(pool)] if len(pids) == count],
            timeout=timeout,
            message=lambda: f"pool {pool} has not {count} workers; the log:\n{self.log()}",
        )
        return found

    @contextmanager
    def no_descriptor_leak(self) -> Iterator[None]:
        """Assert that the master has no more descriptors of any kind after the block, given time to settle."""
        before = steady(lambda: count_kinds(self.pid))
        yield
        wait_until(
            lambda: not count_kinds(self.pid) - before,
            message=lambda: f"descriptors of the master before {dict(before)} and after {dict(count_kinds(self.pid))}",
        )

    def expect_descriptors(self, **kinds: int) -> None:
        """Allow the master so many more descriptors at the end than when it was ready (`file=1, socket=2`)."""
        self._kept.update(kinds)

    def _count_holdings(self) -> Holdings:
        return count_holdings(self.pid, self._pools, has_failed="failed to start" in self.log())

    # --- the end ----------------------------------------------------------------------------------------------------

    def signal(self, number: int) -> None:
        """Send the master a signal."""
        assert self._process is not None, "not started"
        self._process.signal(number)

    def wait(self, timeout: float = STOP_TIMEOUT) -> int | None:
        """The exit code of the master, None if it lives on after `timeout` seconds."""
        assert self._process is not None, "not started"
        return self._process.wait(timeout)

    def forget(self) -> None:
        """The start has failed as the test wanted: its exit code is no problem, and nothing of it may be left."""
        assert self._process is not None, "not started"
        assert self._process.status is not None, "it runs"
        self._process = None

    def finish(self) -> None:
        """Stop the master and make every check; the directory is removed in any case."""
        try:
            problems = [] if self._process is None else self._stop(self._process)
            log = self.log()
            problems += [f"unexpected in the log: {line}" for line in self._unexpected(log)]
            if self._process is not None:
                problems += [f"left behind: {path.name}" for path in self._leftovers()]
        finally:
            self._notify.close()
            close_directory(self.directory)
        assert not problems, "\n".join(problems) + f"\nthe log:\n{log[-LOG_SHOWN:]}"

    def _stop(self, process: Child) -> list[str]:
        family = descendants(self.pid)
        problems: list[str] = []
        if process.status is None and process.alive():
            try:
                no_zombies(self.pid)
            except AssertionError as error:
                problems.append(str(error))
            if self._holdings is not None and (leak := self._holdings.leak(self._kept)):
                problems.append(f"descriptors left open by the master: {leak}")
            family = descendants(self.pid)
            process.signal(signal.SIGQUIT)
        if process.wait(STOP_TIMEOUT) is None:
            problems.append(f"the master did not stop within {STOP_TIMEOUT} s of SIGQUIT")
            process.signal(signal.SIGKILL)
            process.wait(STOP_TIMEOUT)
        elif process.status != self.expected_exit:
            problems.append(f"exit code {process.status}")
        family += psutil.Process().children(recursive=True) if problems else []
        strays = end_strays([p for p in set(family) if p.pid != self.pid and title_of(p).startswith("pyfpm")])
        return problems + [f"process left behind: {stray}" for stray in strays]

    def _unexpected(self, log: str) -> list[str]:
        lines = [line for line in log.splitlines() if TROUBLE.search(line)]
        return [line for line in lines if not any(pattern.search(line) for pattern in self._expected)]

    def _leftovers(self) -> list[Path]:
        if self.expected_exit < 0:
            return []
        found = [path for path in self.directory.iterdir() if path.is_socket() and path.name != "notify"]
        return found + ([self.pid_file] if self.pid_file.exists() else [])


def _address(listen: str, prefix: Path) -> raw_fastcgi.Address:
    if listen.startswith("@"):
        return f"\0{listen[1:]}"
    if "/" in listen:
        return str(prefix / listen)
    host, _, port = listen.rpartition(":")
    return (host.strip("[]") or "127.0.0.1", int(port))


def title_of(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline()).rstrip()
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return ""


class Start(Protocol):
    """The fixture `daemon`: start a master with these pools, or only write its configuration (`started=False`)."""

    def __call__(
        self,
        pools: Mapping[str, Settings],
        *,
        global_: Settings | None = None,
        environ: Mapping[str, str] | None = None,
        started: bool = True,
    ) -> Daemon: ...
