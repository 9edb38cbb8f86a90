"""Measures how much memory workers really use (PSS), never for much of a processor, and only while somebody asks:
the status, or a pool that is near its limit.

A process of its own looks at them, the longest unseen first, as far as the accounts of a process and of its pool allow
(`fpm.master.processes.memory_reader` says why). What takes too long is killed, and that process left out for long.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from typing import Any

from fpm.events.master import HelperOutput
from fpm.master.core import Core
from fpm.master.loop.loop import NamedTimers
from fpm.master.processes.helper_process import HelperProcess, Owner
from fpm.master.processes.memory_notes import Measurable
from fpm.protocol.memory import MemoryWanted, ReaderReady, as_message, read_answer
from fpm.protocol.wire import MessageError
from fpm.system.proc_memory import read_resident

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
    """Keeps `MemoryNotes.pss` up to date."""

    def __init__(self, core: Core) -> None:
        self._core = core
        owner = Owner(lambda: bool(self._asked), self._on_start, self._on_message, lambda: None, self._on_end)
        self._process = HelperProcess(core, "the memory reader", "fpm.master.processes.memory_reader", owner)
        self._is_ready = False
        self._asked: deque[Measurable] = deque()
        """Those that it looks at now, in this order."""
        self._pool_due: dict[str, float] = {}
        """Monotonic seconds before which a pool has used its share up."""
        self._timers = NamedTimers(core.loop)

    def sample(self, processes: Iterable[Measurable], now: float) -> None:
        """Have some of these processes looked at, after those that others have asked for.

        Args:
            now: monotonic seconds.
        """
        self._timers.set("idle", IDLE_TIME, self._process.stop)
        self._pool_due = {name: due for name, due in self._pool_due.items() if due > now}
        waiting = {id(one.notes) for one in self._asked}
        pools = {one.pool for one in self._asked}
        wanted = [one for one in processes if one.pool not in pools and id(one.notes) not in waiting]
        chosen = choose(wanted, self._pool_due, now)[: PIDS_MAX - len(self._asked)]
        was_idle = not self._asked
        self._asked.extend(chosen)
        if not self._is_ready:
            self._process.start()
        elif chosen:
            self._send(chosen, was_idle=was_idle)

    def close(self) -> None:
        """End it, at the end of the master."""
        self._timers.cancel_all()
        self._process.close()

    def _on_start(self) -> None:
        self._timers.set("late", START_TIME, self._process.stop)

    def _send(self, chosen: list[Measurable], *, was_idle: bool) -> None:
        if not self._process.send(as_message(MemoryWanted([one.pid for one in chosen]))):
            for _ in chosen:
                self._asked.pop()
        elif was_idle:
            self._await_next()

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
            self._timers.cancel("late")
            self._send(list(self._asked), was_idle=True)
        elif self._asked:
            one = self._asked.popleft()
            one.notes.pss, one.notes.resident_then = read.pss, read_resident(one.pid)
            self._charge(one, read.seconds)
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

    def _charge(self, one: Measurable, seconds: float) -> None:
        now, notes = self._core.loop.now, one.notes
        notes.pss_at, notes.pss_due = now, now + max(FRESH, seconds / SHARE)
        self._pool_due[one.pool] = max(self._pool_due.get(one.pool, now), now) + seconds / POOL_SHARE


def choose(processes: Iterable[Measurable], pool_due: Mapping[str, float], now: float) -> list[Measurable]:
    """Choose whom to look at: the longest unseen first, of each pool not too many."""
    due = [one for one in processes if one.pid and one.notes.pss_due <= now and pool_due.get(one.pool, now) <= now]
    due.sort(key=lambda one: one.notes.pss_at)
    counts: Counter[str] = Counter()
    chosen = []
    for one in due:
        counts[one.pool] += 1
        if counts[one.pool] <= AT_ONCE:
            chosen.append(one)
    return chosen[:PIDS_MAX]
