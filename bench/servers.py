"""A running server, and how it is started and stopped."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil

from bench import measure, tools
from fpm.config.directives import POOL_DIRECTIVES
from fpm.scoreboard.hot_path import HotPath

IS_ROOT = os.geteuid() == 0


@dataclass(frozen=True)
class Setting:
    """What to start.

    Attributes:
        directory: for sockets and logs; each server makes one of its own in it.
        code: the directory of the application.
        application: module:callable.
        settings: more lines of a pool file (pyfpm and PHP-FPM).
    """

    directory: Path
    workers: int = 4
    code: Path = tools.APPS
    application: str = "hello:application"
    settings: tuple[str, ...] = ()

    def having(self, *settings: str) -> Setting:
        """With more lines of a pool file."""
        return replace(self, settings=(*self.settings, *settings))

    def place(self, name: str) -> Path:
        """The server's own directory."""
        place = self.directory / slug(name)
        place.mkdir(exist_ok=True)
        return place


def slug(name: str) -> str:
    """A name for paths and hosts."""
    return re.sub("[^a-z0-9]+", "-", name.lower())


@dataclass(eq=False)
class Server:
    """A running server.

    Attributes:
        protocol: what it speaks: fastcgi, uwsgi or http.
        parameters: more lines for nginx's location block.
    """

    name: str
    process: subprocess.Popen[bytes]
    socket: Path
    protocol: str = "fastcgi"
    parameters: str = ""
    stop_signal: signal.Signals = signal.SIGTERM

    @property
    def has_ended(self) -> bool:
        """Has the master gone?"""
        return self.process.poll() is not None

    def workers(self) -> list[int]:
        """The pids that answer requests."""
        return measure.children(self.process.pid)

    def family(self) -> list[int]:
        """All pids, the master's first."""
        return measure.family(self.process.pid)

    def begin_reload(self) -> subprocess.Popen[bytes] | None:
        """Let it load the application anew, as its manual says; returns the process that waits for it, if any."""
        if not self.has_ended:
            self.process.send_signal(signal.SIGHUP)
        return None

    def stop(self) -> None:
        """Ask, then kill; the children with it."""
        relatives = self._relatives()
        if not self.has_ended:
            self.process.send_signal(self.stop_signal)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for left in psutil.wait_procs(relatives, timeout=2)[1]:
            left.kill()

    def _relatives(self) -> list[psutil.Process]:
        """Also workers whose master has ended: each peer has a session of its own, whose number is the master's pid."""
        return measure.session(self.process.pid)


@dataclass(eq=False)
class Pyfpm(Server):
    """Workers are the grandchildren: the children are the pools' templates."""

    command: Sequence[str | Path] = field(default=(), kw_only=True)

    def workers(self) -> list[int]:
        """By process title."""
        return [pid for pid in self.family() if _title(pid).startswith("pyfpm: pool ")]

    def templates(self) -> list[int]:
        """By process title."""
        return [pid for pid in self.family() if _title(pid).startswith("pyfpm: template ")]

    def hot_path(self) -> HotPath:
        """What the status says of it."""
        done = subprocess.run(
            [*self.command, "status", "--format", "json"], capture_output=True, text=True, check=False
        )
        return HotPath(json.loads(done.stdout)[0]["hot path"])

    def begin_reload(self) -> subprocess.Popen[bytes] | None:
        """`pyfpm reload`, which waits for the outcome."""
        with (self.socket.parent / "reload.log").open("ab") as log:
            return subprocess.Popen([*self.command, "reload"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _relatives(self) -> list[psutil.Process]:
        """Each template has a session of its own."""
        return [] if self.has_ended else psutil.Process(self.process.pid).children(recursive=True)


def _title(pid: int) -> str:
    with measure.gone_is_nothing():
        return " ".join(psutil.Process(pid).cmdline())
    return ""


# ---------------------------------------------------------------- pyfpm


def pool_text(name: str, setting: Setting, settings: Iterable[str], *, directory: Path | None = None) -> str:
    """A pool of the application; those directives only that this pyfpm knows."""
    lines = [f"[{name}]", f"listen = {directory or setting.directory}/{name}.sock", f"chdir = {setting.code}"]
    lines += [f"app = {setting.application}", "listen.mode = 0666", f"python = {tools.venv()}/python"]
    lines += [*(["user = root"] if IS_ROOT else []), *settings, *setting.settings]
    return "\n".join(line for line in lines if _is_known(line)) + "\n"


def knows(directive: str) -> bool:
    """Has this pyfpm the directive? Some are newer than this benchmark."""
    return directive in POOL_DIRECTIVES


def _is_known(line: str) -> bool:
    name = line.partition("=")[0].strip()
    return name != "hotpath" or knows(name)


def start_master(directory: Path, pools: str, *, timeout: float = 60.0) -> tuple[subprocess.Popen[bytes], list[str]]:
    """`pyfpm run` with these pools; returns at READY=1. Also the beginning of a command for its configuration."""
    file = directory / "pyfpm.conf"
    file.write_text(f"[global]\ncontrol = {directory}/control\npid = {directory}/pyfpm.pid\n{pools}")
    notify = directory / "notify"
    notify.unlink(missing_ok=True)
    command = [str(Path(sys.executable).with_name("pyfpm")), "-c", str(file), *(["-R"] if IS_ROOT else [])]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
        ready.bind(str(notify))
        ready.settimeout(0.1)
        process = start([*command, "run"], directory, NOTIFY_SOCKET=str(notify))
        try:
            measure.wait_for(
                lambda: process.poll() is not None or _says_ready(ready), "pyfpm is ready", timeout=timeout
            )
            if process.poll() is not None:
                raise RuntimeError(f"pyfpm ended with status {process.returncode}")
        except BaseException as error:
            process.kill()
            process.wait()
            raise _with_log(error, directory) from None
    return process, command


def _says_ready(notify: socket.socket) -> bool:
    try:
        return b"READY=1" in notify.recv(65536)
    except TimeoutError:
        return False


# ---------------------------------------------------------------- any server


def start(command: Sequence[object], directory: Path, **environment: str) -> subprocess.Popen[bytes]:
    """In a session of its own; what it says goes into a file of the directory."""
    files = {"BENCH_FILES": str(directory.parent)}
    with (directory / "log").open("ab") as output:
        return subprocess.Popen(
            [str(part) for part in command],
            env={**os.environ, **files, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def log_of(directory: Path) -> str:
    """The end of what it said."""
    return (directory / "log").read_text(errors="replace")[-2000:]


def listening(server: Server, workers: int) -> Server:
    """The server when it has its socket and its workers.

    Raises:
        RuntimeError: it has ended, or takes too long.
    """

    def ready() -> bool:
        if server.has_ended:
            raise RuntimeError(f"{server.name} ended with status {server.process.returncode}")
        return server.socket.exists() and len(server.workers()) >= workers

    try:
        measure.wait_for(ready, f"{server.name} is ready")
    except BaseException as error:
        server.stop()
        raise _with_log(error, server.socket.parent) from None
    return server


def _with_log(error: BaseException, directory: Path) -> BaseException:
    """A failure with what the server has said; somebody's wish to end the benchmark as it is."""
    return RuntimeError(f"{error}: {log_of(directory)}") if isinstance(error, RuntimeError) else error
