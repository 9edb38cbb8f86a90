"""The samples of `pyfpm top`: what the master says of the daemon, and what the kernel says of its workers."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from dataclasses import replace

import psutil

from fpm.cli.top_figures import CpuTimes, Sample
from fpm.client.control import fetch_snapshot
from fpm.errors import ControlError
from fpm.status.overview import Pool
from fpm.status.snapshot import Snapshot


class Watched:
    """The daemon, sample after sample.

    Attributes:
        routes: what is counted for each route is wanted as well.
        trouble: why the last sample failed, or "".
        base: the sample from which on routes are counted; None: from the start of the daemon.
    """

    def __init__(self, path: str, pool: str | None, *, routes: bool = False) -> None:
        self.path = path
        self.pool = pool
        self.routes = routes
        self.before: Sample | None = None
        self.now: Sample | None = None
        self.base: Sample | None = None
        self.trouble = ""

    def sample(self) -> None:
        """Take a sample.

        Raises:
            ControlError: nobody answers.
        """
        snapshot = fetch_snapshot(self.path, self.pool, workers=True, routes=self.routes, past=True)
        if self.routes and self.pool is None:
            snapshot = self._with_routes(snapshot)
        at = time.monotonic()
        cpu = read_cpu_times(worker.pid for pool in snapshot.pools for worker in pool.workers)
        self.before, self.now = self.now, Sample(at, snapshot, cpu)
        self.trouble = ""

    def _with_routes(self, snapshot: Snapshot) -> Snapshot:
        """Ask for the routes pool by pool: all of them at once would keep the master busy for long."""
        pools = []
        for pool in snapshot.pools:
            found: tuple[Pool, ...] = ()
            if pool.numbers.requests:
                with contextlib.suppress(ControlError):  # the pool is gone
                    found = fetch_snapshot(self.path, pool.name, workers=False, routes=True).pools
            pools.append(replace(pool, routes=found[0].routes) if found else pool)
        return replace(snapshot, pools=tuple(pools))

    def try_to_sample(self) -> None:
        """Take a sample; a daemon that does not answer is remembered as trouble, it may come back."""
        try:
            self.sample()
        except ControlError as error:
            self.trouble = str(error)


def read_cpu_times(pids: Iterable[int]) -> CpuTimes:
    """Ask the kernel for the CPU time of processes; those that are gone are left out."""
    found = {}
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            spent = process.cpu_times()
            found[pid, process.create_time()] = spent.user + spent.system
    return found
