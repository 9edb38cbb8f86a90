"""The file that keeps the past of the pools, beside the control socket: the master opens it, this process fills it."""

from __future__ import annotations

import fcntl
import os
import threading
import time

from fpm.status.past.file_format import COPY_MAX, HEAD, Copy, pack_copy, read_copy, read_tracks
from fpm.status.past.track import Track

FILE_MAX = 2 * COPY_MAX
LOCK_TIME = 10.0
"""Seconds to wait for the process of a former master, which saves its last minute."""
LOCK_EVERY = 0.1


class HistoryFile:
    """Owns the descriptor; one process at a time uses the file (flock(2))."""

    def __init__(self, fd: int, path: str) -> None:
        self._fd = fd
        self._path = path
        self._lock = threading.Lock()
        self._number = 0
        """Of the newest copy."""
        self._is_ours = False
        self._told: set[str] = set()

    def load(self) -> dict[str, Track]:
        """Return the past that the file holds; what cannot be used is said in one line."""
        if not self._wait_for_lock():
            self._tell("another process keeps its past there")
            return {}
        self._is_ours = True
        try:
            if not os.fstat(self._fd).st_size:
                return {}
            copies, troubles = self._read_copies()
            for copy in sorted(copies, key=lambda one: -one.number):
                self._number = max(self._number, copy.number)
                try:
                    return read_tracks(copy)
                except ValueError as error:
                    troubles.append(str(error))
            self._tell(f"{troubles[0]}. The past of the pools is lost")
        except OSError as error:
            self._tell(f"{error.strerror}. The past of the pools is lost")
        return {}

    def save(self, tracks: dict[str, bytes]) -> None:
        """Write the past over the older copy."""
        if not self._is_ours:
            return
        with self._lock:
            try:
                data = pack_copy(self._number + 1, tracks)
                self._write(data, COPY_MAX * ((self._number + 1) % 2))
                self._number += 1
            except (OSError, ValueError) as error:
                self._tell(f"{error}; it is not saved")

    def _write(self, data: bytes, offset: int) -> None:
        """Write all; the head, without which it does not count, last."""
        view = memoryview(data)
        os.pwrite(self._fd, bytes(HEAD.size), offset)
        at = HEAD.size
        while at < len(view):
            at += os.pwrite(self._fd, view[at:], offset + at)
        os.pwrite(self._fd, view[: HEAD.size], offset)

    def _wait_for_lock(self) -> bool:
        until, never = time.monotonic() + LOCK_TIME, threading.Event()
        while True:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if time.monotonic() >= until:
                    return False
                never.wait(LOCK_EVERY)
            else:
                return True

    def _read_copies(self) -> tuple[list[Copy], list[str]]:
        copies, troubles = [], []
        for offset in (0, COPY_MAX):
            try:
                copies.append(read_copy(os.pread(self._fd, COPY_MAX, offset)))
            except ValueError as error:
                troubles.append(str(error))
        return copies, troubles

    def _tell(self, trouble: str) -> None:
        """Say once in the error log what is wrong with the file."""
        if trouble not in self._told:
            self._told.add(trouble)
            os.write(1, f"{self._path}: {trouble}\n".encode(errors="backslashreplace"))
