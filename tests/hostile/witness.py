"""What the master did while it owed an answer, so that a late one explains itself."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOOK_AFTER = 0.5
"""Seconds without an answer after which it is looked at what the master does, and again after as long."""
LOOKS = 3
"""Of one answer."""


class Witness:
    """Watches one process; `question` surrounds each question to it.

    It is made once for a daemon: to find out how an interpreter lays out its memory takes half a second of a processor,
    which must not be taken from what is measured.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._asked = 0.0
        """When the question was asked that has no answer yet; 0.0: there is none."""
        self._worst = 0.0
        self.looks: list[str] = []
        """What was seen during the last question."""
        self.account = ""
        """What is known of the slowest answer."""
        self._over = threading.Event()
        self._looker = subprocess.Popen(
            [sys.executable, "-m", "tests.hostile.look", str(pid)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def forget(self) -> None:
        """Begin a new account."""
        self._worst, self.account, self.looks = 0.0, "", []

    def close(self) -> None:
        """Watch no more."""
        self._over.set()
        self._looker.communicate(timeout=60)
        self._thread.join(60)

    @contextmanager
    def question(self) -> Iterator[None]:
        """Keep an account of the answer, if it is the slowest so far."""
        computed, queued = times(self._pid)
        self.looks, self._asked = [], time.perf_counter()
        try:
            yield
        finally:
            seconds, self._asked = time.perf_counter() - self._asked, 0.0
            if seconds > self._worst:
                after = times(self._pid)
                self._worst = seconds
                self.account = (
                    f"in these {seconds:.3f} s the master had a processor for {after[0] - computed:.3f} s "
                    f"and waited for one for {after[1] - queued:.3f} s"
                ) + "".join(f"; then it was {look}" for look in self.looks)

    def _watch(self) -> None:
        while not self._over.wait(LOOK_AFTER / 10):
            asked, looks = self._asked, self.looks
            late = time.perf_counter() - asked if asked else 0.0
            if len(looks) < LOOKS and late > LOOK_AFTER * (len(looks) + 1):
                looks.append(f"after {late:.1f} s {self._look()}")

    def _look(self) -> str:
        assert self._looker.stdin is not None
        assert self._looker.stdout is not None
        try:
            print(file=self._looker.stdin, flush=True)
            return self._looker.stdout.readline().strip()
        except (OSError, ValueError):  # it has ended, or we end
            return "not seen"


def times(pid: int) -> tuple[float, float]:
    """Seconds that a process has had a processor, and has waited for one, so far (schedstat, proc(5))."""
    try:
        computed, queued, _ = (Path("/proc") / str(pid) / "schedstat").read_text().split()
    except OSError:  # the kernel does not count it, or the process has ended
        return 0.0, 0.0
    return int(computed) / 1e9, int(queued) / 1e9
