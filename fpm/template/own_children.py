"""Processes that an application starts while it is imported: they end with its generation, or they would gather.

Found in /proc; in a jail without it they are not known, and stay until the daemon ends.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
from collections.abc import Collection, Iterable
from signal import SIGCONT, SIGKILL, SIGTERM

from fpm.system.proc_stat import PARENT, STATE, read_stat

PATIENCE = 100
"""Looks at whether they have ended after SIGTERM."""
PAUSE = 20
"""Milliseconds between two looks."""


def own_children() -> frozenset[int]:
    """Return the pids of the processes that this one has started and that have not been waited for.

    Without multiprocessing's resource tracker, which ends when nobody uses it any more, and then cleans up.
    """
    tracker = getattr(sys.modules.get("multiprocessing.resource_tracker"), "_resource_tracker", None)
    others = (None, getattr(tracker, "_pid", None))
    me = os.getpid()
    return frozenset(pid for pid, parent in _parents().items() if parent == me and pid not in others)


def end_children(pids: Collection[int]) -> None:
    """End those of these processes that are still children of this one, with all that they have started.

    They are not waited for: the handlers of the application do that, if it wants to know their status.
    """
    if not pids:
        return
    family = _with_descendants(own_children() & set(pids))
    _signal(family, SIGTERM)
    _signal(family, SIGCONT)
    for _ in range(PATIENCE):
        if not (family := {pid for pid in family if _is_alive(pid)}):
            return
        select.poll().poll(PAUSE)
    _signal(family, SIGKILL)


def _parents() -> dict[int, int]:
    """Map each process that can be seen to its parent."""
    try:
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return {}
    found = {}
    for pid in pids:
        with contextlib.suppress(OSError, IndexError):  # it has ended
            found[pid] = int(read_stat(f"/proc/{pid}/stat")[PARENT])
    return found


def _with_descendants(pids: Iterable[int]) -> set[int]:
    parents = _parents()
    found, new = set[int](), set(pids)
    while new:
        found |= new
        new = {pid for pid, parent in parents.items() if parent in new} - found
    return found


def _is_alive(pid: int) -> bool:
    try:
        return read_stat(f"/proc/{pid}/stat")[STATE] != b"Z"
    except (OSError, IndexError):
        return False


def _signal(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # it has ended, or changed its user
            os.kill(pid, number)
