"""Asks the kernel how many connections wait on a listening socket, TCP or Unix; that needs no privileges.

TCP: TCP_INFO of the socket itself, tcp(7). Unix: sock_diag(7), UDIAG_SHOW_RQLEN. Nothing here blocks or raises; what
cannot be known is 0.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import sys

from fpm.protocol.spec import PARK_UNIT
from fpm.scoreboard.snapshot import ListenQueue

UNKNOWN = ListenQueue(0, 0)

_TCP_LISTEN = 10
_TCP_INFO = struct.Struct("<B7x4x4x4x4xII")
"""tcpi_state, then after four words tcpi_unacked and tcpi_sacked: a listening socket's queue and its limit."""

_FIONREAD = 0x541B
"""ioctl_tty(2); the module termios is not in every Python of a pool."""
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST = 1
_UDIAG_SHOW_RQLEN = 0x10
_UNIX_DIAG_RQLEN = 4
_NO_COOKIE = 0xFFFFFFFF
_REQUEST = struct.Struct("=IHHII BBHIIIII")
"""nlmsghdr (length, type, flags, sequence, 0), unix_diag_req (family, protocol, 0, states, inode, show, cookie)."""
_REPLY = struct.Struct("=IHHII BBBBIII")
"""nlmsghdr and unix_diag_msg (family, type, state, pad, inode, cookie)."""
_ATTRIBUTE = struct.Struct("=HH")
_RQLEN = struct.Struct("=II")
_REPLIES_MAX = 8
"""Number of late replies to earlier requests that are skipped."""


class ListenQueueReader:
    """Reads listen queues over one netlink socket, which is replaced after a fork."""

    def __init__(self) -> None:
        self._netlink: socket.socket | None = None
        self._pid = 0
        self._sequence = 0

    def read_with_parked(self, fd: int, parked_fd: int) -> ListenQueue:
        """Read the queue, and count with it what workers have taken from it and parked, as they are busy.

        Args:
            parked_fd: the parking socket; negative: there is none.
        """
        queue = self.read(fd)
        return queue if queue is UNKNOWN else ListenQueue(queue.length + count_parked(parked_fd), queue.maximum)

    def read(self, fd: int) -> ListenQueue:
        """Read the queue of the listening socket `fd`; return UNKNOWN if that fails."""
        try:
            listener = socket.socket(fileno=fd)
        except (OSError, ValueError):
            return UNKNOWN
        try:
            if listener.family == socket.AF_UNIX:
                return self._read_unix(os.fstat(fd).st_ino)
            return _read_tcp(listener)
        except OSError:
            # Not a listening socket any more, or a kernel without sock_diag: try again next time.
            self.close()
            return UNKNOWN
        finally:
            listener.detach()

    def close(self) -> None:
        """Close the netlink socket; the next read opens a new one."""
        if self._netlink is not None:
            self._netlink.close()
            self._netlink = None

    def _read_unix(self, inode: int) -> ListenQueue:
        netlink = self._open()
        self._sequence = (self._sequence + 1) & 0xFFFFFFFF
        netlink.send(pack_unix_request(inode, self._sequence))
        for _ in range(_REPLIES_MAX):
            queue = unpack_unix_reply(netlink.recv(4096), inode, self._sequence)
            if queue is not None:
                return queue
        return UNKNOWN

    def _open(self) -> socket.socket:
        if self._netlink is not None and self._pid == os.getpid():
            return self._netlink
        self.close()
        # NETLINK_SOCK_DIAG is NETLINK_INET_DIAG's newer name; neither is in every Python.
        self._netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, 4)
        self._netlink.connect((0, 0))
        self._pid = os.getpid()
        return self._netlink


def count_parked(fd: int) -> int:
    """Count the connections in a parking socket that wait for their first answer (PARK_UNIT); 0 if that fails."""
    if fd < 0:
        return 0
    try:
        queued = fcntl.ioctl(fd, _FIONREAD, bytes(4))  # of SOCK_SEQPACKET: the bytes of all messages (unix(7))
    except OSError:
        return 0
    return int.from_bytes(queued, sys.byteorder) % PARK_UNIT


def pack_unix_request(inode: int, sequence: int) -> bytes:
    """Pack the request for one Unix socket's queue."""
    return _REQUEST.pack(
        _REQUEST.size,
        _SOCK_DIAG_BY_FAMILY,
        _NLM_F_REQUEST,
        sequence,
        0,
        socket.AF_UNIX,
        0,
        0,
        0xFFFFFFFF,
        inode & 0xFFFFFFFF,
        _UDIAG_SHOW_RQLEN,
        _NO_COOKIE,
        _NO_COOKIE,
    )


def unpack_unix_reply(data: bytes, inode: int, sequence: int) -> ListenQueue | None:
    """Unpack the queue from a reply; None if it answers another request; UNKNOWN if there is no such socket."""
    if len(data) < 16 or struct.unpack_from("=I", data, 8)[0] != sequence:
        return None
    if len(data) < _REPLY.size or struct.unpack_from("=H", data, 4)[0] != _SOCK_DIAG_BY_FAMILY:
        return UNKNOWN
    if _REPLY.unpack_from(data)[9] != inode & 0xFFFFFFFF:
        return UNKNOWN
    offset = _REPLY.size
    while offset + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if kind == _UNIX_DIAG_RQLEN and offset + _ATTRIBUTE.size + _RQLEN.size <= len(data):
            return ListenQueue(*_RQLEN.unpack_from(data, offset + _ATTRIBUTE.size))
        offset += max((length + 3) & ~3, _ATTRIBUTE.size)
    return UNKNOWN


def _read_tcp(listener: socket.socket) -> ListenQueue:
    info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    state, length, maximum = _TCP_INFO.unpack_from(info)
    return ListenQueue(length, maximum) if state == _TCP_LISTEN else UNKNOWN


_reader = ListenQueueReader()


def read_listen_queue(fd: int) -> ListenQueue:
    """Read the queue of the listening socket `fd`, with a reader that this process keeps."""
    return _reader.read(fd)
