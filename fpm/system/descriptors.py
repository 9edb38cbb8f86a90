"""Descriptors received with a message (SCM_RIGHTS, unix(7)), and socket objects made over descriptors."""

from __future__ import annotations

import array
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from select import POLLRDHUP, poll


def take_descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    """Return all descriptors of a message; the caller owns them."""
    fds = array.array("i")
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
    return fds.tolist()


def take_descriptor(ancillary: list[tuple[int, int, bytes]]) -> int | None:
    """Return the first descriptor of a message and close the others."""
    fds = take_descriptors(ancillary)
    for fd in fds[1:]:
        os.close(fd)
    return fds[0] if fds else None


def receive_with_fds(channel: socket.socket, size: int, count: int) -> tuple[bytes, list[int]]:
    """Receive one datagram and the descriptors that came with it (close-on-exec); b"" at end of file.

    Args:
        size: bytes at most.
        count: descriptors at most; there are fewer if this process may not have more.
    """
    space = socket.CMSG_SPACE(count * array.array("i").itemsize)
    try:
        data, ancillary, _, _ = channel.recvmsg(size, space, socket.MSG_CMSG_CLOEXEC)
    except ConnectionResetError:
        return b"", []
    return data, take_descriptors(ancillary)


def close_all(fds: list[int]) -> None:
    """close(2) for each."""
    for fd in fds:
        os.close(fd)


@contextmanager
def no_default_timeout() -> Iterator[None]:
    """Within it, make socket objects as if the application had not called socket.setdefaulttimeout().

    With a timeout, even calls with MSG_DONTWAIT wait, and the descriptor is made non-blocking for all who share it.
    """
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(None)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def is_shut_down(fd: int) -> bool:
    """Tell whether a socket has been shut down for reading (shutdown(2)), by whichever of those who share it."""
    watched = poll()
    watched.register(fd, POLLRDHUP)
    return bool(watched.poll(0))
