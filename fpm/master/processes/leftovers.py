"""Ends what a pool's former generations have left behind: processes that have left their worker, in whatever session.

They still hold what the pool shares, the listening socket among it. A template is the parent of all that its workers
leave (PR_SET_CHILD_SUBREAPER), and when it has ended the master is: children of the master that nobody knows are
theirs. A process keeps its pid until the master has waited for it, so no other can be hit.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Collection

from fpm.events.master import OrphanKilled
from fpm.frozen import dataclass
from fpm.master.core import Core
from fpm.master.loop.loop import NamedTimers
from fpm.master.processes.owner import Ids, is_of_pools
from fpm.master.processes.process import own_children
from fpm.system.proc_stat import SESSION, read_stat

PAUSE = 0.1
"""Seconds between two looks: who has been killed leaves his own children to the master."""
ROUNDS = 50
TOLD_MAX = 10
"""Processes that are written down one by one."""


@dataclass(frozen=True, slots=True)
class Known:
    """The processes of pools and of the daemon, and the sessions in which there may be more of them."""

    pids: Collection[int]
    sessions: Collection[int]


class Leftovers:
    """Ends them, round by round, until there are none."""

    def __init__(self, core: Core, list_known: Callable[[], Known]) -> None:
        self._emit = core.emit
        self._list_known = list_known
        self._timers = NamedTimers(core.loop)
        self._wanted: dict[Ids, int] = {}
        """Users and groups of pools, and how many rounds are left for each."""
        self._told: set[int] = set()

    def sweep(self, ids: Ids) -> None:
        """End, soon, what a pool with this user and group has left."""
        self._wanted[ids] = ROUNDS
        self._timers.set("sweep", PAUSE, self._sweep)

    def close(self) -> None:
        """End nothing any more."""
        self._timers.cancel_all()

    def _sweep(self) -> None:
        left = self._find(self._list_known())
        wanted, self._wanted = self._wanted, {}
        for ids, rounds in wanted.items():
            found = [pid for pid in left if is_of_pools(pid, [ids])]
            for pid in found:
                self._kill(pid)
            if found and rounds:
                self._wanted[ids] = rounds - 1
        if self._wanted:
            self._timers.set("sweep", PAUSE, self._sweep)
        else:
            self._told.clear()

    def _find(self, known: Known) -> list[int]:
        found = []
        for pid in own_children():
            if pid not in known.pids:
                with contextlib.suppress(OSError, ValueError, IndexError):  # it has ended meanwhile
                    if int(read_stat(f"/proc/{pid}/stat")[SESSION]) not in known.sessions:
                        found.append(pid)
        return found

    def _kill(self, pid: int) -> None:
        if pid not in self._told and len(self._told) < TOLD_MAX:
            self._told.add(pid)
            self._emit(OrphanKilled(_name(pid), pid=pid))
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _name(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().rstrip("\n")
    except OSError:
        return "?"
