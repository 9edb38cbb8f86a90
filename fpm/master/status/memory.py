"""Measures how much memory workers really use (PSS), only while somebody asks, and never for much of a processor.

A process of its own looks at them, the longest unseen first, as far as the accounts of a process and of its pool allow
(`fpm.master.status.memory_reader` says why). What takes too long is killed, and that process left out for a long time.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from typing import Any

from fpm.events.master import HelperOutput
from fpm.master.core import Core
from fpm.master.loop.loop import NamedTimers
from fpm.master.pool.child import Child
from fpm.master.pool.supervisor import PoolSupervisor
from fpm.master.processes.helper_process import HelperProcess, Owner
from fpm.protocol.memory import MemoryWanted, ReaderReady, as_message, read_answer
from fpm.protocol.wire import MessageError

FRESH = 5.0
"""Seconds for which a number is not measured again."""
SHARE = 0.002
"""Of a processor for one process: one that takes a second is looked at once in eight minutes."""
POOL_SHARE = 0.02
"""Of a processor for all processes of a pool."""
LOOK_MAX = 0.5
"""Seconds of one look, after which it is given up."""
START_TIME = 10.0
"""Seconds in which the process must have started."""
AT_ONCE = 32
"""Processes of a pool that are looked at because of one question."""
PIDS_MAX = 1024
"""Processes of all pools then."""
IDLE_TIME = 60.0
"""Seconds without a question after which the process is ended."""


class MemorySampler:
    """Keeps `WorkerNotes.pss` up to date."""

    def __init__(self, core: Core) -> None:
        self._core = core
        owner = Owner(lambda: bool(self._asked), self._on_start, self._on_message, lambda: None, self._on_end)
        self._process = HelperProcess(core, "the memory reader", "fpm.master.status.memory_reader", owner)
        self._is_ready = False
        self._asked: deque[Child] = deque()
        """Those that it looks at now, in this order."""
        self._pool_due: dict[str, float] = {}
        """Monotonic seconds before which a pool has used its share up."""
        self._timers = NamedTimers(core.loop)

    def sample(self, pools: Mapping[str, PoolSupervisor], now: float) -> None:
        """Have some workers looked at; `now` is monotonic seconds."""
        self._timers.set("idle", IDLE_TIME, self._process.stop)
        if self._asked:
            return
        self._pool_due = {name: due for name, due in self._pool_due.items() if name in pools}
        self._asked.extend(choose(pools.values(), self._pool_due, now))
        if self._is_ready:
            self._send()
        else:
            self._process.start()

    def close(self) -> None:
        """End it, at the end of the master."""
        self._timers.cancel_all()
        self._process.close()

    def _on_start(self) -> None:
        self._timers.set("late", START_TIME, self._process.stop)

    def _send(self) -> None:
        if self._process.send(as_message(MemoryWanted([child.pid for child in self._asked]))):
            self._await_next()
        else:
            self._asked.clear()

    def _await_next(self) -> None:
        """Look that it comes to the next of them in time."""
        if self._asked:
            self._timers.set("late", LOOK_MAX, self._on_late)
        else:
            self._timers.cancel("late")

    def _on_message(self, message: dict[str, Any]) -> None:
        try:
            read = read_answer(message)
        except MessageError as error:
            self._core.emit(HelperOutput("the memory reader", str(error)))
            return
        if isinstance(read, ReaderReady):
            self._is_ready = True
            self._send()
        elif self._asked:
            child = self._asked.popleft()
            child.notes.pss = read.pss
            self._charge(child, read.seconds)
            self._await_next()

    def _on_late(self) -> None:
        """The first of them is slow: the others are looked at when somebody asks again."""
        if self._asked:
            self._charge(self._asked[0], LOOK_MAX)
        self._asked.clear()
        self._process.stop()

    def _on_end(self) -> None:
        self._is_ready = False
        self._timers.cancel("late")
        self._asked.clear()

    def _charge(self, child: Child, seconds: float) -> None:
        now, pool = self._core.loop.now, child.template.spec.pool
        child.notes.pss_at, child.notes.pss_due = now, now + max(FRESH, seconds / SHARE)
        self._pool_due[pool] = max(self._pool_due.get(pool, now), now) + seconds / POOL_SHARE


def choose(pools: Iterable[PoolSupervisor], pool_due: Mapping[str, float], now: float) -> list[Child]:
    """Choose whom to look at: the longest unseen first, of each pool not too many."""
    due = [
        child
        for pool in pools
        if pool_due.get(pool.config.name, now) <= now
        for child in pool.workers.children
        if child.pid and child.notes.pss_due <= now
    ]
    due.sort(key=lambda child: child.notes.pss_at)
    counts: Counter[str] = Counter()
    chosen = []
    for child in due:
        counts[child.template.spec.pool] += 1
        if counts[child.template.spec.pool] <= AT_ONCE:
            chosen.append(child)
    return chosen[:PIDS_MAX]
