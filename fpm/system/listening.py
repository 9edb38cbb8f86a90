"""Opens listening sockets for the master, `pyfpm serve` and flup's server, and removes their files."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from dataclasses import dataclass

from fpm.config.hung_paths import is_hung
from fpm.config.model import AbstractAddress, ListenAddress, TcpAddress, UnixAddress
from fpm.errors import StartError
from fpm.paths.files import pinned_socket
from fpm.paths.place import Place, UnsafePath, find
from fpm.system.socket_access import NoAccessLists, SocketAccess, apply_access
from fpm.system.stale_sockets import refuse_occupied, remove_stale

BACKLOG_MAX = 65535
"""For listen.backlog = -1; the kernel cuts it to net.core.somaxconn."""
PRIVATE_BACKLOG = 128


@dataclass(slots=True)
class Listener:
    """A listening socket, and the socket file that is removed when it is closed."""

    address: ListenAddress
    socket: socket.socket
    inode: tuple[int, int] | None = None
    """Device and inode of the socket file created here; None if it is not ours to remove."""
    is_ours: bool = True
    """Nobody else has a use for the socket, as systemd has for one that it has passed: it is shut down at its end."""
    missing: str = ""
    """Why the address could not be had; `socket` is one that nobody can connect to then."""

    def take(self, other: Listener) -> None:
        """Go on with the socket of another one, which has been bound at the same address, and so with its file."""
        self.socket.close()
        self.socket, self.inode, self.is_ours, self.missing = other.socket, other.inode, other.is_ours, other.missing

    def close(self) -> None:
        """Close the socket and remove its file."""
        self.socket.close()
        self.remove_file()

    def adjust(self, access: SocketAccess) -> None:
        """Give the socket's file another owner, mode and access control list, if it was created here.

        Raises:
            OSError: that is not possible, or another file has taken its place, which stays as it is.
        """
        if self.inode is None or not isinstance(self.address, UnixAddress):
            return
        with find(self.address.path, follow=False) as place, pinned_socket(place, self.inode) as pinned:
            apply_access(pinned, access, place.directory)

    @property
    def is_lost(self) -> bool:
        """Has the file that was created here been removed or replaced? Then nobody can connect any more."""
        if self.inode is None or not isinstance(self.address, UnixAddress) or is_hung(self.address.path):
            return False
        try:
            with find(self.address.path, follow=False) as place:
                found = place.entry()
        except (OSError, UnsafePath):
            return True
        return (found.st_dev, found.st_ino) != self.inode

    @property
    def can_return(self) -> bool:
        """Can a lost file be made again? Not where somebody has put something else, which is not ours to remove."""
        if not self.is_lost or not isinstance(self.address, UnixAddress):
            return False
        try:
            with find(self.address.path, follow=False) as place:
                refuse_occupied(place)
        except FileNotFoundError:
            return True
        except (OSError, StartError):
            return False
        return True

    @property
    def lost(self) -> str:
        """Say that the file is lost, and what to do; "" if it is there."""
        if not self.is_lost:
            return ""
        if self.can_return:
            return f"the file of its socket, {self.address}, has been removed; a reload makes it again"
        return f"another file is in the place of its socket, {self.address}; remove it, and a reload makes that again"

    def remove_file(self) -> None:
        """Remove the file of a Unix socket, if it is still the one created here."""
        # Once only: the number of a removed inode may be that of another socket soon.
        made, self.inode = self.inode, None
        if made is None or not isinstance(self.address, UnixAddress):
            return
        try:
            with find(self.address.path, follow=False) as place:
                place.remove(made)
        except (FileNotFoundError, NotADirectoryError, UnsafePath):
            return  # it has been removed already, or its directory has been replaced


def stand_in(address: ListenAddress, missing: str) -> Listener:
    """Make a listener whose address cannot be had now: its socket listens at a name that the kernel has made up."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    listening.bind("")
    listening.listen(0)
    return Listener(address, listening, missing=missing)


def open_address(address: ListenAddress, backlog: int, access: SocketAccess) -> Listener:
    """Bind and listen like bind_address(), and word every error.

    Raises:
        StartError: the address is in use, or cannot be bound.
    """
    try:
        return bind_address(address, backlog, access)
    except OSError as error:
        raise StartError(f"cannot listen on {address}: {_reason(error)}") from error


