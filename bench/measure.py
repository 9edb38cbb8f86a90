"""What the kernel says about processes."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

TICK = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU time of some processes, in seconds since each was started; `total` is the exact one.

    Attributes:
        total: by the scheduler, in nanoseconds (schedstat).
        user, system: in clock ticks (stat).
        master: the part of `total` of the first process.
    """

    total: float
    user: float
    system: float
    master: float

    def __sub__(self, before: Usage) -> Usage:
        return Usage(
            self.total - before.total, self.user - before.user, self.system - before.system, self.master - before.master
        )

    @property
    def user_part(self) -> float:
        """The share of `total` that was spent outside the kernel."""
        return self.user / (self.user + self.system) if self.user + self.system > 0 else 0.0


def usage(pids: Iterable[int]) -> Usage:
    """Of these processes, the master first, and of those of their children that have ended and been waited for."""
    total = user = system = 0.0
    master: float | None = None
    for pid in pids:
        with gone_is_nothing():
            own_user, own_system, ended_user, ended_system = _times(pid)
            exact = _scheduled(pid) or own_user + own_system
            total += exact + ended_user + ended_system
            user += own_user + ended_user
            system += own_system + ended_system
            master = exact if master is None else master
    return Usage(total, user, system, master or 0.0)


@contextlib.contextmanager
def gone_is_nothing() -> Iterator[None]:
    """A process that has just ended has nothing left to be read."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError, psutil.NoSuchProcess):
        yield


def _times(pid: int) -> tuple[float, float, float, float]:
    """utime, stime, cutime, cstime in seconds (proc(5), fields 14 to 17 of stat)."""
    fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    user, system, ended_user, ended_system = (int(field) / TICK for field in fields[11:15])
    return user, system, ended_user, ended_system


def _scheduled(pid: int) -> float:
    """Seconds on a CPU of the threads that live; 0 if this kernel does not tell (CONFIG_SCHED_INFO)."""
    found = 0
    for thread in (PROC / str(pid) / "task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found += int((thread / "schedstat").read_text().split()[0])
    return found / 1e9


def cpu_seconds(pid: int) -> float:
    """CPU time of one process, without its children."""
    return _scheduled(pid) or sum(_times(pid)[:2])


def pss_bytes(pid: int) -> int:
    """Proportional set size: shared pages are counted by parts."""
    return int(psutil.Process(pid).memory_full_info().pss)


def uss_bytes(pid: int) -> int:
    """Unique set size: what no other process shares."""
    return int(psutil.Process(pid).memory_full_info().uss)


def rss_bytes(pid: int) -> int:
    """Resident set size."""
    return int(psutil.Process(pid).memory_info().rss)


def forget_peaks(pids: Iterable[int]) -> None:
    """Let each process's peak of its resident memory begin anew (proc(5), clear_refs)."""
    for pid in pids:
        with gone_is_nothing():
            (PROC / str(pid) / "clear_refs").write_text("5")


def peaks(pids: Iterable[int]) -> dict[int, int]:
    """The peak of each, in bytes."""
    found = {}
    for pid in pids:
        with gone_is_nothing():
            lines = (PROC / str(pid) / "status").read_text().splitlines()
            found[pid] = sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    return found


def context_switches(pid: int) -> int:
    """How often the process has gone to sleep by itself, and so been woken."""
    return int(psutil.Process(pid).num_ctx_switches().voluntary)


def children(pid: int) -> list[int]:
    """Direct children."""
    with gone_is_nothing():
        return [child.pid for child in psutil.Process(pid).children()]
    return []


def family(pid: int) -> list[int]:
    """The process and all its descendants."""
    with gone_is_nothing():
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    return []


def session(leader: int) -> list[psutil.Process]:
    """The processes of a session (setsid(2)), also when its leader has ended."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError):
            if os.getsid(process.pid) == leader:
                found.append(process)
    return found


def wait_for(condition: Callable[[], bool], what: str, *, timeout: float = 20.0) -> None:
    """Poll until the condition holds.

    Raises:
        RuntimeError: after `timeout` seconds.
    """
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(f"{what}: not within {timeout:g} s")
        time.sleep(0.02)
