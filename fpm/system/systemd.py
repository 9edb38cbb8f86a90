"""systemd's protocols: sd_notify(3), sd_listen_fds(3), sd_watchdog_enabled(3), sd_pid_get_unit(3)."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import NamedTuple

LISTEN_FDS_START = 3
_FDS_MAX = 4096


class Service(NamedTuple):
    """A unit of systemd that runs processes."""

    name: str
    of_user: bool = False
    """It belongs to a user's own service manager (`systemctl --user`)."""


def find_service(groups: str) -> Service | None:
    """Return the service that a process belongs to.

    Args:
        groups: text of /proc/PID/cgroup (cgroups(7)).
    """
    for line in groups.splitlines():
        units = [part for part in line.rpartition(":")[2].split("/") if part.endswith(".service")]
        of_user = bool(units) and units[0].startswith("user@")  # the user's manager is a service itself
        if len(units) > of_user:
            return Service(units[of_user], of_user)
    return None


def notify(state: str, environ: Mapping[str, str]) -> bool:
    """Send a state such as `READY=1\\nSTATUS=Ready to handle connections` to the service manager; never block or raise.

    Returns:
        Whether it was sent; False without a service manager.
    """
    address = environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return False
    if address[0] == "@":
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as manager:
            manager.sendto(state.encode(), socket.MSG_NOSIGNAL, address)
    except OSError:
        return False  # the manager is gone or its queue is full, which must not harm the service
    return True


def listen_fds(environ: Mapping[str, str], pid: int) -> dict[str, int]:
    """Return the sockets that systemd has opened for process `pid`, by name, close-on-exec from now on.

    A socket without a name gets its number, from "0" on; if several have one name the later ones are `NAME:NUMBER`.
    """
    try:
        if int(environ.get("LISTEN_PID", "0")) != pid:
            return {}
        count = int(environ.get("LISTEN_FDS", "0"))
    except ValueError:
        return {}
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    found: dict[str, int] = {}
    for index in range(min(max(count, 0), _FDS_MAX)):
        fd = LISTEN_FDS_START + index
        name = names[index] if index < len(names) else ""
        if name in ("", "unknown"):
            name = str(index)
        try:
            os.set_inheritable(fd, False)
        except OSError:
            continue  # announced but missing
        found[f"{name}:{index}" if name in found else name] = fd
    return found


def watchdog_interval(environ: Mapping[str, str], pid: int) -> float | None:
    """Return the seconds within which systemd expects WATCHDOG=1 from process `pid`; None: it does not."""
    try:
        if int(environ.get("WATCHDOG_PID", str(pid))) != pid:
            return None
        microseconds = int(environ.get("WATCHDOG_USEC", "0"))
    except ValueError:
        return None
    return microseconds / 1e6 if microseconds > 0 else None
