"""Gets the listening socket: descriptor 0 as a web server passes it, or a new one."""

from __future__ import annotations

import os
import socket

from fpm.config.model import ListenAddress, TcpAddress, UnixAddress
from fpm.flup_server.arguments import Address
from fpm.system.listening import Listener, bind_address, remove_socket
from fpm.system.socket_access import SocketAccess

INHERITED = 0
"""FCGI_LISTENSOCK_FILENO, FastCGI 1.0 section 2.2."""
ANYBODY = 0o777


def inherited_listener() -> Listener | None:
    """Take descriptor 0 if it is a listening socket; the descriptor itself stays open."""
    try:
        listening = socket.socket(fileno=os.dup(INHERITED))
    except OSError:  # closed, or no socket
        return None
    if listening.type == socket.SOCK_STREAM and listening.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return Listener(UnixAddress(""), listening)
    listening.close()
    return None


def open_listener(address: Address, umask: int | None) -> Listener:
    """Listen like flup: the file of a Unix socket that exists is replaced, even if another server uses it.

    Args:
        umask: for the socket's file; None: that of the process.

    Raises:
        OSError: the address cannot be bound.
    """
    if isinstance(address, tuple):
        return _bind(TcpAddress(*address), 0)
    path = os.path.abspath(address)
    remove_socket(path)
    return _bind(UnixAddress(path), ANYBODY & ~(_own_umask() if umask is None else umask))


def _bind(address: ListenAddress, mode: int) -> Listener:
    try:
        return bind_address(address, socket.SOMAXCONN, SocketAccess(mode, None, None))
    except OSError as error:
        raise OSError(error.errno, f"cannot listen: {error.strerror or error}", str(address)) from None


def _own_umask() -> int:
    own = os.umask(0)
    os.umask(own)
    return own
