"""The command line's side of the control socket."""

from __future__ import annotations

import json
import os
import select
import socket
import struct
from collections.abc import Callable
from typing import Any

from fpm.errors import ControlError

ANSWER_TIME = 60.0
"""Seconds to wait for an answer; the master answers from memory, so more means that it is stopped (SIGSTOP)."""
PEER_CREDENTIALS = struct.Struct("iII")


def ask(path: str, request: dict[str, Any]) -> dict[str, Any]:
    """Ask one question and return the answer.

    Raises:
        ControlError: nobody answers, or the answer is a refusal.
    """
    with _connect(path) as connection:
        return _exchange(connection, path, request)


def follow(path: str, request: dict[str, Any], progress: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Ask, and wait for the outcome however long it takes; the steps on the way go to `progress`.

    Raises:
        ControlError: nobody answers, the answer is a refusal, or the master ends meanwhile.
    """
    with _connect(path) as connection:
        connection.settimeout(None)
        try:
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as answers:
                for line in answers:
                    message = json.loads(line)
                    if "ok" not in message:
                        progress(message)
                    elif message["ok"] or "complaints" in message:
                        return dict(message)
                    else:
                        raise ControlError(str(message.get("error", "refused")))
        except OSError as error:
            raise ControlError(f"the master does not answer on {path}: {error}") from error
    raise ControlError("the master ended before the outcome was known")


def stop(path: str, *, now: bool, timeout: float) -> int:
    """Stop the daemon and wait until its process has gone.

    Args:
        now: fast, without letting requests finish.
        timeout: seconds to wait; 0: for ever.

    Returns:
        Its pid.

    Raises:
        ControlError: nobody answers, or it has not ended in time.
    """
    with _connect(path) as connection:
        data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEER_CREDENTIALS.size)
        pid: int = PEER_CREDENTIALS.unpack(data)[0]
        pidfd = os.pidfd_open(pid)
        try:
            _exchange(connection, path, {"command": "stop", "now": now})
            poll = select.poll()
            poll.register(pidfd, select.POLLIN)
            if not poll.poll(timeout * 1000 if timeout else None):
                raise ControlError(f"the master (pid {pid}) has not ended within {timeout:g} s; it goes on stopping")
        finally:
            os.close(pidfd)
    return pid


def _connect(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(ANSWER_TIME)
    try:
        connection.connect(path)
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        raise ControlError(f"no pyfpm runs with this configuration (nobody listens on {path})") from None
    except PermissionError:
        connection.close()
        raise ControlError(f"permission denied on {path}: only root and the master's own user may control it") from None
    except OSError as error:
        connection.close()
        raise ControlError(f"cannot connect to the control socket {path}: {error.strerror}") from error
    return connection


def _exchange(connection: socket.socket, path: str, request: dict[str, Any]) -> dict[str, Any]:
    try:
        connection.sendall(json.dumps(request).encode() + b"\n")
        with connection.makefile("rb") as answers:
            line = answers.readline()
    except OSError as error:
        raise ControlError(f"the master does not answer on {path}: {error}") from error
    if not line:
        raise ControlError(f"the master closed {path} without an answer (are you its user, or root?)")
    answer = json.loads(line)
    if not isinstance(answer, dict) or not (answer.get("ok") or "complaints" in answer):
        raise ControlError(str(answer.get("error", "refused")) if isinstance(answer, dict) else "refused")
    return answer
