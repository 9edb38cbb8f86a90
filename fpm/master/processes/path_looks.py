"""Looks at the paths of pools before the master does: a file system that does not answer hangs another process.

A directory of a pool may lie on a server that is dead, or on a file system that a pool's user provides himself (FUSE).
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable
from signal import Signals

from fpm.config.hung_paths import is_below, set_hung
from fpm.config.model import PoolConfig, UnixAddress
from fpm.events.master import PathHung
from fpm.kernel.landlock import parse_rules
from fpm.master.core import Core
from fpm.master.loop.loop import Timer
from fpm.master.processes.bundle import sealed_memfd
from fpm.protocol.mounts import parse_mount
from fpm.system.path_looker import FD_INDEX, FD_PATHS, INDEX_SIZE
from fpm.system.spawn import spawn_helper

LOOK_TIME = 1.5
"""Seconds without progress at one path, after which it is taken as hung; up to twice as long."""
START_TIME = 10.0
"""Seconds in which the process must have started."""


class PathLooks:
    """One look after another, for all pools. What hangs is left out of the next look at the same time only."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._wanted: dict[str, None] = {}
        self._waiting: list[Callable[[], None]] = []
        """Who goes on after the next look."""
        self._served: list[Callable[[], None]] = []
        """Who goes on after the present one."""
        self._hung: list[str] = []
        self._paths: list[str] = []
        self._pid = 0
        self._index_fd = -1
        self._last = -1
        self._begun = 0.0
        self._timer: Timer | None = None

    def look(self, paths: Iterable[str], then: Callable[[], None]) -> None:
        """Look at paths, and go on when it is known which of them hang; never within this call."""
        self._wanted |= dict.fromkeys(paths)
        self._waiting.append(then)
        if self._timer is None:
            self._timer = self._core.loop.call_later(0.0, self._begin)

    def close(self) -> None:
        """Go on no more."""
        self._waiting, self._served = [], []
        if self._timer is not None:
            self._timer.cancel()
        self._give_up()

    def _begin(self) -> None:
        self._hung = []
        self._paths, self._wanted = list(self._wanted), {}
        self._served, self._waiting = self._waiting, []
        self._execute()

    def _execute(self) -> None:
        """Look at those that are left."""
        if not self._paths:
            self._finish()
            return
        self._index_fd = os.memfd_create("pyfpm-index", os.MFD_CLOEXEC)
        paths_fd = sealed_memfd("pyfpm-paths", json.dumps(self._paths).encode())
        try:
            self._pid = spawn_helper("fpm.system.path_looker", (), {FD_PATHS: paths_fd, FD_INDEX: self._index_fd})
        except OSError:  # no processes left: whatever is to be looked at is not looked at
            self._hung += self._paths
            self._give_up()
            self._finish()
            return
        finally:
            os.close(paths_fd)
        pid = self._pid
        self._core.reapers[pid] = lambda status: self._ended(pid)
        self._last, self._begun = -1, self._core.loop.now
        self._watch()

    def _watch(self) -> None:
        self._timer = self._core.loop.call_later(LOOK_TIME, self._look_at_progress)

    def _look_at_progress(self) -> None:
        data = os.pread(self._index_fd, INDEX_SIZE, 0)
        index = int.from_bytes(data, "little") if data else -1
        if index != self._last or (index < 0 and self._core.loop.now < self._begun + START_TIME):
            self._last = index
            self._watch()
            return
        self._give_up()
        if index < 0:  # it does not even start
            self._hung += self._paths
            self._finish()
            return
        path = self._paths[index]
        self._core.emit(PathHung(path))
        self._hung.append(path)
        self._paths = [one for one in self._paths[index + 1 :] if not is_below(one, path)]
        self._execute()

    def _ended(self, pid: int) -> None:
        if pid == self._pid:
            self._give_up()
            self._finish()

    def _give_up(self) -> None:
        """Leave the process; if it hangs where no signal reaches it, it ends when the file system answers."""
        if self._timer is not None:
            self._timer.cancel()
        if self._pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, Signals.SIGKILL)
            self._pid = 0
        if self._index_fd >= 0:
            os.close(self._index_fd)
            self._index_fd = -1

    def _finish(self) -> None:
        self._timer = None
        set_hung(self._hung)
        served, self._served = self._served, []
        if self._waiting:
            self._timer = self._core.loop.call_later(0.0, self._begin)
        for then in served:
            then()


def paths_of(configs: Iterable[PoolConfig]) -> list[str]:
    """List what a configuration makes the master look at, the directories first."""
    paths = []
    for config in configs:
        root = config.rootfs or config.chroot or ""
        if isinstance(config.listen, UnixAddress):
            paths.append(os.path.dirname(config.listen.path))
        found = [root, config.chdir, config.python, config.access_log, config.slowlog, *config.pythonpath]
        if config.app.startswith(("/", "script:/")):
            found.append(config.app.removeprefix("script:").partition(":")[0])
        found += [rule.path for rule in parse_rules(config.landlock or ())]
        paths.append(config.env_file or "")
        lines = [parse_mount(text) for text in config.mount]
        found += [line.target for line in lines]
        paths += [root + path if path != root else path for path in found if path]
        paths += [path for line in lines for path in (*line.sources, line.value("upperdir"), line.value("workdir"))]
    return [path for path in paths if path]
