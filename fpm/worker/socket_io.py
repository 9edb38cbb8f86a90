"""Bytes in and out of a connection's descriptor, which is non-blocking; waiting is bounded here."""

from __future__ import annotations

import fcntl
import os
import select
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from signal import SIG_DFL, SIG_IGN, SIGPIPE, getsignal, signal

from fpm.fastcgi.constants import HEADER

READ_SIZE = 65536
_BUFFERS_AT_ONCE = 64
"""Buffers for one writev(2): 32 records, 2 MiB."""
_CHAIN_MAX = 20
"""Exceptions of one chain that are looked at."""


_SIOCOUTQ = 0x5411
"""ioctl(2) of unix(7) and tcp(7): the bytes that the peer has not taken."""

AwaitRoom = Callable[[bytes], None]
"""Waits until the peer takes something; it is given what is still to come of the record that has been begun, and raises
PeerGone."""


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


def read_available(fd: int, size: int = READ_SIZE) -> bytes | None:
    """What has come, b"" at the end of the stream or after a reset; None if nothing has come yet."""
    try:
        return os.read(fd, size)
    except BlockingIOError:
        return None
    except ConnectionError:
        return b""


def send_now(fd: int, data: bytes) -> int:
    """Sends what the peer takes at once, and returns how many bytes that is.

    Raises:
        PeerGone: the peer is gone.
    """
    try:
        return os.write(fd, data)
    except BlockingIOError:
        return 0
    except OSError as error:
        raise PeerGone(str(error)) from None


def send_records(fd: int, buffers: Sequence[bytes | memoryview], sent: int, await_room: AwaitRoom) -> None:
    """Sends all bytes of some records.

    Args:
        buffers: the header and the content of each record in turn.
        sent: bytes of them that have been sent.

    Raises:
        PeerGone: the peer is gone, or takes nothing; see `await_room`.
    """
    pending = [memoryview(buffer) for buffer in buffers]
    first = 0
    while True:
        while first < len(pending) and sent >= len(pending[first]):
            sent -= len(pending[first])
            first += 1
        if first == len(pending):
            return
        pending[first] = pending[first][sent:]
        try:
            sent = os.writev(fd, pending[first : first + _BUFFERS_AT_ONCE])
        except BlockingIOError:
            sent = 0
            await_room(_rest_of_record(pending, first))
        except OSError as error:
            raise PeerGone(str(error)) from None


def _rest_of_record(pending: Sequence[memoryview], first: int) -> bytes:
    """Join what is still to be sent of the record that has been begun; b"" between two records."""
    if first % 2:
        return bytes(pending[first])
    if len(pending[first]) < HEADER.size:
        return bytes(pending[first]) + bytes(pending[first + 1])
    return b""


def wait_for_room(fd: int, timeout: float) -> bool:
    """Waits until the peer has taken enough to be sent more.

    A slow peer may take long for that. It makes progress as long as the kernel's queue becomes shorter.

    Returns:
        False if it has taken nothing for `timeout` seconds (0: no limit).
    """
    queued = _count_queued(fd)
    while not wait(fd, select.POLLOUT, timeout or None):
        before, queued = queued, _count_queued(fd)
        if queued >= before:
            return False
    return True


def _count_queued(fd: int) -> int:
    count: int = struct.unpack("i", fcntl.ioctl(fd, _SIOCOUTQ, bytes(4)))[0]
    return count


def has_left(fd: int) -> bool | None:
    """Look whether the peer is gone; None: it sends nothing more, and may read on or have left."""
    poll = select.poll()
    poll.register(fd, select.POLLRDHUP)
    events = poll.poll(0)
    if not events:
        return False
    return True if events[0][1] & (select.POLLHUP | select.POLLERR) else None


def is_readable(fd: int) -> bool:
    """Whether something has come: bytes, the end of the stream, or on a listening socket a connection."""
    return wait(fd, select.POLLIN, 0)


def wait(fd: int, event: int, timeout: float | None) -> bool:
    """Waits for an event of poll(2); False if it has not come in `timeout` seconds. None: for ever."""
    poll = select.poll()
    poll.register(fd, event)
    return bool(poll.poll(None if timeout is None else timeout * 1000))