def bind_address(address: ListenAddress, backlog: int, access: SocketAccess) -> Listener:
    """Bind and listen; the sockets never block.

    Args:
        backlog: as for listen(2); -1: the system's maximum.
        access: of a Unix socket's file.

    Raises:
        StartError: another process listens on this path, or it is no socket.
        OSError: the address cannot be bound.
    """
    backlog = backlog if backlog >= 0 else BACKLOG_MAX
    if isinstance(address, UnixAddress):
        return _open_unix(address, backlog, access)
    if isinstance(address, AbstractAddress):
        return _open_abstract(address, backlog)
    return _open_tcp(address, backlog)


def open_private_unix(path: str) -> Listener:
    """Open a Unix socket for the owner only (0600), such as the control socket.

    Raises:
        StartError: another process listens there.
        OSError: it cannot be bound.
    """
    with find(path, follow=False) as place:
        place.refuse_foreign()  # whoever can replace it could speak for the daemon
    return _open_unix(UnixAddress(path), PRIVATE_BACKLOG, SocketAccess(0o600, None, None))


def remove_socket(path: str) -> None:
    """Remove the file of a Unix socket, whoever uses it; anything else stays.

    Raises:
        OSError: it cannot be removed.
    """
    with contextlib.suppress(FileNotFoundError), find(path, follow=False) as place:
        if stat.S_ISSOCK(place.entry().st_mode):
            place.remove()


def _open_unix(address: UnixAddress, backlog: int, access: SocketAccess) -> Listener:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        with find(address.path, follow=False) as place:
            remove_stale(place)
            return Listener(address, listening, _bind_unix(place, listening, backlog, access))
    except (OSError, StartError):
        listening.close()
        raise


def _bind_unix(place: Place, listening: socket.socket, backlog: int, access: SocketAccess) -> tuple[int, int]:
    """Bind and listen; returns device and number of the file."""
    # The file gets the socket's own mode, less the umask (unix(7)).
    os.fchmod(listening.fileno(), access.mode)
    before = os.umask(0)
    try:
        listening.bind(place.for_sockets)
    finally:
        os.umask(before)
    made = place.entry()
    inode = made.st_dev, made.st_ino
    try:
        with pinned_socket(place, None) as pinned:
            apply_access(pinned, access, place.directory)
        listening.listen(backlog)  # nobody can connect before
    except OSError:
        place.remove(inode)
        raise
    return inode


def _open_abstract(address: AbstractAddress, backlog: int) -> Listener:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        listening.bind(address.path)
        listening.listen(backlog)
    except OSError:
        listening.close()
        raise
    return Listener(address, listening)


def _open_tcp(address: TcpAddress, backlog: int) -> Listener:
    if address.host:
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        return _bind_tcp(address, family, address.host, backlog)
    try:
        return _bind_tcp(address, socket.AF_INET6, "::", backlog)
    except OSError as error:
        # No IPv6 here, or another socket has the port for IPv6 alone: as PHP-FPM does. One that has it for both
        # families is in the way of 0.0.0.0, too.
        if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EADDRINUSE):
            raise
        return _bind_tcp(address, socket.AF_INET, "0.0.0.0", backlog)


def _bind_tcp(address: TcpAddress, family: int, host: str, backlog: int) -> Listener:
    listening = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted connections inherit this; Nagle's algorithm would delay an answer of several records.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if family == socket.AF_INET6:
            # [::] serves both families, whatever net.ipv6.bindv6only says; for another address it means nothing.
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listening.bind((host, address.port))
        listening.listen(backlog)
    except OSError:
        listening.close()
        raise
    return Listener(address, listening)


def _reason(error: OSError) -> str:
    if isinstance(error, NoAccessLists):
        return f"{error.strerror}"
    if error.errno == errno.EADDRINUSE:
        return "the address is in use by another process"
    if error.errno == errno.EACCES:
        return "permission denied (ports below 1024 and other users' directories need root)"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine does not have that address"
    return error.strerror or str(error)
