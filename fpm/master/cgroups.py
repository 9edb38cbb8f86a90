"""The control groups of a daemon's pools: made when they are wanted, changed live, removed with their pools.

    BASE                    delegated to the daemon
     └─ pyfpm-1a2b3c4d      all of this daemon; a killed daemon's is taken over by the next with the same control socket
         ├─ master          the master and its helpers, where BASE must have no processes itself
         ├─ pool-www        entered by the launcher, before it becomes the user
         └─ pool-shop

What fails, fails a pool. Nothing here waits: a group that still has processes is tried again later.
"""

from __future__ import annotations

import select
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress

from fpm.cgroups.bounds import (
    MASTER,
    WATCHED,
    Bounded,
    Setting,
    controllers_of,
    daemon_group,
    has_group,
    pool_group,
    settings_of,
)
from fpm.cgroups.changes import enable, may_take_long, move_back, write_setting
from fpm.cgroups.figures import READ, describe_events, read_figures
from fpm.cgroups.files import list_groups, make_group, move_processes, opened, read_file, remove_group
from fpm.cgroups.local import look_at_support
from fpm.cgroups.support import Support, explain_missing
from fpm.config.model import PoolConfig
from fpm.errors import StartError
from fpm.events.master import CgroupLeft
from fpm.events.pool import PoolChangeFailed
from fpm.master.core import Core
from fpm.master.loop.loop import NamedTimers
from fpm.master.processes.helper_process import OneAnswer
from fpm.system.spawn import spawn_helper

ATTEMPTS = 14
"""How often the removal of a group is tried: within two minutes."""
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 20.0
"""Seconds between two attempts; each is twice as long as the one before."""
LAST_WAIT = 0.5
"""Seconds at the end of the daemon for the groups that processes have just left."""
RECLAIM_TIME = 30.0
"""Seconds that a lower memory limit may take."""
FRESH = 1.0
"""Seconds for which figures are shown again."""
SAMPLE_TIME = 0.005
"""Seconds of the master for the figures of one snapshot; the other groups are read for the next."""


