"""Asks the master for snapshots, and keeps them for a moment."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from concurrent.futures import Future
from contextlib import nullcontext

from fpm.frozen import dataclass
from fpm.protocol.status import SnapshotTaken, SnapshotWanted, as_message
from fpm.protocol.wire import pack_message
from fpm.status.overview import Overview
from fpm.status.past.exchange import pack_past
from fpm.status.past.file_format import COPY_MAX, pack_track
from fpm.status.past.history import History
from fpm.status.past.track import Track
from fpm.status.snapshot import Snapshot, read_snapshot
from fpm.status_server.site import MasterSilent

PATIENCE = 3.0
"""Seconds to wait for the master, who answers from memory."""
REST = 20.0
"""A snapshot is shown to others for this many times what it has cost, so that nobody can keep the master busy."""
FINE_UNTIL = COPY_MAX
"""Bytes of the past; a file has half as many. They are those of 500 pools that are busy all the time."""


@dataclass(frozen=True, slots=True)
class CachedSnapshot:
    """A snapshot that may be shown again for a moment."""

    until: float
    """Monotonic seconds."""
    snapshot: Snapshot


class SnapshotCache:
    """Shows snapshots to all threads, each with the past of its pools."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._lock = threading.Lock()
        self._taking = threading.Lock()
        """Of the snapshots of all pools: the history takes them in the order in which the master took them."""
        self._number = 0
        self._waiting: dict[int, Future[tuple[bytes, float]]] = {}
        self._kept: dict[tuple[str | None, bool], CachedSnapshot] = {}
        self._locks: dict[tuple[str | None, bool], threading.Lock] = {}
        self._names: frozenset[str] = frozenset()
        """The names of all pools when they were last seen."""
        self._history = History()
        self._awaits_history = False
        """What there was before is still being read: nothing is known of the past until then."""

    def read(self, name: str | None, workers: bool) -> Overview:
        """Read a pool or all of them; see fpm.status_server.site.SnapshotReader."""
        if name and not self._is_known(name):
            return Overview(self._snapshot(None, False).daemon, ())
        snapshot = self._snapshot(name, workers)
        with self._lock:
            complete, is_brief = self._history.complete, name is None
            pools = tuple(complete(pool, snapshot.daemon, brief=is_brief) for pool in snapshot.pools)
        return Overview(snapshot.daemon, pools)

    def _is_known(self, name: str) -> bool:
        """Return whether there is such a pool, without a question to the master for each invented name."""
        return name in self._names or name in {pool.name for pool in self._snapshot(None, False).pools}

    def sample(self, *, is_last: bool = False) -> tuple[float, float]:
        """Go on with the history; who looks next still sees a snapshot of its own.

        Args:
            is_last: it may come soon after the one before.

        Returns:
            CPU seconds that it has cost the master, and seconds until another can add what this one could not.

        Raises:
            MasterSilent: the master does not answer.
        """
        with self._taking:
            data, cost = self._ask(None, False, memory=False)
            return cost, self._go_on(read_snapshot(data), is_last=is_last)

    def _go_on(self, snapshot: Snapshot, *, is_last: bool = False) -> float:
        with self._lock:
            return 0.0 if self._awaits_history else self._history.add(snapshot, is_last=is_last)

    @property
    def has_news(self) -> bool:
        """Return whether the history has gone on since it was packed."""
        return self._history.has_news

    def await_history(self) -> None:
        """Begin none, as that of before will come."""
        self._awaits_history = True

    def take_history(self, tracks: dict[str, Track]) -> None:
        """Go on with the history of before."""
        with self._lock:
            self._history.tracks = tracks
            self._awaits_history = False

    def pack_history(self) -> dict[str, bytes]:
        """Pack the past of each pool for the file, with the finest points of as many as there is room for.

        Others need not wait until all are packed.
        """
        self._history.has_news = False
        packed, size = {}, 0
        for name, track in list(self._history.tracks.items()):
            with self._lock:
                packed[name] = pack_track(track, with_fine=size < FINE_UNTIL)
            size += len(packed[name])
        return packed

    def read_past(self, name: str | None, *, points: bool) -> bytes:
        """Read the past of a pool or of all of them; see fpm.status.past.exchange.

        Raises:
            MasterSilent: the master does not answer.
        """
        return pack_past(self.read(name, False).pools, points=points)

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
            with self._taking if name is None else nullcontext():
                data, cost = self._ask(name, workers)
                begin = time.thread_time()
                snapshot = read_snapshot(data)
                cost = max(cost, (time.thread_time() - begin) / 4)
                if name is None:
                    self._go_on(snapshot)
            with self._lock:
                if len(self._kept) > 2 * len(snapshot.pools) + 1000:  # names of pools that are gone
                    self._kept.clear()
                    self._locks.clear()
                self._kept[key] = CachedSnapshot(now + REST * cost, snapshot)
                if name is None:
                    self._names = frozenset(pool.name for pool in snapshot.pools)
            return snapshot

    def _ask(self, name: str | None, workers: bool, *, memory: bool = True) -> tuple[bytes, float]:
        future: Future[tuple[bytes, float]] = Future()
        with self._lock:
            self._number = number = self._number + 1
            self._waiting[number] = future
        try:
            question = pack_message(as_message(SnapshotWanted(number, name, workers, memory)))
            self._channel.send(question, socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT)
            return future.result(PATIENCE)
        except (TimeoutError, OSError, json.JSONDecodeError) as error:
            raise MasterSilent(str(error)) from error
        finally:
            with self._lock:
                self._waiting.pop(number, None)
