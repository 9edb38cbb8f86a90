"""Whose a process is now: the master signals, and looks at, no process that is not its pool's user's.

Where `no_new_privs = no`, a worker can execute a setuid program, which keeps the worker's pid, and become anybody.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fpm.events.base import Emit
from fpm.events.worker import IdentityChanged
from fpm.protocol.spec import TemplateSpec
from fpm.stacks.credentials import Status, is_owned_by
from fpm.stacks.rights import read_status
from fpm.system.own_command import own_python
from fpm.system.proc_stat import GROUP, read_stat

Ids = tuple[int, int]
"""User and group."""


def own_ids() -> Ids:
    """Return those of this process."""
    return os.geteuid(), os.getegid()


def ids_of(spec: TemplateSpec) -> Ids:
    """Return the user and group of a pool's processes."""
    uid, gid = own_ids()
    return uid if spec.uid is None else spec.uid, gid if spec.gid is None else spec.gid


@dataclass(slots=True)
class OwnerCheck:
    """Looks whose a process of one pool is at this moment; says it once if it is somebody else's."""

    emit: Emit
    pool: str
    ids: Ids
    confined: bool = False
    """Whether no_new_privs keeps all of its processes from changing their user."""
    said: bool = False

    def is_stranger(self, pid: int) -> bool:
        """Tell whether it is another user's; False also if it is gone, which a pidfd will tell."""
        status = read_status(pid)
        if status is None or is_owned_by(status, self.ids) or _is_launcher(pid, status):
            return False
        if not self.said:
            self.said = True
            self.emit(IdentityChanged(status.uids[1], status.gids[1], pool=self.pool, pid=pid))
        return True

    def kill(self, pid: int) -> None:
        """Send SIGKILL to a child of the master's."""
        if pid and not self.is_stranger(pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def kill_group(self, leader: int) -> None:
        """Send SIGKILL to a child of the master's and, as long as it has not been waited for, to its process group."""
        if not leader:
            return
        if self.confined:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(leader, signal.SIGKILL)
            return
        for pid in _members(leader):
            with contextlib.suppress(OSError):  # it has ended
                pidfd = os.pidfd_open(pid)
                try:
                    if _group_of(pid) == leader and not self.is_stranger(pid):
                        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                finally:
                    os.close(pidfd)


def is_of_pools(pid: int, known: Iterable[Ids]) -> bool:
    """Tell whether a process below the master is still one of a pool's users; True also if it is gone."""
    status = read_status(pid)
    return status is None or any(is_owned_by(status, ids) for ids in known) or _is_launcher(pid, status)


def _is_launcher(pid: int, status: Status) -> bool:
    """Tell whether a template has not become its user yet: it runs our interpreter with our rights until then."""
    if not is_owned_by(status, own_ids()):
        return False
    try:
        return os.path.samefile(f"/proc/{pid}/exe", own_python())
    except OSError:
        return False


def _members(group: int) -> Iterator[int]:
    """Find the processes of a group, twice, for each may have made another meanwhile."""
    for _ in range(2):
        yield from [pid for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))) if _group_of(pid) == group]


def _group_of(pid: int) -> int:
    try:
        return int(read_stat(f"/proc/{pid}/stat")[GROUP])
    except (OSError, ValueError, IndexError):
        return 0
