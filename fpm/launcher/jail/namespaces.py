"""Leaves the namespaces of the daemon (namespaces(7))."""

from __future__ import annotations

import array
import contextlib
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Callable
from typing import NoReturn

from fpm.launcher.jail.calls import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    CLONE_PARENT,
    Calls,
)
from fpm.launcher.step import step
from fpm.protocol.messages import Entered, pack
from fpm.protocol.spec import TemplateSpec

FLAGS = {
    "mount": CLONE_NEWNS,
    "net": CLONE_NEWNET,
    "ipc": CLONE_NEWIPC,
    "uts": CLONE_NEWUTS,
    "cgroup": CLONE_NEWCGROUP,
}
"""Those that a process leaves by itself; `pid` is for its children, and `user` has a time of its own."""
OWN = "/proc/self"
IDS = "namespaces = user (its ids)"
GO = b"."
NUMBER_MAX = 8
"""Bytes of a number of an error."""
NETNS = "/run/netns"
"""Where ip-netns(8) keeps those that have a name."""
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
INTERFACE = struct.Struct("16sH14x")
"""struct ifreq of netdevice(7)."""


def leave_namespaces(spec: TemplateSpec, calls: Calls, network: int) -> None:
    """Unshare all but `pid`.

    Args:
        network: descriptor of the network namespace that the pool has already; -1: there is none.

    Raises:
        OSError: a step failed; `filename` says which.
    """
    if "user" in spec.namespaces and os.geteuid() != 0:
        enter_user_namespace(calls)
    for name in [name for name in FLAGS if name in spec.namespaces]:
        if name == "net" and network >= 0:
            step(f"network = {spec.network}", lambda: calls.setns(network, CLONE_NEWNET))
        elif name == "net" and spec.network.startswith("netns:"):
            step(f"network = {spec.network}", lambda: _join_network(calls, spec.network.removeprefix("netns:")))
        else:
            _unshare(calls, name, FLAGS[name])
    if spec.hostname:
        step(f"hostname = {spec.hostname}", lambda: socket.sethostname(spec.hostname))
    if "net" in spec.namespaces and spec.network == "none":
        step("the loopback interface", _raise_loopback)


def enter_user_namespace(calls: Calls) -> None:
    """Enter one in which this user and group are themselves and nobody else is anybody.

    Raises:
        OSError: the kernel, or its settings, do not allow it.
    """
    uid, gid = os.geteuid(), os.getegid()
    _unshare(calls, "user", CLONE_NEWUSER)
    step(IDS, lambda: _map_ids(OWN, uid, gid))


def _unshare(calls: Calls, name: str, flag: int) -> None:
    """Leave one namespace; where the kernel's limit is reached, it says that there is no space left on a device."""
    try:
        step(f"namespaces = {name}", lambda: calls.unshare(flag))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        limit = f"the limit user.max_{'mnt' if name == 'mount' else name}_namespaces is reached; raise it by sysctl(8)"
        raise OSError(errno.ENOSPC, limit, error.filename) from error


def enter_late(calls: Calls, uid: int, gid: int) -> Callable[[], None]:
    """Prepare for a user namespace that is entered after the change of user.

    A child that stays root then says who exists in it. The process itself could do so only while it is dumpable, and
    other processes of the user could trace it, before no_new_privs and the filters hold.

    Args:
        uid: the user's.
        gid: the group's.

    Returns:
        What enters it, and raises OSError.
    """
    process = f"/proc/{os.getpid()}"
    near, far = socket.socketpair()
    child = os.fork()
    if not child:
        near.close()
        _serve_ids(far, process, uid, gid)
    far.close()

    def enter() -> None:
        try:
            _unshare(calls, "user", CLONE_NEWUSER)
            near.send(GO)
            number = int(near.recv(NUMBER_MAX) or errno.ECHILD)
        finally:
            near.close()
            os.waitpid(child, 0)
        if number:
            raise OSError(number, os.strerror(number), IDS)

    return enter


def _serve_ids(channel: socket.socket, process: str, uid: int, gid: int) -> NoReturn:
    """Wait until the launcher is in its user namespace, say who exists there, and end."""
    try:
        if channel.recv(1) == GO:
            try:
                _map_ids(process, uid, gid)
                number = 0
            except OSError as error:
                number = error.errno or errno.EIO
            channel.send(str(number).encode())
    finally:
        os._exit(0)


def _map_ids(process: str, uid: int, gid: int) -> None:
    """Let one user and one group exist in a user namespace.

    Args:
        process: the directory of /proc of a process that is in it.
    """
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"{process}/{name}", "w", encoding="ascii") as file:
            file.write(text)


def _join_network(calls: Calls, name: str) -> None:
    fd = os.open(f"{NETNS}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        calls.setns(fd, CLONE_NEWNET)
    finally:
        os.close(fd)


def _raise_loopback() -> None:
    """Without it, 127.0.0.1 is not there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = array.array("B", INTERFACE.pack(b"lo", 0))
        fcntl.ioctl(any_socket, SIOCGIFFLAGS, request)
        name, flags = INTERFACE.unpack(request)
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, INTERFACE.pack(name, flags | IFF_UP))


def enter_pid_namespace(calls: Calls, channel: socket.socket) -> None:
    """Go on as the first process of a new pid namespace; this one ends.

    The new process is the master's child, as this one was. It says so with its first message, on which the kernel
    writes its pid as the master knows it; nothing of the pool can have spoken before.

    Raises:
        OSError: the kernel refuses.
    """
    said, saying = os.pipe2(os.O_CLOEXEC)
    pid = calls.clone(CLONE_NEWPID | CLONE_PARENT)
    if pid:
        os.close(saying)
        _leave_when_said(said)
    os.close(said)
    os.setsid()
    channel.send(pack(Entered()))
    os.close(saying)


def _leave_when_said(said: int) -> NoReturn:
    """End as soon as the master can know who goes on, for it sees that this process ends, too."""
    with contextlib.suppress(OSError):
        os.read(said, 1)
    os._exit(0)
