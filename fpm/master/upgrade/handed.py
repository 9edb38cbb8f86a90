"""What the former master has handed over, read by this program before it takes over: afterwards it is too late.

Values that this program knows and the former one did not are optional here, and have a default where they are
restored; what only the former one knows is ignored.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Annotated, Any

from fpm.config.dump import dump
from fpm.config.model import Config, PoolConfig
from fpm.config.other_version import Reading, find_differences
from fpm.errors import StartError
from fpm.frozen import dataclass
from fpm.master.pool.current_config import check_current
from fpm.master.pool.history import Record
from fpm.master.pool.pool_state import PoolState
from fpm.master.pool.start_failures import StartFailures
from fpm.master.pool.template_state import TemplateState
from fpm.master.pool.worker_state import WorkerState
from fpm.protocol import messages
from fpm.protocol.spec import unpack_spec
from fpm.protocol.wire import Range, read_dataclass
from fpm.scoreboard.reading import SLOTS_MAX
from fpm.scoreboard.snapshot import PID_MAX
from fpm.status.overview import read_last_reload

Fd = Annotated[int, Range(-1, 2**31 - 1)]
"""-1: none."""
Number = Annotated[int, Range(0, SLOTS_MAX)]


@dataclass(frozen=True, slots=True)
class HandedListener:
    """A listening socket, see fpm.master.listening.inherited."""

    fd: Fd
    inode: list[int] | None
    is_ours: bool
    missing: str


@dataclass(frozen=True, slots=True)
class HandedStatusListener(HandedListener):
    """One at which the status process answers."""

    address: str


@dataclass(frozen=True, slots=True)
class HandedBoard:
    """A scoreboard and what belongs to it, see fpm.master.pool.shared_resources."""

    board: Fd
    slots: Annotated[int, Range(1, SLOTS_MAX)]
    wake: Fd
    park: list[Fd]


@dataclass(frozen=True, slots=True)
class HandedProcess:
    """See fpm.master.pool.process_handle."""

    pid: int
    pidfd: Fd
    reported_pid: int


@dataclass(frozen=True, slots=True)
class HandedTemplate:
    """See fpm.master.pool.template_handover."""

    state: str
    pid: int
    spec: dict[str, Any]
    channel: Fd
    outputs: list[Fd]


@dataclass(frozen=True, slots=True)
class HandedChild:
    """A worker, see fpm.master.pool.child."""

    state: str
    retire_reason: str
    template: int
    """Pid of one of the templates."""
    slot: Number
    board: Number
    """Of the pool's scoreboards."""
    process: HandedProcess
    channel: Fd
    outputs: list[Fd]
    started: float
    idle_since: float
    logged_request: int
    ended_request: int


@dataclass(frozen=True, slots=True)
class HandedAccessLog:
    """See fpm.master.pool.access_log."""

    fd: Fd
    path: str | None


@dataclass(frozen=True, slots=True)
class HandedPool:
    """One pool, see fpm.master.pool.supervisor."""

    name: str
    state: str
    listener: HandedListener
    access_log: HandedAccessLog
    record: dict[str, Any]
    current: dict[str, Any]
    failure: dict[str, Any] | None
    resources: list[HandedBoard]
    templates: list[HandedTemplate]
    children: list[HandedChild]
    statistics: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Handed:
    """All of it, see fpm.master.upgrade.upgrade."""

    dump: list[str]
    control: HandedListener
    rlimit_files: list[int]
    waiter: Fd
    pools: list[HandedPool]
    status: list[HandedStatusListener] = field(default_factory=list)
    status_process: Annotated[int, Range(0, PID_MAX)] = 0
    last_reload: dict[str, Any] | None = None
    given: dict[str, Any] | None = None
    """Not known to former releases, as is what follows."""
    protocol: int = 1
    reading: Fd = -1
    """A file for what this program makes of the configuration, see fpm.master.upgrade.handover."""


def check_handed(state: Mapping[str, Any], config: Config) -> None:
    """See whether this program can go on with the state, by the configuration that it reads itself.

    Raises:
        StartError: it cannot; the sentence says what to do.
    """
    try:
        handed: Handed = read_dataclass(Handed, dict(state))
        own = Reading(dump(config), {section: tuple(names) for section, names in config.given.items()})
        differences = find_differences(Reading(handed.dump, handed.given), own)
        if not differences:
            _check_values(state, handed, config)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise StartError(
            f"the state of the running version cannot be read by this one, so restart pyfpm instead: {error!r}"
        ) from error
    if differences:
        raise StartError(
            "this version reads the configuration differently from the running one, so either restart pyfpm, or:\n"
            + "\n".join(differences)
        )
    if handed.protocol != messages.VERSION:
        raise StartError(
            f"the running workers speak version {handed.protocol} of our protocol, and this version of pyfpm speaks "
            f"{messages.VERSION}; restart pyfpm instead"
        )


def _check_values(state: Mapping[str, Any], handed: Handed, config: Config) -> None:
    """Read once what will be restored, as far as no descriptor is needed for it."""
    if len(handed.rlimit_files) != 2:
        raise ValueError("rlimit_files are not two numbers")
    read_last_reload(handed.last_reload)
    pools = {pool.name: pool for pool in config.pools}
    for pool, described in zip(handed.pools, state["pools"], strict=True):
        _check_pool(pool, described, pools.pop(pool.name))
    if pools:
        raise ValueError(f"there is no pool {', '.join(pools)}")


def _check_pool(pool: HandedPool, described: Mapping[str, Any], config: PoolConfig) -> None:
    PoolState[pool.state]
    own = check_current(pool.current, config)
    Record(own, 0.0).restore(pool.record, own)
    StartFailures().restore(pool.failure)
    for name in ("carried", "routes"):
        bytes.fromhex((pool.statistics or {}).get(name, ""))
    if any(len(shared.park) != 2 for shared in pool.resources):
        raise ValueError("a parking socket has two ends")
    for template in pool.templates:
        TemplateState[template.state]
        unpack_spec(json.dumps(template.spec).encode())
    pids = {template.pid for template in pool.templates}
    for child in pool.children:
        WorkerState[child.state]
        if child.template not in pids or child.slot >= pool.resources[child.board].slots:
            raise ValueError(f"a worker of pool {pool.name} has no template or no slot")
    for one in (*described["templates"], *described["children"]):
        _check_own_stack(one["own_stack"])


def _check_own_stack(values: Sequence[Any]) -> None:
    fd, listens = values
    if type(fd) is not int or type(listens) is not bool:
        raise ValueError("own_stack is not a descriptor and a truth value")
