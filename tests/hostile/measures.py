"""What is measured while a pool attacks: how long a neighbour's clients and the administrator wait, what has changed.

Machines are noisy. A metronome measures how late this process itself is woken, and an answer is late only by what
exceeds that. The neighbour is compared with itself beside an attacker's pool that merely computes, with as many
processes: that two pools share the processors is nobody's attack.

There are two measures: MEASURED is the aim, for `make hostile` on a quiet machine; TOLERATED is for a test that must
not fail because of what else the machine does, and still finds a master that is deaf and a neighbour that starves.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.hostile.witness import Witness

P99_RATIO = 1.5
"""How much longer than beside an honest busy pool a neighbour's clients may wait, at the 99th percentile."""
PAUSE = 0.002


@dataclass(frozen=True)
class Limits:
    """How long others may wait, in seconds.

    Attributes:
        slack: of a neighbour's client beyond P99_RATIO; what is shorter is noise of the kernel's scheduler.
        control: the master's answers on its control socket, the slowest of them.
    """

    slack: float
    control: float


MEASURED = Limits(slack=0.03, control=0.1)
TOLERATED = Limits(slack=0.15, control=3.0)


@dataclass
class Waits:
    """How long each answer took, in seconds; what went wrong; when and how late this process was woken."""

    neighbour: list[float] = field(default_factory=list)
    control: list[float] = field(default_factory=list)
    oversleeps: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    account: str = ""
    """What the master did before its slowest answer."""

    def excuse(self) -> float:
        """Seconds by which the machine itself is late, at its worst."""
        return max(self.oversleeps, default=0.0)


def p99(values: list[float]) -> float:
    """The value that 99 of 100 do not exceed."""
    return sorted(values)[min(len(values) - 1, int(len(values) * 0.99))]


def complaints(before: Waits, during: Waits, limits: Limits) -> list[str]:
    """Say what was worse during an attack than is allowed."""
    found = [f"an error: {error}" for error in during.errors[:3]]
    limit = P99_RATIO * p99(before.neighbour) + limits.slack + p99(during.oversleeps)
    if during.neighbour and p99(during.neighbour) > limit:
        found.append(
            f"the neighbour answers in {p99(during.neighbour):.4f} s (p99 of {len(during.neighbour)}), "
            f"before in {p99(before.neighbour):.4f} s; at most {limit:.4f} s is allowed"
        )
    if not during.neighbour:
        found.append("the neighbour never answered")
    if max(during.control, default=9e9) > limits.control + during.excuse():
        found.append(
            f"the master answered after {max(during.control, default=9e9):.3f} s, at the worst of "
            f"{len(during.control)}; this process was woken {during.excuse():.3f} s late at most; {during.account}"
        )
    return found


@contextmanager
def measuring(neighbour: Callable[[], None], control: Callable[[], None], witness: Witness) -> Iterator[Waits]:
    """Ask the neighbour and the master, whom the witness watches, again and again while the block runs."""
    waits, stopped = Waits(), threading.Event()
    witness.forget()

    def ask_master() -> None:
        with witness.question():
            control()

    def ask(what: Callable[[], None], times: list[float]) -> None:
        while not stopped.is_set():
            began = time.perf_counter()
            try:
                what()
            except (OSError, AssertionError, ValueError) as error:
                waits.errors.append(f"{type(error).__name__}: {error}")
            times.append(time.perf_counter() - began)
            stopped.wait(PAUSE)

    def tick() -> None:
        while not stopped.is_set():
            began = time.perf_counter()
            stopped.wait(PAUSE)
            waits.oversleeps.append(time.perf_counter() - began - PAUSE)

    jobs = [(ask, neighbour, waits.neighbour), (ask, ask_master, waits.control)]
    threads = [threading.Thread(target=job, args=rest, daemon=True) for job, *rest in jobs]
    threads.append(threading.Thread(target=tick, daemon=True))
    for thread in threads:
        thread.start()
    try:
        yield waits
    finally:
        stopped.set()
        for thread in threads:
            thread.join(90)
        waits.account = witness.account
    assert not any(thread.is_alive() for thread in threads), f"no answer within 90 s: {waits.errors}"


def listing(directory: Path, leave_out: Iterable[Path]) -> dict[str, str]:
    """Everything below a directory with type, owner, mode, inode, size and content; without what may change."""
    without, found = set(leave_out), {}
    for place, folders, files in os.walk(directory):
        folders[:] = [name for name in folders if Path(place, name) not in without]
        for name in [".", *folders, *files]:
            path = Path(place, name)
            if path not in without:
                found[str(path)] = _describe(path)
    return found


def _describe(path: Path) -> str:
    status = path.lstat()
    content = ""
    if stat.S_ISREG(status.st_mode):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
    elif stat.S_ISLNK(status.st_mode):
        content = os.readlink(path)
    size = status.st_size if stat.S_ISREG(status.st_mode) else 0
    mode = stat.filemode(status.st_mode)
    return f"{mode} {status.st_uid}:{status.st_gid} inode {status.st_ino} links {status.st_nlink} {size} {content}"


def differences(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Say what has been changed, added or removed."""
    names = sorted(before.keys() | after.keys())
    return [
        f"{name}: {before.get(name, 'nothing')} -> {after.get(name, 'nothing')}"
        for name in names
        if before.get(name) != after.get(name)
    ]
