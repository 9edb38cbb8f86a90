"""A pool's scoreboards as the master writes them: what only it knows, for the status pages of the workers."""

from __future__ import annotations

from dataclasses import replace

from fpm.master.pool.current_config import CurrentConfig
from fpm.master.pool.history import Record
from fpm.master.pool.shared_resources import PoolResources
from fpm.master.pool.start_failures import StartFailures
from fpm.master.pool.workers import Workers
from fpm.master.services import Services
from fpm.scoreboard.hot_path import HotPath
from fpm.scoreboard.memory import Scoreboard, write_header
from fpm.scoreboard.reading import absorb


class PoolHeader:
    """Brings the header of the present scoreboard up to date."""

    def __init__(
        self,
        services: Services,
        record: Record,
        current: CurrentConfig,
        resources: PoolResources,
        failures: StartFailures,
        workers: Workers,
    ) -> None:
        self._services = services
        self._record = record
        self._current = current
        self._resources = resources
        self._failures = failures
        self._workers = workers

    @property
    def board(self) -> Scoreboard | None:
        """The present scoreboard; None while the pool has never had a process."""
        return self._resources.board

    def boards(self) -> list[Scoreboard]:
        """Every scoreboard that a worker may be on, the present one last."""
        return [one.board for one in self._resources.all()]

    def write(self) -> None:
        """Something has changed that only the master counts."""
        values = self._record.values
        if values.generation != self._current.generation:
            values.generation, values.hot_path = self._current.generation, HotPath.UNKNOWN
        values.hot_path = self._current.hot_paths.of(values.generation, values.hot_path)
        self._record.failing(self._failures.describe(self._services.loop.now, self._services.clock()))
        board = self.board
        if board is None:
            return
        elsewhere = [child.slot.read() for child in self._workers.children if child.board is not board]
        if elsewhere:  # a reload has made a larger scoreboard, and some workers still write to the former one
            values = replace(values)
            absorb(values, elsewhere, self._services.clock())
        write_header(board.view, values)

    def reloaded(self, at: float, *, ok: bool) -> None:
        """A reload of the daemon has ended, at this time (epoch seconds)."""
        self._record.reloaded(at, ok=ok)
        self.write()
