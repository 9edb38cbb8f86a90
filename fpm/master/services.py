"""What every pool supervisor is given: the core of the master, its settings and what all pools share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fpm.config.model import GlobalConfig
from fpm.events.master import RestartNeeded
from fpm.log.lines import parse_level
from fpm.master.cgroups import Cgroups
from fpm.master.core import Core
from fpm.master.loop.hangups import HangupWatch
from fpm.master.loop.read_budget import TokenBucket
from fpm.master.processes.log_opener import LogOpener
from fpm.master.processes.memory_sampler import MemorySampler
from fpm.master.processes.oom import OomWatch
from fpm.master.processes.owner import Ids
from fpm.master.processes.path_looks import PathLooks
from fpm.master.slowlog.slow_file import SlowFiles
from fpm.master.tracing.paced_looks import PacedLooks
from fpm.master.tracing.stacks import Stacks
from fpm.stacks.text.entry import Entry
from fpm.system.listen_queue import ListenQueueReader

NEEDS_RESTART = (
    "control",
    "error_log",
    "syslog_ident",
    "syslog_facility",
    "rlimit_files",
    "rlimit_core",
    "systemd_interval",
)
"""Directives of [global] that a reload does not apply."""


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
class Services(Core):
    """Shared by all pools of one master."""

    settings: GlobalConfig
    bundle_fd: int
    environ: Mapping[str, str]
    original_rlimit_files: tuple[int, int]
    queues: ListenQueueReader
    budget: Budget
    oom: OomWatch
    stacks: Stacks = field(init=False)
    paths: PathLooks = field(init=False)
    hangups: HangupWatch = field(init=False)
    pool_ids: set[Ids] = field(default_factory=set)
    """Of all processes that pools have had."""
    log_opener: LogOpener = field(init=False)
    slow_files: SlowFiles = field(init=False)
    memory: MemorySampler = field(init=False)
    cgroups: Cgroups = field(init=False)
    looks: PacedLooks[Entry] = field(default_factory=PacedLooks)
    """Of those who ask for stacks and can wait."""
    resamples: TokenBucket = field(default_factory=lambda: TokenBucket(20.0, 20.0))
    """Stacks of requests that go on being slow (request_slowlog_interval), of all pools together."""

    def __post_init__(self) -> None:
        self.stacks, self.paths, self.hangups = Stacks(self), PathLooks(self), HangupWatch(self.loop)
        self.log_opener = LogOpener(self)
        self.slow_files = SlowFiles(self, self.log_opener)
        self.memory = MemorySampler(self)
        self.cgroups = Cgroups(self, self.settings.control)

    def close(self) -> None:
        """End what belongs to no single pool."""
        self.memory.close()
        self.stacks.close()
        self.paths.close()
        self.log_opener.close()
        self.oom.close()
        self.hangups.close()

    def take_settings(self, settings: GlobalConfig) -> None:
        """Work by a changed [global] section from now on, as far as a reload can."""
        for name in NEEDS_RESTART:
            if getattr(self.settings, name) != getattr(settings, name):
                self.emit(RestartNeeded(name.replace("syslog_", "syslog.")))
        self.log.level = parse_level(settings.log_level)
        self.log.form = settings.log_format
        self.settings = settings
        self.budget.limit = settings.process_max
