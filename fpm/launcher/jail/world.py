"""What the generations of a pool have in common beside their sockets: temporary files, and a network of their own.

The first launcher makes it and puts its descriptors as a message into a socket of the master, which never reads it;
the others look at that message (MSG_PEEK) and so get descriptors of the same things. They live as long as the master
keeps the socket or a process is inside, and are gone then, whatever happens.
"""

from __future__ import annotations

import array
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from fpm.frozen import dataclass
from fpm.launcher.jail.calls import CLONE_NEWNET, CLONE_NEWNS, MS_NODEV, MS_NOSUID, MS_REC, MS_SLAVE, Calls
from fpm.launcher.jail.plan import bounds_of
from fpm.launcher.step import step
from fpm.protocol.spec import FD_WORLD_PUT, FD_WORLD_TAKE, TemplateSpec

TREES = {"/tmp": "tmp", "/var/tmp": "var-tmp", "/dev/shm": "shm"}
"""Where the pool sees the directories of its temporary file system, and their names in it."""
SCAFFOLD = "/dev"
"""Any directory: the file system becomes the root of a namespace in which there is nothing else."""
NETWORK, FILES = "net", "mnt"
"""Names in /proc/self/ns, and in the message."""
MESSAGE_MAX = 16


@dataclass(frozen=True, slots=True)
class World:
    """Descriptors of what is shared.

    Attributes:
        network: a network namespace; -1 if there is none.
        trees: detached mounts, by where the pool sees them.
    """

    network: int
    trees: dict[str, int]


def join_world(spec: TemplateSpec, calls: Calls) -> World:
    """Find the pool's world, or make it.

    Raises:
        OSError: a step failed; `filename` says which.
    """
    if not spec.world:
        return World(-1, {})
    ends = FD_WORLD_TAKE, FD_WORLD_PUT
    take, put = (socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, fileno=fd) for fd in ends)
    with take, put:
        found = _look(take)
        if not found:
            _put(put, _make(spec, calls))
            found = _look(take)  # of two that were made at the same time, both launchers take the first
    trees: dict[str, int] = {}
    if FILES in found:
        step("private_tmp", lambda: trees.update(_clone_trees(calls, found[FILES])))
        os.close(found[FILES])
    return World(found.get(NETWORK, -1), trees)


def _look(take: socket.socket) -> dict[str, int]:
    fds = array.array("i")
    flags = socket.MSG_PEEK | socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
    try:
        text, ancillary, _, _ = take.recvmsg(MESSAGE_MAX, socket.CMSG_SPACE(2 * fds.itemsize), flags)
    except BlockingIOError:
        return {}
    for _, _, content in ancillary:
        fds.frombytes(content)
    return dict(zip(text.decode().split(), fds, strict=True))


def _put(put: socket.socket, made: dict[str, int]) -> None:
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", made.values()))
    put.sendmsg([" ".join(made).encode()], [rights])
    for fd in made.values():
        os.close(fd)


def _make(spec: TemplateSpec, calls: Calls) -> dict[str, int]:
    made = {}
    if NETWORK in spec.world:
        with _elsewhere(calls, NETWORK, CLONE_NEWNET):
            made[NETWORK] = _open(NETWORK)
        from fpm.launcher.jail.network import connect_network  # with subprocess, for pools that want it

        step(f"network = {spec.network}", lambda: connect_network(spec, calls, made[NETWORK]))
    if FILES in spec.world:
        step("private_tmp", lambda: made.update({FILES: _make_files(spec, calls)}))
    return made


def _make_files(spec: TemplateSpec, calls: Calls) -> int:
    with _elsewhere(calls, FILES, CLONE_NEWNS):
        calls.mount("none", "/", "", MS_REC | MS_SLAVE)
        calls.mount("pyfpm", SCAFFOLD, "tmpfs", MS_NOSUID | MS_NODEV, f"mode=755{bounds_of(spec)}")
        made = _open(FILES)
        os.chdir(SCAFFOLD)
        for name in TREES.values():
            os.mkdir(name)
            os.chmod(name, 0o1777)
        calls.pivot_root(".", ".")
        calls.detach(".")
    return made


def _clone_trees(calls: Calls, files: int) -> dict[str, int]:
    home = _open(FILES)
    calls.setns(files, CLONE_NEWNS)
    try:
        return {target: calls.open_tree(f"/{name}") for target, name in TREES.items()}
    finally:
        calls.setns(home, CLONE_NEWNS)
        os.close(home)


@contextmanager
def _elsewhere(calls: Calls, name: str, kind: int) -> Iterator[None]:
    """Be in a new namespace for a while."""
    home = _open(name)
    calls.unshare(kind)
    try:
        yield
    finally:
        calls.setns(home, kind)
        os.close(home)


def _open(name: str) -> int:
    return os.open(f"/proc/self/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
