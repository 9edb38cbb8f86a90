"""Descriptors that one master hands to the next across exec(2), among them listening sockets."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fpm.config.model import ListenAddress
from fpm.system.listening import Listener


@dataclass(slots=True)
class InheritedFds:
    """The descriptors that must survive exec(2)."""

    fds: list[int] = field(default_factory=list)

    def keep(self, fd: int) -> int:
        """Add a descriptor, unless it is negative (none), and return it."""
        if fd >= 0:
            self.fds.append(fd)
        return fd

    def set_inheritable(self, inheritable: bool) -> None:
        """Mark the descriptors before exec(2), or unmark them if it has failed."""
        for fd in self.fds:
            os.set_inheritable(fd, inheritable)


def take_inherited(fd: int) -> int:
    """Make a descriptor close-on-exec again, as all of the master are; ignore a negative one (none)."""
    if fd >= 0:
        os.set_inheritable(fd, False)
    return fd


def dump_listener(listener: Listener, fds: InheritedFds) -> dict[str, Any]:
    """Describe a listening socket and whether its file is ours."""
    return {
        "fd": fds.keep(listener.socket.fileno()),
        "inode": listener.inode,
        "is_ours": listener.is_ours,
        "missing": listener.missing,
    }


def restore_listener(address: ListenAddress, state: Mapping[str, Any]) -> Listener:
    """Restore a listener in the new program."""
    inode = state["inode"]
    listening = socket.socket(fileno=take_inherited(state["fd"]))
    listening.setblocking(False)
    return Listener(address, listening, tuple(inode) if inode else None, state["is_ours"], state["missing"])
