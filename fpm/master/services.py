"""What every pool supervisor is given: the loop, the log and the facts of this master."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fpm.config.model import GlobalConfig
from fpm.log.error import ErrorLog
from fpm.master.loop.loop import Loop
from fpm.master.loop.token_bucket import Allowance
from fpm.master.processes.oom import OomWatch
from fpm.master.slowlog.slow_file import SlowFiles
from fpm.system.listen_queue import ListenQueueReader

if TYPE_CHECKING:
    from fpm.master.tracing.stacks import Stacks


@dataclass(slots=True)
class Budget:
    """The workers of all pools together, for `process.max` (0: no limit)."""

    limit: int = 0
    used: int = 0
    warned: bool = False

    def room(self, wanted: int) -> int:
        """How many of `wanted` new workers are allowed."""
        return wanted if self.limit <= 0 else max(0, min(wanted, self.limit - self.used))


@dataclass(slots=True)
class Services:
    """Shared by all pools of one master."""

    loop: Loop
    log: ErrorLog
    settings: GlobalConfig
    bundle_fd: int
    environ: Mapping[str, str]
    original_rlimit_files: tuple[int, int]
    queues: ListenQueueReader
    budget: Budget
    reapers: dict[int, Callable[[int], None]]
    """Processes that are neither template nor worker: pid, and who is told its wait status."""
    clock: Callable[[], float]
    """Epoch seconds, as the scoreboard has them."""
    oom: OomWatch
    stacks: Stacks = field(init=False)
    """Who takes the stacks of processes; it needs the others, so it is made after them."""
    slow_files: SlowFiles = field(default_factory=SlowFiles)
    resamples: Allowance = field(default_factory=lambda: Allowance(20.0, 20.0))
    """Stacks of requests that go on being slow (request_slowlog_interval), of all pools together."""
