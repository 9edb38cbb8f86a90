"""Socket files in the place where a new one is wanted: those on which nobody listens make way."""

from __future__ import annotations

import os
import socket
import stat
import struct
from pathlib import Path

from fpm.errors import InstanceRunning, StartError
from fpm.paths.place import Place


def remove_stale(place: Place) -> None:
    """Remove a socket file on which nobody listens.

    Raises:
        StartError: another process listens on it, or it is no socket.
    """
    try:
        found = refuse_occupied(place)
    except FileNotFoundError:
        return
    place.remove((found.st_dev, found.st_ino))


def refuse_occupied(place: Place) -> os.stat_result:
    """Look at a socket file on which nobody listens.

    Raises:
        FileNotFoundError: there is none.
        StartError: another process listens on it, or it is no socket.
    """
    path, found = place.path, place.entry()
    if not stat.S_ISSOCK(found.st_mode):
        raise StartError(f"{path} exists and is not a socket; remove it or choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(place.for_sockets)
            _refuse_living(path, *_PEER.unpack(probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)))
        except (ConnectionRefusedError, FileNotFoundError):
            pass  # nobody listens: a killed process has left it
        except BlockingIOError:
            raise StartError(_in_use(path)) from None  # a full queue, so a process listens
        except OSError as error:
            raise StartError(f"cannot find out whether {path} is in use: {error.strerror}") from error
    return found


_PEER = struct.Struct("3i")
"""struct ucred: pid, uid, gid of whoever has called listen(2) (unix(7))."""


def _refuse_living(path: str, pid: int, uid: int, gid: int) -> None:
    """Refuse a socket that another process has made; one whose maker is dead is held by leftovers of a killed daemon.

    Raises:
        InstanceRunning: the maker is a master with the same configuration.
        StartError: it is any other process.
    """
    try:
        title = _read_title(pid) if pid else b""
    except OSError:
        return
    is_same = uid == os.geteuid() and pid != os.getpid() and title == _read_title(os.getpid())
    raise (InstanceRunning if is_same else StartError)(_in_use(path))


def _read_title(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0")


def _in_use(path: str) -> str:
    return f"Another FPM instance seems to already listen on {path}; stop it first, or choose another path"
