"""The client of the control socket, for the command line and the library."""

from __future__ import annotations

import base64
import contextlib
import json
import math
import os
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from fpm.errors import ControlError
from fpm.status.past.exchange import PAST_MAX, Past, read_past, with_past
from fpm.status.snapshot import Snapshot, read_snapshot
from fpm.system.unix_sockets import connect_unix

ANSWER_TIME = 60.0
"""Seconds to wait for an answer; the master answers from memory, so more means that it is stopped (SIGSTOP)."""
END_TIME = 5.0
"""Seconds between the last message of an exiting master and its exit."""
LOOK_TIME = 1.0
"""Seconds between two calls of `while_waiting`."""
PEER_CREDENTIALS = struct.Struct("iII")


def ask(path: str, request: dict[str, Any]) -> dict[str, Any]:
    """Send one request and return the answer.

    Raises:
        ControlError: no daemon answers, or it refuses the request.
    """
    with _connect(path) as connection:
        return _exchange(connection, path, request)


def follow(path: str, request: dict[str, Any], progress: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Send a request and wait for the outcome without a time limit; intermediate steps go to `progress`.

    Raises:
        ControlError: no daemon answers, it refuses the request, or it exits in the meantime.
    """
    with _connect(path) as connection:
        connection.settimeout(None)
        for message in _answers(connection, path, request):
            if "ok" not in message:
                progress(message)
            elif message["ok"] or "complaints" in message:
                return message
            else:
                raise ControlError(str(message.get("error", "refused")))
    raise ControlError("the master exited before the outcome was known")


def read_step(message: dict[str, Any]) -> str:
    """Return a message that follow() passes to `progress` as one line, the plan as several."""
    if "plan" in message:
        return "\n".join(message["plan"])
    if "pool" in message:
        return f"pool {message['pool']}: {message.get('step', '')}"
    if "swapped" in message:
        return f"{message['swapped']} of {message['of']} workers swapped"
    return str(message.get("step", ""))


def stop(path: str, *, now: bool, timeout: float, while_waiting: Callable[[], None] = lambda: None) -> int:
    """Stop the daemon and wait until its process has exited.

    Args:
        now: fast, without letting requests finish.
        timeout: seconds to wait; 0: no limit.
        while_waiting: called every second.

    Returns:
        Its pid.

    Raises:
        ControlError: no daemon answers, or it has not exited in time.
    """
    with _connect(path) as connection:
        data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEER_CREDENTIALS.size)
        pid: int = PEER_CREDENTIALS.unpack(data)[0]
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            return pid  # it was already exiting
        try:
            _stop(connection, path, now=now, pidfd=pidfd)
            if not _wait_for_end(pidfd, timeout, while_waiting):
                raise ControlError(f"the master (pid {pid}) has not exited within {timeout:g} s; it is still stopping")
        finally:
            os.close(pidfd)
    return pid


def _stop(connection: socket.socket, path: str, *, now: bool, pidfd: int) -> None:
    try:
        _exchange(connection, path, {"command": "stop", "now": now})
    except ControlError:
        # No answer because something else has stopped the master, which is the wanted outcome.
        if not _has_ended(pidfd, END_TIME):
            raise


def _wait_for_end(pidfd: int, timeout: float, while_waiting: Callable[[], None]) -> bool:
    deadline = time.monotonic() + (timeout or math.inf)
    while not _has_ended(pidfd, max(min(deadline - time.monotonic(), LOOK_TIME), 0.0)):
        if time.monotonic() >= deadline:
            return False
        while_waiting()
    return True


def _has_ended(pidfd: int, timeout: float | None) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(None if timeout is None else timeout * 1000))


def _connect(path: str) -> socket.socket:
    try:
        connection = connect_unix(path, ANSWER_TIME)
    except (FileNotFoundError, ConnectionRefusedError):
        raise ControlError(f"pyfpm is not running with this configuration (no listener on {path})") from None
    except PermissionError:
        raise ControlError(
            f"permission denied on {path}: only root and the user that the daemon runs as may control it, "
            "and must be able to reach the directory of [global] control"
        ) from None
    except OSError as error:
        raise ControlError(f"cannot connect to the control socket {path}: {error.strerror}") from error
    connection.settimeout(ANSWER_TIME)
    return connection


def _exchange(connection: socket.socket, path: str, request: dict[str, Any]) -> dict[str, Any]:
    answer = next(_answers(connection, path, request), None)
    if answer is None:
        raise ControlError(f"the master closed {path} without an answer; it has exited")
    if not (answer.get("ok") or "complaints" in answer):
        raise ControlError(str(answer.get("error", "refused")))
    return answer


def _answers(connection: socket.socket, path: str, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Send the request and yield each line of the answer until the connection ends, for whatever reason."""
    # A master that refuses sends the reason and closes, maybe before the request has been sent.
    with contextlib.suppress(BrokenPipeError):
        connection.sendall(json.dumps(request).encode() + b"\n")
    try:
        with connection.makefile("rb") as lines:
            for line in lines:
                yield _read_answer(line, path)
    except ConnectionResetError:
        return
    except TimeoutError as error:
        raise ControlError(f"the master does not answer on {path} within {ANSWER_TIME:g} s; is it stopped?") from error
    except OSError as error:
        raise ControlError(f"the master does not answer on {path}: {error}") from error


def _read_answer(line: bytes, path: str) -> dict[str, Any]:
    """Read a line of an answer, which another program may have written that listens at the path."""
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ControlError(f"what answers on {path} is no master of pyfpm: {error}") from error
    if not isinstance(answer, dict):
        raise ControlError(f"what answers on {path} is no master of pyfpm: its answer is no JSON object")
    return answer


def fetch_snapshot(
    path: str, pool: str | None = None, *, workers: bool, routes: bool = False, past: bool = False
) -> Snapshot:
    """Fetch the pools' current numbers.

    Args:
        path: the control socket.
        pool: only this one.
        workers: include each worker.
        routes: include what is counted for each route; only of one pool.
        past: what is known of their past, too: of one pool all, of all pools without the points of their history.

    Raises:
        ControlError: nobody answers, there is no such pool, or the master is of another version.
    """
    answer = ask(path, {"command": "snapshot", "pool": pool, "workers": workers, "routes": routes})
    try:
        snapshot = read_snapshot(base64.b64decode(answer["snapshot"]))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise unreadable(error) from error
    if not past:
        return snapshot
    known = _fetch_past(path, pool)
    return replace(snapshot, pools=tuple(with_past(one, known.get(one.name)) for one in snapshot.pools))


def unreadable(error: Exception) -> ControlError:
    """Return what to raise where an answer lacks what it should have."""
    return ControlError(f"the master's answer cannot be read; it may be a different version (pyfpm upgrade): {error!r}")


def _fetch_past(path: str, pool: str | None) -> dict[str, Past]:
    """Fetch what the status process knows, by the names of the pools; nothing where there is none."""
    try:
        with _connect(path) as connection:
            request = {"command": "history", "pool": pool, "points": pool is not None}
            connection.sendall(json.dumps(request).encode() + b"\n")
            _, fds, _, _ = socket.recv_fds(connection, 4096, 1)
        with ExitStack() as stack:
            files = [stack.enter_context(open(fd, "rb", buffering=0)) for fd in fds]
            return read_past(os.pread(files[0].fileno(), PAST_MAX, 0)) if files else {}
    except (ControlError, OSError, ValueError, RecursionError):
        return {}  # an older master, or a status process that knows nothing yet
