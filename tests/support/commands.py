"""Runs commands and masters of `pyfpm`: whole ones, or those of tests.support.command_server, which cost a tenth."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.interpreter import pyfpm_command
from tests.support.processes import Child, spawn_logged

SHORT = {"config", "doctor", "explain", "list", "logs", "ping", "reload", "reopen-logs", "request", "rollback", "slow"}
SHORT |= {"status", "stop", "test", "top", "trace", "upgrade", "-t", "-tt"}
"""Those that ask, and end."""
_lock = threading.Lock()
_channel: socket.socket | None = None


@contextmanager
def serving() -> Iterator[None]:
    """While the block runs, `run` has a server; without one it starts Python for each command."""
    global _channel
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    program = Path(__file__).with_name("command_server.py")
    command = [sys.executable, "-I", str(program), str(there.fileno())]
    null = subprocess.DEVNULL
    with here, subprocess.Popen(command, stdin=null, stdout=null, pass_fds=[there.fileno()]) as server:
        there.close()
        _channel = here
        yield
        _channel = None
        here.close()
        server.wait(20)


def run(
    arguments: Sequence[str], environ: Mapping[str, str], *, timeout: float = 60.0
) -> subprocess.CompletedProcess[str]:
    """Run `pyfpm ARGUMENTS` to its end, with both outputs caught; not one that starts a daemon.

    Raises:
        subprocess.TimeoutExpired: it has not ended in so many seconds, and has been killed.
    """
    command = [pyfpm_command(), *arguments]
    if not _has_server(environ):
        return run_whole(command, environ, timeout=timeout)
    outputs = [os.memfd_create("output", os.MFD_CLOEXEC) for _ in range(2)]
    try:
        child = Child(_fork(command, environ, outputs))
        if (status := child.wait(timeout)) is None:
            child.signal(signal.SIGKILL)
            child.wait(20)
            raise subprocess.TimeoutExpired(command, timeout)
        out, err = (os.pread(fd, os.fstat(fd).st_size, 0).decode() for fd in outputs)
        return subprocess.CompletedProcess(command, status, out, err)
    finally:
        for fd in outputs:
            os.close(fd)


def spawn(arguments: Sequence[str], environ: Mapping[str, str], log: Path) -> int:
    """Begin `pyfpm ARGUMENTS`, with both outputs appended to the log; the pid of the child that runs it."""
    command = [pyfpm_command(), *arguments]
    if not _has_server(environ):
        return spawn_logged(command, environ, log)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        return _fork(command, environ, [output, output])
    finally:
        os.close(output)


def _has_server(environ: Mapping[str, str]) -> bool:
    """Whether the server can run a command with these variables; with others the command executes itself again."""
    return _channel is not None and not any(name.startswith("PYTHON") for name in environ)


def _fork(command: Sequence[str], environ: Mapping[str, str], outputs: Sequence[int]) -> int:
    """Have the server make a process for a command; the pid, of a child of this process by then."""
    request = json.dumps({"arguments": command, "environ": dict(environ), "directory": os.getcwd()})
    assert _channel is not None, "no server"
    with _lock:
        socket.send_fds(_channel, [request.encode()], outputs)
        return int(_channel.recv(20))


def run_whole(
    command: Sequence[str], environ: Mapping[str, str], *, timeout: float
) -> subprocess.CompletedProcess[str]:
    """Execute a command, and wait for its end."""
    return subprocess.run(
        command,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
