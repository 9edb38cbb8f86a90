"""Bytes in and out of a connection's descriptor, which is non-blocking; waiting is bounded here."""

from __future__ import annotations

import os
import select
from collections.abc import Sequence

READ_SIZE = 65536
_BUFFERS_AT_ONCE = 64
"""Buffers for one writev(2): 32 records, 2 MiB."""


class PeerGone(ConnectionError):
    """The web server closed the connection, aborted the request, or made no progress for too long."""


def read_available(fd: int) -> bytes | None:
    """What has come, b"" at the end of the stream or after a reset; None if nothing has come yet."""
    try:
        return os.read(fd, READ_SIZE)
    except BlockingIOError:
        return None
    except ConnectionError:
        return b""


def read_or_wait(fd: int, timeout: float) -> bytes:
    """What has come, after waiting for it; b"" at the end of the stream.

    Raises:
        PeerGone: nothing came for `timeout` seconds.
    """
    data = read_available(fd)
    while data is None:
        if not _wait(fd, select.POLLIN, timeout):
            raise PeerGone(f"no data for {timeout:g} seconds")
        data = read_available(fd)
    return data


def send_all(fd: int, data: bytes, timeout: float) -> None:
    """Sends all bytes.

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
        send_buffers(fd, [memoryview(data)[sent:]], timeout)


def send_buffers(fd: int, buffers: Sequence[bytes | memoryview], timeout: float) -> None:
    """Sends all bytes of all buffers; see send_all()."""
    pending = [memoryview(buffer) for buffer in buffers if buffer]
    first = 0
    while first < len(pending):
        try:
            sent = os.writev(fd, pending[first : first + _BUFFERS_AT_ONCE])
        except BlockingIOError:
            if not _wait(fd, select.POLLOUT, timeout):
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
    return _wait(fd, select.POLLIN, 0)


def _wait(fd: int, event: int, timeout: float) -> bool:
    poll = select.poll()
    poll.register(fd, event)
    return bool(poll.poll(timeout * 1000))
