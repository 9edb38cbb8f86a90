"""The listening socket: descriptor 0 as a web server gives it, or one that is opened here."""

from __future__ import annotations

import contextlib
import os
import socket
import stat

from fpm.flup_server.arguments import Address

INHERITED = 0
"""FCGI_LISTENSOCK_FILENO, FastCGI 1.0 section 2.2."""


class Door:
    """A listening socket, and the file that belongs to it and is removed with it."""

    def __init__(self, listening: socket.socket, path: str | None = None) -> None:
        self.socket = listening
        self._path = path
        self._inode = _inode(path) if path else None

    def close(self) -> None:
        """Close this process's own copy; the master has one."""
        self.socket.close()

    def remove(self) -> None:
        """Remove the socket's file, if it is ours and nobody has put his own in its place."""
        if self._path is not None and self._inode is not None and _inode(self._path) == self._inode:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)


def inherited_door() -> Door | None:
    """Descriptor 0 if it is a listening socket, else None; the descriptor itself stays open."""
    try:
        listening = socket.socket(fileno=os.dup(INHERITED))
    except OSError:  # closed, or no socket
        return None
    if listening.type == socket.SOCK_STREAM and listening.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return Door(listening)
    listening.close()
    return None


def open_door(address: Address, umask: int | None) -> Door:
    """Listen. A socket's file that lies there is replaced, as its server is taken for gone.

    Args:
        umask: for the socket's file; None: that of the process.

    Raises:
        OSError: the address cannot be had.
    """
    if isinstance(address, tuple):
        return Door(_open_port(*address))
    path = os.path.abspath(address)
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            os.unlink(path)
    listening = socket.socket(socket.AF_UNIX)
    former = os.umask(umask) if umask is not None else None
    try:
        listening.bind(path)
        listening.listen(socket.SOMAXCONN)
    except OSError as error:
        listening.close()
        raise OSError(error.errno, f"cannot listen: {error.strerror or error}", path) from None
    finally:
        if former is not None:
            os.umask(former)
    return Door(listening, path)


def _open_port(host: str, port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(socket.SOMAXCONN)
    except OSError as error:
        listening.close()
        raise OSError(error.errno, f"cannot listen: {error.strerror or error}", f"{host}:{port}") from None
    return listening


def _inode(path: str) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
