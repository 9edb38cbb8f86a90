"""The listening sockets of pools: opened, taken from systemd, adjusted while they listen."""

from __future__ import annotations

import os
import socket

from fpm.config.model import AbstractAddress, ListenAddress, PoolConfig, UnixAddress
from fpm.errors import StartError
from fpm.log.lines import pool_prefix
from fpm.system.listening import BACKLOG_MAX, Listener, open_address
from fpm.system.socket_access import SocketAccess


def socket_access(pool: PoolConfig) -> SocketAccess:
    """Return who may connect to a pool's sockets."""
    return SocketAccess(
        pool.listen_mode, pool.listen_owner, pool.listen_group, pool.listen_acl_users, pool.listen_acl_groups
    )


def open_listener(pool: PoolConfig) -> Listener:
    """Bind and listen for a pool.

    Raises:
        StartError: the address is in use, or cannot be bound.
    """
    try:
        return open_address(pool.listen, pool.listen_backlog, socket_access(pool))
    except StartError as error:
        raise type(error)(f"{pool_prefix(pool.name)}{error}") from error


def adjust_listener(listener: Listener, pool: PoolConfig) -> None:
    """Apply backlog, owner, group, mode and access control list to a listening socket without refusing a connection.

    Raises:
        StartError: who may connect cannot be changed.
    """
    if listener.missing:
        return  # it is bound with all that when the pool is tried again
    # listen(2) on a listening socket sets its backlog anew.
    listener.socket.listen(pool.listen_backlog if pool.listen_backlog >= 0 else BACKLOG_MAX)
    try:
        listener.adjust(socket_access(pool))
    except OSError as error:
        raise StartError(f"cannot adjust {listener.address}: {error.strerror}") from error


def adopt_listener(pool: PoolConfig, fd: int) -> Listener:
    """Take a socket that systemd (or a parent) has bound and listens on (sd_listen_fds(3)).

    Raises:
        StartError: the descriptor is no listening stream socket.
    """
    what = f"descriptor {fd} passed by LISTEN_FDS"
    try:
        inherited = socket.socket(fileno=fd)
        listening = inherited.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise StartError(f"{pool_prefix(pool.name)}{what} is not a socket") from error
    if not listening or inherited.type != socket.SOCK_STREAM:
        raise StartError(f"{pool_prefix(pool.name)}{what} is not a listening stream socket")
    inherited.setblocking(False)
    inherited.set_inheritable(False)
    return Listener(pool.listen, inherited, is_ours=False)


def is_same_address(fd: int, address: ListenAddress) -> bool:
    """Tell whether the socket behind fd is bound to this address."""
    try:
        with socket.socket(fileno=os.dup(fd)) as copy:
            name = copy.getsockname()
    except OSError:
        return False  # it is no socket at all
    if isinstance(address, UnixAddress):
        return bool(name == address.path)
    if isinstance(address, AbstractAddress):
        return bool(name == os.fsencode(address.path))
    return isinstance(name, tuple) and name[1] == address.port and (not address.host or name[0] == address.host)
