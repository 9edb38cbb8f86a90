"""The pool behind `pyfpm serve`: a generated configuration in a temporary directory, and `pyfpm run` as a child."""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fpm.client.exchange import send_request
from fpm.client.records import TimeLimits
from fpm.client.request import request_params
from fpm.config.model import UnixAddress
from fpm.errors import EXIT_FAILED, ClientError, FpmError
from fpm.system.own_command import own_command
from fpm.system.prctl import PR_SET_PDEATHSIG, load_prctl
from fpm.system.unix_sockets import make_socket_directory

POOL = "serve"
PING = "/-pyfpm-serve-ping"
STARTUP_TIMEOUT = 60
STOP_TIMEOUT = 10.0


class ServeError(FpmError):
    """`pyfpm serve` cannot start, or its pool has exited."""

    exit_status = EXIT_FAILED


@dataclass(frozen=True, slots=True)
class ServedPool:
    """A pool that has answered pong."""

    process: subprocess.Popen[bytes]
    address: UnixAddress


def pool_file(values: Mapping[str, str]) -> str:
    """Return the text of a configuration file with one pool; `values` are added to what every served pool has.

    Raises:
        ServeError: a value cannot be written in a configuration file.
    """
    lines = ["[global]", *(_line(name, values[name]) for name in ("control", "pid")), "log_level = warning"]
    # Ctrl-C must not wait long for an application that is busy.
    lines += ["process_control_timeout = 3s", "", f"[{POOL}]"]
    lines += [_line(name, value) for name, value in values.items() if name not in ("control", "pid")]
    lines += [f"startup_timeout = {STARTUP_TIMEOUT}s", f"ping.path = {PING}", "clear_env = no"]
    lines += ["catch_workers_output = yes", "decorate_workers_output = no"]
    return "\n".join(lines) + "\n"


def _line(name: str, value: str) -> str:
    """Return `name = value`, in single quotes, in which nothing is replaced."""
    if "'" in value or not value.isprintable():
        raise ServeError(f"{name}: {value!r} has a quote or a control character, which a pool file cannot contain")
    return f"{name} = '{value}'"


def pool_values(directory: Path, app: str, workers: int, environ: Mapping[str, str]) -> dict[str, str]:
    """Return what is specific to this application: the calling user's interpreter, directory and PYTHONPATH."""
    values = {
        "control": str(directory / "control"),
        "pid": str(directory / "pid"),
        "listen": str(directory / "socket"),
        "app": app,
        "chdir": os.getcwd(),
        "python": sys.executable,
        "pm": "dynamic",
        "pm.max_children": str(workers),
        "pm.start_servers": "1",
        "pm.min_spare_servers": "1",
        "pm.max_spare_servers": str(min(2, workers)),
    }
    if os.geteuid() == 0:
        values["user"] = "root"
    if environ.get("PYTHONPATH"):
        values["pythonpath"] = environ["PYTHONPATH"]
    return values


@contextmanager
def served_pool(app: str, workers: int) -> Iterator[ServedPool]:
    """Run the pool; at the end of the context it is stopped and nothing is left behind.

    Raises:
        ServeError: it does not start, or the application cannot be imported (its traceback is on standard error).
    """
    directory = Path(make_socket_directory("pyfpm-serve-"))
    process: subprocess.Popen[bytes] | None = None
    try:
        file = directory / "pyfpm.conf"
        values = pool_values(directory, app, workers, os.environ)
        file.write_text(pool_file(values))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(str(directory / "notify"))
            process = _spawn(file, {**os.environ, "NOTIFY_SOCKET": str(directory / "notify")})
            _wait_ready(notify, process)
        address = UnixAddress(values["listen"])
        _check_application(address, app)
        yield ServedPool(process, address)
    finally:
        try:
            if process is not None:
                _stop(process)
        finally:
            shutil.rmtree(directory, ignore_errors=True)


def _spawn(file: Path, environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Execute `pyfpm -c FILE run` in its own process group: Ctrl-C is for us, and we stop the pool in order."""
    command = own_command("fpm", "-c", str(file), *(["-R"] if os.geteuid() == 0 else []), "run")
    prctl = load_prctl()

    def end_with_parent() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    # There is no thread yet, so preexec_fn is safe.
    return subprocess.Popen(
        command, env=dict(environ), stdin=subprocess.DEVNULL, process_group=0, preexec_fn=end_with_parent
    )


def _wait_ready(notify: socket.socket, process: subprocess.Popen[bytes]) -> None:
    """Block until READY=1 arrives (sd_notify(3)), or the master exits."""
    end = time.monotonic() + STARTUP_TIMEOUT + 15
    pidfd = os.pidfd_open(process.pid)
    try:
        while True:
            readable = select.select([notify.fileno(), pidfd], [], [], max(0.0, end - time.monotonic()))[0]
            if notify.fileno() in readable:
                if b"READY=1" in notify.recv(65536).split(b"\n"):
                    return
            elif readable:
                raise ServeError(f"pyfpm could not start the pool, it exited with status {process.wait()}")
            else:
                raise ServeError("the pool did not become ready in time")
    finally:
        os.close(pidfd)


def _check_application(address: UnixAddress, app: str) -> None:
    """Check that the application works: without one the pool answers every request with 503, even a ping."""
    limits = TimeLimits(connect=STARTUP_TIMEOUT, idle=STARTUP_TIMEOUT)
    try:
        with send_request(address, request_params("GET", PING), limits=limits) as response:
            status = response.head.status
    except ClientError as error:
        raise ServeError(f"the pool does not answer: {error}") from None
    if status == 503:
        raise ServeError(f"{app} cannot be imported; see the reason above")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Stop the pool fast (SIGTERM); kill what is left after STOP_TIMEOUT seconds."""
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
