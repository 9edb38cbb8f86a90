"""What a master holds: its descriptors by kind, and what it holds them for."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from tests.support.processes import descendants, descriptors
from tests.support.waiting import wait_until

STEADY_TIME = 0.5
SETTLE_TIME = 30.0
T = TypeVar("T")
BOARD = "scoreboard"
PER_PROCESS = Counter({"socket": 2, "pipe": 2, "anon_inode": 2, "stack": 1})
"""At most: the channel, both outputs, a pidfd, the memory for its own stack."""
PER_POOL = Counter({"socket": 1, "file": 2})
"""At most: the listening socket, its logs."""
PER_GENERATION = Counter({BOARD: 2, "anon_inode": 1, "socket": 2})
"""The scoreboard, the eventfd, the parking sockets; made when they are first needed."""
LATER = Counter({"socket": 2, "pipe": 2, "anon_inode": 2})
"""What the first look at a listen queue opens for all time, and the first request of a pool that had failed; and the
helper that reads how much memory workers use."""


@dataclass(frozen=True)
class Holdings:
    """A count of descriptors by kind, of processes and of pools; and of the generations that there may be."""

    kinds: Counter[str]
    processes: int
    pools: int
    generations: int

    def excess(self, before: Holdings, kept: Counter[str]) -> Counter[str]:
        """What there is beyond `before`, `kept`, and what more processes, pools and generations need."""
        boards = (self.kinds[BOARD] - before.kinds[BOARD]) // 2
        found = self.kinds - before.kinds - kept - LATER
        for needs, more in (
            (PER_PROCESS, self.processes - before.processes),
            (PER_POOL, self.pools - before.pools),
            (PER_GENERATION, min(boards, self.generations - before.kinds[BOARD] // 2)),
        ):
            found -= Counter({kind: count * max(more, 0) for kind, count in needs.items()})
        return found


def count_kinds(pid: int) -> Counter[str]:
    """The descriptors of a process: sockets, pipes, memory files by name, other files, anonymous inodes."""
    return kinds_of(descriptors(pid))


def kinds_of(targets: Iterable[str]) -> Counter[str]:
    """The same of what descriptors point at."""
    return Counter(map(_kind, targets))


def steady(count: Callable[[], T]) -> T:
    """Count until two counts are the same; the last one where things come and go."""
    found = count()

    def is_steady() -> bool:
        nonlocal found
        former, found = found, count()
        return found == former

    with contextlib.suppress(AssertionError):
        wait_until(is_steady, timeout=STEADY_TIME)
    return found


class HoldingsWatch:
    """What a master holds when it is ready, compared with what it holds at the end."""

    def __init__(self, count: Callable[[], Holdings]) -> None:
        """Count what is steady: what tells systemd that it is ready is closed by then."""
        self._count = count
        self._before = steady(count)

    def leak(self, kept: Counter[str]) -> str:
        """What is left open beyond what there was and `kept`, or ""."""
        try:
            wait_until(lambda: not self._count().excess(self._before, kept), timeout=SETTLE_TIME)
        except AssertionError:
            after = self._count()
            return f"{dict(after.excess(self._before, kept))} ({self._before} -> {after})"
        except FileNotFoundError:  # it has ended; its exit code tells more
            return ""
        return ""


def count_holdings(pid: int, pools: int, *, has_failed: bool) -> Holdings:
    """What a master holds now; a pool that has failed may also have the scoreboard of a 503 responder."""
    return Holdings(count_kinds(pid), len(descendants(pid)), pools, pools * (2 if has_failed else 1))


def _kind(target: str) -> str:
    if found := re.fullmatch(r"/memfd:pyfpm-(\w+) \(deleted\)", target):
        return found[1]
    return "file" if target.startswith("/") else re.sub(r":\[.*", "", target)
