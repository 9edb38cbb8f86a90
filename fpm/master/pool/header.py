"""A pool's scoreboards as the master writes them: what only it knows, for the status pages of the workers."""

from __future__ import annotations

from dataclasses import replace

from fpm.master.pool.history import Failing, Record
from fpm.master.pool.templates import Templates
from fpm.master.pool.workers import Workers
from fpm.master.services import Services
from fpm.scoreboard.header import absorb
from fpm.scoreboard.memory import Scoreboard, write_header


class PoolHeader:
    """Brings the header of the present scoreboard up to date."""

    def __init__(self, services: Services, record: Record, templates: Templates, workers: Workers) -> None:
        self._services = services
        self._record = record
        self._templates = templates
        self._workers = workers

    @property
    def board(self) -> Scoreboard | None:
        """The present scoreboard; None while the pool has never had a process."""
        return self._templates.shared.board if self._templates.shared else None

    def boards(self) -> list[Scoreboard]:
        """Every scoreboard that a worker may be on, the present one last."""
        return [one.board for one in self._templates.every_shared()]

    def write(self) -> None:
        """Something has changed that only the master counts."""
        present = self._templates.present
        values = self._record.values
        values.generation = present.generation if present else self._templates.generation
        self._record.failing(self._failing())
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

    def _failing(self) -> Failing | None:
        failure, backoff = self._templates.failure, self._templates.backoff
        if failure is None:
            return None
        pause = max(backoff.until - self._services.loop.now, 0.0)
        return Failing(failure.since, backoff.failures, self._services.clock() + pause)
