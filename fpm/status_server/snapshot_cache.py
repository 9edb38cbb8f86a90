"""Asks the master for snapshots, and keeps them for a moment."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from concurrent.futures import Future

from fpm.frozen import dataclass
from fpm.protocol.status import SnapshotTaken, SnapshotWanted, as_message
from fpm.protocol.wire import pack_message
from fpm.status.history import History
from fpm.status.overview import Overview
from fpm.status.snapshot import Snapshot, read_snapshot
from fpm.status_server.site import MasterSilent

PATIENCE = 3.0
"""Seconds to wait for the master, who answers from memory."""
REST = 20.0
"""A snapshot is shown to others for this many times what it has cost, so that nobody can keep the master busy."""
WATCHED = 150.0
"""Seconds after the last look at an HTML page for which the history goes on."""
SAMPLE_EVERY = 1.0


@dataclass(frozen=True, slots=True)
class CachedSnapshot:
    """A snapshot that may be shown again for a moment."""

    until: float
    """Monotonic seconds."""
    snapshot: Snapshot


class SnapshotCache:
    """Shows snapshots to all threads, and samples them while somebody watches."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._lock = threading.Lock()
        self._number = 0
        self._waiting: dict[int, Future[tuple[bytes, float]]] = {}
        self._kept: dict[tuple[str | None, bool], CachedSnapshot] = {}
        self._locks: dict[tuple[str | None, bool], threading.Lock] = {}
        self._names: frozenset[str] = frozenset()
        """The names of all pools when they were last seen."""
        self._history = History()
        self._watched_until = 0.0
        self._sampler: threading.Thread | None = None

    def read(self, name: str | None, workers: bool) -> Overview:
        """Read a pool or all of them; see fpm.status_server.site.SnapshotReader."""
        if name and not self._is_known(name):
            return Overview(self._snapshot(None, False).daemon, ())
        snapshot = self._snapshot(name, workers)
        with self._lock:
            pools = tuple(self._history.complete(pool, snapshot.daemon.now) for pool in snapshot.pools)
        return Overview(snapshot.daemon, pools)

    def _is_known(self, name: str) -> bool:
        """Return whether there is such a pool, without a question to the master for each invented name."""
        return name in self._names or name in {pool.name for pool in self._snapshot(None, False).pools}

    def watch(self) -> None:
        """Go on with the history for a while, as somebody looks at it."""
        with self._lock:
            self._watched_until = time.monotonic() + WATCHED
            if self._sampler is None:
                self._sampler = threading.Thread(target=self._sample, daemon=True)
                self._sampler.start()

    def receive(self, answer: SnapshotTaken, fd: int | None) -> None:
        """Take the master's answer; the descriptor is read and closed."""
        try:
            with self._lock:
                future = self._waiting.pop(answer.number, None)
            if future is None:
                return  # it came too late
            if fd is None:
                future.set_exception(MasterSilent(answer.error))
            else:
                data = os.pread(fd, os.fstat(fd).st_size, 0)
                future.set_result((data, answer.cost))
        finally:
            if fd is not None:
                os.close(fd)

    def _snapshot(self, name: str | None, workers: bool) -> Snapshot:
        key = (name, workers)
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            now = time.monotonic()
            kept = self._kept.get(key)
            if kept is not None and now < kept.until:
                return kept.snapshot
            data, cost = self._ask(name, workers)
            begin = time.thread_time()
            snapshot = read_snapshot(data)
            cost = max(cost, (time.thread_time() - begin) / 4)
            with self._lock:
                if len(self._kept) > 2 * len(snapshot.pools) + 1000:  # names of pools that are gone
                    self._kept.clear()
                    self._locks.clear()
                self._kept[key] = CachedSnapshot(now + REST * cost, snapshot)
                if name is None:
                    self._names = frozenset(pool.name for pool in snapshot.pools)
                    self._history.add(snapshot)
            return snapshot

    def _ask(self, name: str | None, workers: bool) -> tuple[bytes, float]:
        future: Future[tuple[bytes, float]] = Future()
        with self._lock:
            self._number = number = self._number + 1
            self._waiting[number] = future
        try:
            question = pack_message(as_message(SnapshotWanted(number, name, workers)))
            self._channel.send(question, socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT)
            return future.result(PATIENCE)
        except (TimeoutError, OSError, json.JSONDecodeError) as error:
            raise MasterSilent(str(error)) from error
        finally:
            with self._lock:
                self._waiting.pop(number, None)

    def _sample(self) -> None:
        """Take samples while somebody watches, in a thread of its own."""
        never = threading.Event()
        while True:
            never.wait(SAMPLE_EVERY)
            with self._lock:
                if time.monotonic() > self._watched_until:
                    self._sampler = None
                    return
            try:
                self._snapshot(None, False)
            except MasterSilent:
                continue
