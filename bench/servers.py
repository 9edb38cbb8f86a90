"""The contestants: each is started on a Unix socket with the same application and the same number of workers."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench import measure

BENCH = Path(__file__).parent
PEERS_VENV = BENCH.parent / "build" / "bench-venv"
PEERS = ("gunicorn>=23,<26", "flup6>=1.1.1")
IS_ROOT = os.geteuid() == 0


@dataclass
class Server:
    """A running server. `directive` is the line for nginx's location block."""

    name: str
    process: subprocess.Popen[bytes]
    socket: Path
    directive: str

    @property
    def has_ended(self) -> bool:
        """Has the master gone?"""
        return self.process.poll() is not None

    def workers(self) -> list[int]:
        """The pids that answer requests."""
        return measure.children(self.process.pid)

    def begin_reload(self) -> subprocess.Popen[bytes] | None:
        """Let it load the application anew, as its manual says; returns the process that waits for it, if any."""
        if not self.has_ended:
            self.process.send_signal(signal.SIGHUP)
        return None

    def stop(self) -> None:
        """Ask, then kill; the children with it."""
        family = self._family()
        if not self.has_ended:
            self.process.send_signal(signal.SIGINT if self.name.startswith("uWSGI") else signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for left in psutil.wait_procs(family, timeout=2)[1]:
            left.kill()

    def _family(self) -> list[psutil.Process]:
        """Also workers whose master has ended: each peer has a session of its own, whose number is the master's pid."""
        return measure.session(self.process.pid)


class Pyfpm(Server):
    """Workers are the grandchildren: the children are the pools' templates."""

    def workers(self) -> list[int]:
        """By process title."""
        return [child.pid for child in self._family() if " ".join(child.cmdline()).startswith("pyfpm: pool ")]

    def begin_reload(self) -> subprocess.Popen[bytes] | None:
        """`pyfpm reload`, which waits for the outcome."""
        *command, _ = self.process.args if isinstance(self.process.args, list) else []
        with (self.socket.parent / "reload.log").open("ab") as log:
            return subprocess.Popen([*command, "reload"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _family(self) -> list[psutil.Process]:
        """Each template has a session of its own."""
        return [] if self.has_ended else psutil.Process(self.process.pid).children(recursive=True)


def python() -> str:
    """The interpreter of every contestant: Debian's, which is the one inside uWSGI, else ours."""
    debian = "/usr/bin/python3"
    return debian if sys.version_info[:2] == (3, 11) and os.access(debian, os.X_OK) else sys.executable


def peers_venv() -> Path:
    """The virtual environment with Gunicorn and flup6, made when first needed; its bin directory."""
    ready = PEERS_VENV / ".ready"
    if not ready.exists():
        print("installing Gunicorn and flup6 for the comparison", file=sys.stderr)
        subprocess.run([python(), "-m", "venv", PEERS_VENV], check=True, timeout=120)
        pip = [PEERS_VENV / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "-q", "install", *PEERS]
        subprocess.run(pip, check=True, timeout=300)
        ready.touch()
    return PEERS_VENV / "bin"


def pool_text(name: str, directory: Path, settings: Iterable[str], *, application: Path = BENCH) -> str:
    """A pool of the benchmark's application."""
    lines = [f"[{name}]", f"listen = {directory / name}.sock", f"chdir = {application}", "app = hello:application"]
    lines += ["listen.mode = 0666", f"python = {python()}", *(["user = root"] if IS_ROOT else []), *settings]
    return "\n".join(lines) + "\n"


def start_master(directory: Path, pools: str, *, timeout: float = 60.0) -> subprocess.Popen[bytes]:
    """`pyfpm run` with these pools; returns at READY=1."""
    file = directory / "pyfpm.conf"
    file.write_text(f"[global]\ncontrol = {directory}/control\npid = {directory}/pyfpm.pid\n{pools}")
    notify = directory / "notify"
    notify.unlink(missing_ok=True)
    command = [Path(sys.executable).with_name("pyfpm"), "-c", file, *(["-R"] if IS_ROOT else []), "run"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
        ready.bind(str(notify))
        ready.settimeout(0.1)
        with (directory / "pyfpm.log").open("ab") as log:
            environ = {**os.environ, "NOTIFY_SOCKET": str(notify)}
            process = subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            measure.wait_for(
                lambda: process.poll() is not None or _says_ready(ready), "pyfpm is ready", timeout=timeout
            )
            if process.poll() is not None:
                raise RuntimeError(f"pyfpm ended with status {process.returncode}")
        except RuntimeError as error:
            process.kill()
            process.wait()
            raise RuntimeError(f"{error}; its log: {(directory / 'pyfpm.log').read_text()[-2000:]}") from None
    return process


def _says_ready(notify: socket.socket) -> bool:
    try:
        return b"READY=1" in notify.recv(65536)
    except TimeoutError:
        return False


def start_pyfpm(directory: Path, workers: int, *, application: Path = BENCH) -> Server:
    """A static pool. `application` is the directory with hello.py, here and below."""
    settings = ["pm = static", f"pm.max_children = {workers}"]
    process = start_master(directory, pool_text("pyfpm", directory, settings, application=application))
    return Pyfpm("pyfpm", process, directory / "pyfpm.sock", _fastcgi(directory / "pyfpm.sock"))


def start_uwsgi(
    directory: Path, workers: int, *, application: Path = BENCH, need_app: bool = True, name: str = "uWSGI"
) -> Server | None:
    """uWSGI as a FastCGI server, Debian's plugin; None without it."""
    program, path = shutil.which("uwsgi"), directory / "uwsgi.sock"
    if program is None:
        return None
    command = [program, "--plugin", "python3", "--fastcgi-socket", path, "--chmod-socket=666", "--master"]
    command += ["--processes", str(workers), "--chdir", application, "--wsgi", "hello:application", "--disable-logging"]
    process = _start([*command, *(["--need-app"] if need_app else [])], directory / "uwsgi.log")
    return _listening(Server(name, process, path, _fastcgi(path)), workers)


def start_gunicorn(
    directory: Path, workers: int, *, application: Path = BENCH, preload: bool = False, name: str = "Gunicorn sync"
) -> Server:
    """Gunicorn's sync worker, by HTTP."""
    path = directory / "gunicorn.sock"
    command = [peers_venv() / "gunicorn", "--bind", f"unix:{path}", "--workers", str(workers), "--chdir", application]
    command += ["--umask", "0", "--log-level", "warning", *(["--preload"] if preload else []), "hello:application"]
    process = _start(command, directory / "gunicorn.log")
    return _listening(Server(name, process, path, f"proxy_pass http://unix:{path}:/;"), workers)


def start_flup(directory: Path, workers: int) -> Server:
    """flup6's prefork server."""
    path = directory / "flup.sock"
    command = [peers_venv() / "python", BENCH / "flup_server.py", path, str(workers)]
    process = _start(command, directory / "flup.log")
    server = _listening(Server("flup6 prefork", process, path, _fastcgi(path)), workers)
    path.chmod(0o666)
    return server


def _fastcgi(path: Path) -> str:
    return f"include fastcgi_params; fastcgi_pass unix:{path};"


def _start(command: Sequence[object], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def _listening(server: Server, workers: int) -> Server:
    def ready() -> bool:
        if server.process.poll() is not None:
            raise RuntimeError(f"{server.name} ended with status {server.process.returncode}")
        return server.socket.exists() and len(server.workers()) >= workers

    try:
        measure.wait_for(ready, f"{server.name} is ready")
    except RuntimeError:
        server.process.kill()
        server.process.wait()
        raise
    return server
