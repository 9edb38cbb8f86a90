"""Bytes in and out of a connection's descriptor, which is non-blocking; waiting is bounded here."""

from __future__ import annotations

import os
import select
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from signal import SIG_DFL, SIG_IGN, SIGPIPE, getsignal, signal
from typing import Protocol

from fpm.scoreboard.stages import Stage

READ_SIZE = 65536
_BUFFERS_AT_ONCE = 64
"""Buffers for one writev(2): 32 records, 2 MiB."""
_CHAIN_MAX = 20
"""Exceptions of one chain that are looked at."""


class PeerGone(ConnectionError):
    """The web server closed the connection, aborted the request, or made no progress for too long."""


def ignore_sigpipe() -> None:
    """Undo signal(SIGPIPE, SIG_DFL), a common line of command line tools: a peer that goes away would end the worker.

    A handler of the application's own stays.
    """
    if getsignal(SIGPIPE) == SIG_DFL:
        with suppress(ValueError):  # only the first thread may set it: it does so after the next request
            signal(SIGPIPE, SIG_IGN)


def comes_from_peer(error: BaseException) -> bool:
    """Whether it was raised because the web server is gone, directly or by a framework that turned it into its own."""
    cause: BaseException | None = error
    for _ in range(_CHAIN_MAX):
        if cause is None or isinstance(cause, PeerGone):
            break
        cause = cause.__cause__ or cause.__context__
    return isinstance(cause, PeerGone)


class Waiter(Protocol):
    """Shows that a worker waits for its peer, see fpm.scoreboard.writer."""

    def waiting(self, stage: Stage) -> AbstractContextManager[None]:
        """Wait within it."""


def read_available(fd: int) -> bytes | None:
    """What has come, b"" at the end of the stream or after a reset; None if nothing has come yet."""
    try:
        return os.read(fd, READ_SIZE)
    except BlockingIOError:
        return None
    except ConnectionError:
        return b""


def read_or_wait(fd: int, timeout: float, waiter: Waiter) -> bytes:
    """What has come, after waiting for it; b"" at the end of the stream.

    Raises:
        PeerGone: nothing came for `timeout` seconds.
    """
    data = read_available(fd)
    while data is None:
        with waiter.waiting(Stage.READING_BODY):
            came = wait(fd, select.POLLIN, timeout)
        if not came:
            raise PeerGone(f"no data for {timeout:g} seconds")
        data = read_available(fd)
    return data


def send_all(fd: int, data: bytes, timeout: float, waiter: Waiter | None = None) -> None:
    """Sends all bytes.

    Args:
        timeout: seconds in which the peer has to take something.
        waiter: told when the peer has to be waited for.

    Raises:
        PeerGone: the peer is gone, or takes nothing for `timeout` seconds.
    """
    try:
        sent = os.write(fd, data)
    except BlockingIOError:
        sent = 0
    except OSError as error:
        raise PeerGone(str(error)) from None
    if sent < len(data):
        send_buffers(fd, [memoryview(data)[sent:]], timeout, waiter)


def send_buffers(fd: int, buffers: Sequence[bytes | memoryview], timeout: float, waiter: Waiter | None = None) -> None:
    """Sends all bytes of all buffers; see send_all()."""
    pending = [memoryview(buffer) for buffer in buffers if buffer]
    first = 0
    while first < len(pending):
        try:
            sent = os.writev(fd, pending[first : first + _BUFFERS_AT_ONCE])
        except BlockingIOError:
            with waiter.waiting(Stage.SENDING) if waiter else nullcontext():
                took = wait(fd, select.POLLOUT, timeout)
            if not took:
                raise PeerGone(f"the peer took nothing for {timeout:g} seconds") from None
            continue
        except OSError as error:
            raise PeerGone(str(error)) from None
        while first < len(pending) and sent >= len(pending[first]):
            sent -= len(pending[first])
            first += 1
        if sent:
            pending[first] = pending[first][sent:]


def is_readable(fd: int) -> bool:
    """Whether something has come: bytes, the end of the stream, or on a listening socket a connection."""
    return wait(fd, select.POLLIN, 0)


def wait(fd: int, event: int, timeout: float) -> bool:
    """Waits for an event of poll(2); False if it has not come in `timeout` seconds."""
    poll = select.poll()
    poll.register(fd, event)
    return bool(poll.poll(timeout * 1000))