class Cgroups:
    """The groups of one daemon, by the names of their directories."""

    def __init__(self, core: Core, control: str) -> None:
        """
        Args:
            control: the control socket, by which a daemon is the same after a restart.
        """
        self._core = core
        self._own = daemon_group(control)
        self._support: Support | None = None
        """None until it is known that groups can be made."""
        self._holders: Counter[str] = Counter()
        """Supervisors by group: a pool that moves to another address has two for a while."""
        self._applied: dict[str, list[Setting]] = {}
        """What has been written, by group."""
        self._figures: dict[str, dict[str, int]] = {}
        self._due: dict[str, float] = {}
        """When the figures of a group may be read again; the longest unread comes first."""
        self._timers = NamedTimers(core.loop)
        self._timers.set(self._own, 0.0, self._sweep)

    # ---------------------------------------------------------------- what pools ask

    def hold(self, pool: str) -> None:
        """Note that there is a supervisor for this pool."""
        self._holders[pool_group(pool)] += 1

    def release(self, pool: str) -> None:
        """Remove the group of a pool that has no process any more, unless another supervisor has it as well."""
        group = pool_group(pool)
        self._holders[group] -= 1
        if self._holders[group] <= 0:
            del self._holders[group]
            if group in self._applied:
                self._remove(group)

    def directory_of(self, config: PoolConfig) -> str:
        """Return the directory of a pool's group, which has been prepared; "" if it has none."""
        return self._path(pool_group(config.name)) if has_group(config) and self._support is not None else ""

    def prepare(self, config: PoolConfig) -> str:
        """Have the group of a pool, if it wants one; returns why it cannot be had, or "".

        The bounds of a group that is in use are left as they are: a new generation may only be on trial.
        """
        return self._ensure(config, anew=False) if has_group(config) else ""

    def apply(self, config: PoolConfig) -> str:
        """Have the group of a pool as this configuration says, which is in force now; returns why it cannot be so."""
        group = pool_group(config.name)
        if has_group(config):
            return self._ensure(config, anew=self._applied.get(group) != settings_of(config))
        if group in self._applied:
            self._remove(group)  # when the workers of the former generations have left it
        return ""

    def memory_events(self, pool: str) -> str:
        """Say what the kernel has counted in a pool's group; "" without one."""
        group = pool_group(pool)
        if group not in self._applied or self._support is None:
            return ""
        with suppress(OSError), opened(self._support.base, self._own, group) as fd:
            return describe_events(read_file(fd, "memory.events") or "")
        return ""

    def close(self) -> None:
        """Remove all groups, at the end of the daemon; what still has processes is left to the next."""
        self._timers.cancel_all()
        support = self._support
        if support is None:
            return
        end = time.monotonic() + LAST_WAIT
        with suppress(OSError), opened(support.base) as base, opened(support.base, self._own) as above:
            left = [group for group in list_groups(above) if group != MASTER]
            while left and time.monotonic() < end:
                left = [group for group in left if not remove_group(above, group)]
                select.select([], [], [], 0.01 if left else 0.0)
            for group in left:
                self._core.emit(CgroupLeft(self._path(group)))
            if not left:
                if MASTER in list_groups(above) and list_groups(base) == [self._own]:
                    move_back(base, above)
                remove_group(base, self._own)

    # ---------------------------------------------------------------- figures

    def sample(self, now: float) -> None:
        """Bring the figures of some groups up to date; `now` is monotonic seconds."""
        support, end = self._support, time.monotonic() + SAMPLE_TIME
        if support is None:
            return
        for group in sorted(self._applied, key=lambda one: self._due.get(one, 0.0)):
            if self._due.get(group, 0.0) > now or time.monotonic() > end:
                break
            self._due[group] = now + FRESH
            with suppress(OSError), opened(support.base, self._own, group) as fd:
                texts = {name: read_file(fd, name) for name in READ}
                self._figures[group] = read_figures({name: text for name, text in texts.items() if text is not None})

    def figures_of(self, pool: str) -> Mapping[str, int]:
        """Return the last figures of a pool's group, by the names of PoolNumbers; nothing without one."""
        return self._figures.get(pool_group(pool), {})

    # ---------------------------------------------------------------- making

    def _path(self, group: str) -> str:
        return f"{self._support.base}/{self._own}/{group}" if self._support is not None else ""

    def _ensure(self, config: PoolConfig, *, anew: bool) -> str:
        group = pool_group(config.name)
        self._timers.cancel(group)  # it was to be removed
        try:
            base = self._set_up(config)
            with opened(base, self._own) as above:
                is_new = make_group(above, group)
            with opened(base, self._own, group) as fd:
                if is_new or anew or group not in self._applied:
                    self._write(fd, config, is_new=is_new)
        except StartError as error:
            return str(error)
        except OSError as error:
            return f"the cgroup {self._path(group)} cannot be made: {error.strerror}"
        return ""

    def _write(self, fd: int, config: PoolConfig, *, is_new: bool) -> None:
        group, settings = pool_group(config.name), settings_of(config)
        former = self._applied.get(group, [])
        self._applied[group] = settings
        slow = [setting for setting in settings if not is_new and may_take_long(fd, setting)]
        try:
            for setting in settings:
                if setting not in slow:
                    write_setting(fd, setting)
            if slow:
                self._write_slowly(config.name, slow)
        except StartError:
            for setting in former:
                with suppress(StartError):
                    write_setting(fd, setting)
            self._applied[group] = former
            raise

    def _write_slowly(self, pool: str, settings: list[Setting]) -> None:
        def done(wrong: str | None) -> None:
            if wrong is not None:
                names = ", ".join(setting.directive for setting in settings)
                self._core.emit(PoolChangeFailed(f"{names}: {wrong}", pool=pool))

        arguments = [self._path(pool_group(pool)), *(f"{setting.file}={setting.text}" for setting in settings)]
        try:
            OneAnswer(
                self._core,
                "the kernel",
                lambda out: spawn_helper("fpm.cgroups.write_memory", arguments, {1: out, 2: out}),
                RECLAIM_TIME,
                done,
            )
        except OSError as error:
            raise StartError(f"the memory limits of the cgroup cannot be written: {error.strerror}") from error

    def _set_up(self, config: Bounded) -> str:
        """Have what all groups are in, with the controllers that this one needs.

        Raises:
            StartError, OSError: it cannot be had.
        """
        needed = controllers_of(config)
        support = self._support or look_at_support()
        if support.missing:
            raise StartError(f"{next(iter(needed.values()), 'cgroup')}: {support.missing}")
        for controller, directive in needed.items():
            sentence = explain_missing(controller, support)
            if sentence:
                raise StartError(f"{directive}: {sentence}")
        self._support = support
        wanted = support.controllers & {*needed, *WATCHED}
        with opened(support.base) as base:
            make_group(base, self._own)
            with opened(support.base, self._own) as above:
                if not support.is_top:
                    make_group(above, MASTER)
                    with opened(support.base, self._own, MASTER) as master:
                        move_processes(base, master)
                enable(base, support.base, wanted, needed)
                enable(above, f"{support.base}/{self._own}", wanted, needed)
        return support.base

    # ---------------------------------------------------------------- removing

    def _sweep(self) -> None:
        """Remove what a killed daemon has left, and no pool of this one uses."""
        support = look_at_support()
        if support.missing:
            return
        with suppress(OSError), opened(support.base, self._own) as above:
            self._support = self._support or support
            for group in list_groups(above):
                if group != MASTER and group not in self._holders:
                    self._remove(group)

    def _remove(self, group: str, attempt: int = 1, pause: float = FIRST_PAUSE) -> None:
        self._applied.pop(group, None)
        self._figures.pop(group, None)
        self._due.pop(group, None)
        if self._support is None:
            return
        try:
            with opened(self._support.base, self._own) as above:
                if remove_group(above, group):
                    return
        except OSError:
            return
        if attempt >= ATTEMPTS:
            self._core.emit(CgroupLeft(self._path(group)))
            return
        later = min(2 * pause, LONGEST_PAUSE)
        self._timers.set(group, pause, lambda: self._remove(group, attempt + 1, later))
