"""What a pool's group may have: from its directives to the kernel's files (admin-guide/cgroup-v2.rst). Pure."""

from __future__ import annotations

import re
import zlib
from typing import Protocol

from fpm.frozen import dataclass

NAME_MAX = 63
"""Characters of a pool's name."""
MASTER = "master"
"""The group of the master and its helpers, where a group with others below must have no processes itself."""
_OTHER = re.compile(r"[^A-Za-z0-9._@+~-]")


class Bounded(Protocol):
    """A pool's configuration, as far as it concerns its group."""

    @property
    def cgroup(self) -> str:
        """auto or yes."""

    @property
    def cgroup_memory_max(self) -> int | None:
        """Bytes, as is the next."""

    @property
    def cgroup_memory_high(self) -> int | None: ...

    @property
    def cgroup_cpu_max(self) -> str | None:
        """Microseconds of CPU time, and of the period: "150000 100000"."""

    @property
    def cgroup_cpu_weight(self) -> int | None: ...

    @property
    def cgroup_pids_max(self) -> int | None: ...

    @property
    def cgroup_io_weight(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Setting:
    """A file of a group, and what is to be in it."""

    directive: str
    controller: str
    file: str
    text: str
    is_set: bool
    """By the configuration; otherwise it is the kernel's default."""


@dataclass(frozen=True, slots=True)
class _Row:
    directive: str
    file: str
    unset: str
    spelled: str = "{}"

    @property
    def controller(self) -> str:
        return self.file.partition(".")[0]


_ROWS = (
    # High first: what is lowered is reclaimed there before the hard limit would kill.
    _Row("cgroup.memory_high", "memory.high", "max"),
    _Row("cgroup.memory_max", "memory.max", "max"),
    _Row("cgroup.cpu_max", "cpu.max", "max"),
    _Row("cgroup.cpu_weight", "cpu.weight", "100"),
    _Row("cgroup.pids_max", "pids.max", "max"),
    _Row("cgroup.io_weight", "io.weight", "default 100", "default {}"),
)
WATCHED = ("memory", "pids")
"""Controllers that are wanted for their figures, where they are there."""


def settings_of(config: Bounded) -> list[Setting]:
    """Say what is to be in each file of the pool's group."""
    found = []
    for row in _ROWS:
        value = getattr(config, row.directive.replace(".", "_"))
        text = row.unset if value is None else row.spelled.format(value)
        found.append(Setting(row.directive, row.controller, row.file, text, value is not None))
    return found


def has_group(config: Bounded) -> bool:
    """Tell whether a pool has a group of its own."""
    return config.cgroup == "yes" or any(setting.is_set for setting in settings_of(config))


def controllers_of(config: Bounded) -> dict[str, str]:
    """Return the controllers that a pool needs, each with the first directive that needs it."""
    needed: dict[str, str] = {}
    for setting in settings_of(config):
        if setting.is_set:
            needed.setdefault(setting.controller, setting.directive)
    return needed


def pool_group(pool: str) -> str:
    """Return the name of a pool's group, which is a name and never a path.

    Names of pools have no other characters; what comes from elsewhere is escaped all the same.
    """
    return "pool-" + _OTHER.sub(lambda match: f"%{ord(match[0]):x}", pool[:NAME_MAX])


def daemon_group(control: str) -> str:
    """Return the name of the group that has all others of a daemon; no two daemons have the same control socket."""
    return f"pyfpm-{zlib.crc32(control.encode('utf-8', 'surrogateescape')):08x}"


def is_daemon_group(name: str) -> bool:
    """Tell whether it is such a name, of any daemon."""
    return re.fullmatch(r"pyfpm-[0-9a-f]{8}", name) is not None
