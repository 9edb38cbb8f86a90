"""Samples all pools, whether somebody looks or not: a history that begins with the first look misses the trouble."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress

from fpm.status_server.history_file import HistoryFile
from fpm.status_server.site import MasterSilent
from fpm.status_server.snapshot_cache import SnapshotCache

EVERY = 5.0
EVERY_AT_MOST = 15.0
"""Seconds between two samples of very many pools."""
SHARE = 0.005
"""Of a core, that the samples may cost the master."""
SAVE_EVERY = 30.0
"""Seconds of the past that may be lost when this process is killed."""
SAVE_SHARE = 0.01
"""Of a core, that saving may cost this process; of very many busy pools it is saved once a minute."""
SAVE_EVERY_AT_MOST = 60.0


class Sampler:
    """Keeps the history, and the file that has it when this process begins anew."""

    def __init__(self, cache: SnapshotCache, file: HistoryFile | None, on_saved: Callable[[], None]) -> None:
        """
        Args:
            on_saved: called in the sampler's thread when `save_soon` is done.
        """
        self._cache = cache
        self._file = file
        self._on_saved = on_saved
        self._hurry = threading.Event()
        self._saving = threading.Lock()
        if file is not None:
            cache.await_history()

    def start(self) -> None:
        """Go on in a thread of its own."""
        threading.Thread(target=self._run, daemon=True).start()

    def save(self) -> None:
        """Save what there is, and is not saved yet."""
        with self._saving:
            if self._file is not None and self._cache.has_news:
                self._file.save(self._cache.pack_history())

    def save_soon(self) -> None:
        """Take a last sample, in which all is that has been counted until now, and save."""
        self._hurry.set()

    def _run(self) -> None:
        """Sample for ever; what was missed is not made up for."""
        if self._file is not None:
            self._cache.take_history(self._file.load())
        next_save = time.monotonic() + SAVE_EVERY
        while True:
            begin, pause = time.monotonic(), EVERY
            is_hurried = self._hurry.is_set()
            if is_hurried:  # else it may be set just now, and is not to be forgotten
                self._hurry.clear()
            with suppress(MasterSilent):  # a gap, as long as it is so
                pause = min(max(self._sample(is_last=is_hurried) / SHARE, EVERY), EVERY_AT_MOST)
            if begin >= next_save or is_hurried:
                spent = time.thread_time()
                self.save()
                wanted = (time.thread_time() - spent) / SAVE_SHARE
                next_save = begin + min(max(wanted, SAVE_EVERY), SAVE_EVERY_AT_MOST)
            if is_hurried:
                self._on_saved()
            self._hurry.wait(max(begin + pause - time.monotonic(), EVERY / 10))

    def _sample(self, *, is_last: bool) -> float:
        """Take a sample; a last one comes too early if the one before is hardly over, and is taken anew then.

        Returns:
            CPU seconds that it has cost the master.

        Raises:
            MasterSilent: the master does not answer.
        """
        cost, early = self._cache.sample(is_last=is_last)
        never = threading.Event()
        while is_last and early > 0:
            never.wait(early)
            cost, early = self._cache.sample(is_last=True)
        return cost
