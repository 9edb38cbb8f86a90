"""Real workers on a real socket without a master: the test holds the other end of everything the master holds.

with WorkerPool("hello:application", workers=2) as pool:
    assert raw_fastcgi.get(pool.address, "/").status == 200
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from fpm.protocol.messages import Command, Event, LogText, WorkerReady, pack, unpack_event
from fpm.protocol.spec import WorkerSettings
from fpm.scoreboard.memory import Scoreboard, mark_creating
from fpm.scoreboard.stages import Stage
from tests.support.directories import close_directory, open_directory
from tests.support.processes import status_of
from tests.support.waiting import wait_until

ROOT = Path(__file__).parent.parent.parent
APPS = ROOT / "tests" / "apps"

HOTPATH = True
"""Whether workers use the compiled hot path, where the test says nothing else; see tests/component/conftest.py."""
Kind = TypeVar("Kind")


def worker_settings(app: str, **changes: Any) -> WorkerSettings:
    """Settings of a static pool named www with what a test wants to be different."""
    values: dict[str, Any] = {
        "pool": "www",
        "pm": "static",
        "slots": 8,
        "pm_max_children": 4,
        "pm_max_requests": 0,
        "pm_max_requests_jitter": 0,
        "pm_max_memory": 0,
        "pm_background_max": 0,
        "pm_status_path": None,
        "pm_status_allow": ["127.0.0.0/8", "::1/128"],
        "ping_path": None,
        "ping_response": "pong",
        "script_name": None,
        "listen_allowed_clients": [],
        "listen_is_unix": True,
        "access_format": "",
        "access_suppress_path": [],
        "log_limit": 1024,
        "request_body_spool": False,
        "read_timeout": 60.0,
        "send_timeout": 60.0,
        "request_slowlog_timeout": 0.0,
        "request_terminate_timeout_track_finished": False,
        "has_access_log": False,
        "app": app,
        "hotpath": HOTPATH,
    }
    return WorkerSettings(**{**values, **changes})


class WorkerProcess:
    """One worker: its process, its channel, and what it has written to its standard streams."""

    def __init__(self, process: subprocess.Popen[bytes], channel: socket.socket, output: Path) -> None:
        self.process = process
        self.pid = process.pid
        self.channel = channel
        self.messages: list[Event] = []
        self._output = output

    def output(self) -> str:
        """Standard output and error so far."""
        return self._output.read_text(errors="replace")

    def receive_all(self) -> list[Event]:
        """All messages that have come, from the beginning."""
        while select.select([self.channel], [], [], 0)[0]:
            data = self.channel.recv(65536)
            if not data:
                break
            self.messages.append(unpack_event(data))
        return self.messages

    def wait_message(self, kind: type[Kind], *, timeout: float = 60.0) -> Kind:
        """The first message of this kind, waiting for it."""

        def found() -> Kind | None:
            return next((message for message in self.receive_all() if isinstance(message, kind)), None)

        return wait_until(
            found, timeout=timeout, message=f"no {kind.__name__}: {self.messages}; output: {self.output()}"
        )

    def logged(self) -> str:
        """The texts of its log messages."""
        found = [message for message in self.receive_all() if isinstance(message, LogText)]
        return "\n".join(f"{one.request}: {one.text}" if one.request else one.text for one in found)

    def command(self, command: Command, *fds: int) -> None:
        """A message from the master."""
        socket.send_fds(self.channel, [pack(command)], list(fds))

    def cpu_seconds(self) -> float:
        """User and system time so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_peak(self) -> int:
        """VmHWM in bytes."""
        return int(status_of(self.pid)["VmHWM"].split()[0]) * 1024

    def sleeps(self) -> bool:
        """Whether it waits for somebody: one that has only lost its processor does not."""
        return status_of(self.pid)["State"].startswith("S")


class WorkerPool:
    """Some workers that share a socket, a scoreboard and a parking socket."""

    def __init__(
        self,
        app: str,
        *,
        workers: int = 1,
        tcp: bool = False,
        access_log: Path | None = None,
        python: str = sys.executable,
        apps: Path = APPS,
        board: Scoreboard | None = None,
        **settings: Any,
    ) -> None:
        self.directory = open_directory()
        self.settings = worker_settings(app, listen_is_unix=not tcp, has_access_log=access_log is not None, **settings)
        self.board = board or Scoreboard.create(self.settings.slots)
        self.wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._park = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._access_log = access_log
        self._python = python
        self._apps = apps
        self.workers: list[WorkerProcess] = []
        self.listener = socket.socket(socket.AF_INET if tcp else socket.AF_UNIX, socket.SOCK_STREAM)
        self.address: Any = ("127.0.0.1", 0) if tcp else str(self.directory / "pool.sock")
        self.listener.bind(self.address)
        if tcp:
            self.address = self.listener.getsockname()
        else:
            os.chmod(self.address, 0o666)
        self.listener.listen(511)
        for sock in (self.listener, *self._park):
            sock.setblocking(False)
        for _ in range(workers):
            self.start_worker()

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        codes = self.close()
        assert kind is not None or not any(codes), f"exit codes of the workers: {codes}"

    def start_worker(self) -> WorkerProcess:
        """One more worker; returns when it is ready."""
        slot = len(self.workers)
        mark_creating(self.board.view, self.settings.slots, slot)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        descriptors = {
            "scoreboard": self.board.fd,
            "wake": self.wake,
            "park_take": self._park[0].fileno(),
            "park_put": self._park[1].fileno(),
            "listen": self.listener.fileno(),
            "channel": theirs.fileno(),
        }
        log = -1
        if self._access_log is not None:
            log = descriptors["access_log"] = os.open(self._access_log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        description = {
            "settings": asdict(self.settings),
            "descriptors": descriptors,
            "slot": slot,
            "apps": str(self._apps),
        }
        output = self.directory / f"worker{slot}.log"
        with output.open("wb") as file:
            process = subprocess.Popen(
                [self._python, "-m", "tests.support.worker_main", json.dumps(description)],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                cwd=ROOT,
                pass_fds=list(descriptors.values()),
            )
        theirs.close()
        if log >= 0:
            os.close(log)
        worker = WorkerProcess(process, ours, output)
        self.workers.append(worker)
        worker.wait_message(WorkerReady)
        return worker

    @property
    def worker(self) -> WorkerProcess:
        """The first worker."""
        return self.workers[0]

    def is_reading_body(self) -> bool:
        """Whether the first worker waits for the body of its request."""
        return self.board.stages[0] == Stage.READING_BODY

    def is_held_up(self) -> bool:
        """Whether the first worker waits until somebody takes more of its response."""
        return self.board.stages[0] == Stage.SENDING and self.worker.sleeps()

    def logged(self) -> str:
        """All texts that the workers have sent for the error log."""
        return "\n".join(text for worker in self.workers if (text := worker.logged()))

    def close(self) -> list[int]:
        """Tells all workers to quit and waits for them; their exit codes (negative: a signal)."""
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.channel.close()
        codes = []
        for worker in self.workers:
            try:
                codes.append(worker.process.wait(60))
            except subprocess.TimeoutExpired:
                worker.process.send_signal(signal.SIGKILL)
                codes.append(worker.process.wait(10))
            worker.channel.close()
        self.workers.clear()
        self.listener.close()
        for sock in self._park:
            sock.close()
        if self.directory.exists():
            close_directory(self.directory)
        if self.wake >= 0:
            os.close(self.wake)
            self.wake = -1
            self.board.close()
        return codes
