"""Children of the test process, also the orphaned ones, so that nothing a test starts can be left behind unseen."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import select
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from glob import glob
from pathlib import Path

import psutil

from tests.support.waiting import wait_until

PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Make this process the parent of all orphaned descendants (prctl(2)), so that `descendants` finds them."""
    assert Path("/proc/thread-self/children").exists(), "the kernel has been built without CONFIG_PROC_CHILDREN"
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


class Child:
    """A child of this process, by Popen or adopted, that is waited for without polling."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self.status: int | None = None

    def alive(self) -> bool:
        """Whether it has not ended yet."""
        return self.wait(0) is None

    def wait(self, timeout: float) -> int | None:
        """The exit code (negative: the signal that ended it), or None after `timeout` seconds."""
        if self.status is None and select.select([self.pidfd], [], [], timeout)[0]:
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            os.close(self.pidfd)
        return self.status

    def signal(self, number: int) -> None:
        """Send a signal; nothing happens if it has ended."""
        if self.alive():
            signal.pidfd_send_signal(self.pidfd, number)

    def finish(self) -> None:
        """End it, and kill it if it has not ended after 20 seconds."""
        self.signal(signal.SIGTERM)
        if self.wait(20.0) is None:
            self.signal(signal.SIGKILL)
            self.wait(10.0)


def descendants(pid: int) -> list[psutil.Process]:
    """All living processes below `pid`, zombies included.

    The kernel may leave out a child while another one ends, or gets another parent (proc(5)): asked again until it has
    said the same twice. The parents of all processes of the machine would take a hundred times as long.
    """
    return _twice_the_same(lambda: _below(pid))


def children(pid: int) -> list[psutil.Process]:
    """The living children of `pid` alone, in the same way."""
    return _twice_the_same(lambda: sorted(_children(pid)))


def _twice_the_same(look: Callable[[], list[int]]) -> list[psutil.Process]:
    pids = look()
    for _ in range(10):
        former, pids = pids, look()
        if pids == former:
            break
    found = []
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            found.append(psutil.Process(pid))
    return found


def _below(pid: int) -> list[int]:
    """The pids below `pid`, as /proc/PID/task/TID/children tells them: every thread has its own."""
    below = {pid}
    new = [pid]
    while new:
        found = {child for parent in new for child in _children(parent)}
        new = sorted(found - below)
        below |= found
    return sorted(below - {pid})


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for children in glob(f"/proc/{pid}/task/*/children"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # this thread has ended
            found += map(int, Path(children).read_bytes().split())
    return found


def is_zombie(process: psutil.Process) -> bool:
    """Whether it has ended and its parent has not asked for its status."""
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def lives(process: psutil.Process) -> bool:
    """Whether it has not ended, be it buried or not."""
    return bool(process.is_running()) and not is_zombie(process)


def no_zombies(pid: int, *, timeout: float = 30.0) -> None:
    """Assert that `pid` buries all its dead within `timeout` seconds."""
    wait_until(
        lambda: not [p for p in descendants(pid) if is_zombie(p)],
        timeout=timeout,
        message=f"zombies below process {pid}",
    )


def end_strays(processes: list[psutil.Process], *, timeout: float = 30.0) -> list[str]:
    """Wait for processes that ought to be gone; kill those that are not, and describe them."""
    with contextlib.suppress(AssertionError):
        wait_until(lambda: not any(map(lives, processes)), timeout=timeout)
    strays = []
    for process in filter(lives, processes):
        with contextlib.suppress(psutil.NoSuchProcess):
            strays.append(describe_process(process))
            process.kill()
    reap_adopted(processes)
    return strays


def reap_adopted(processes: list[psutil.Process]) -> None:
    """Bury those of the ended processes that became children of this one."""
    for process in processes:
        try:
            os.waitpid(process.pid, os.WNOHANG)
        except ChildProcessError:
            continue  # it was somebody else's child, who has buried it


def status_of(pid: int) -> dict[str, str]:
    """/proc/PID/status, proc(5).

    Raises:
        OSError: it has ended.
    """
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def own_memory(pid: int) -> int:
    """Bytes that a process has in memory beside files: pages of these come and go as the kernel needs room."""
    return int(status_of(pid)["RssAnon"].split()[0]) * 1024


def descriptors(pid: int) -> list[str]:
    """What the open descriptors of a process point at, sorted."""
    found = []
    directory = f"/proc/{pid}/fd"
    for entry in os.listdir(directory):
        try:
            found.append(os.readlink(f"{directory}/{entry}"))
        except FileNotFoundError:
            continue  # closed since the directory was read
    return sorted(found)


def describe_process(process: psutil.Process) -> str:
    """One line: what it is, what it does, how long it has run."""
    try:
        with process.oneshot():
            times = process.cpu_times()
            wait = Path(f"/proc/{process.pid}/wchan").read_text()
            title = " ".join(process.cmdline()).rstrip()
            return (
                f"{process.pid} of {process.ppid()}: {process.status()} in {wait}, {process.num_threads()} threads, "
                f"CPU {times.user + times.system:.2f} s, started {process.create_time():.2f}: {title}"
            )
    except (psutil.NoSuchProcess, OSError) as error:
        return f"{process.pid}: {error}"


def cpu_seconds(pid: int) -> float:
    """The CPU time that a process has used."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def switches(pid: int) -> int:
    """How often a process has gone to sleep by itself, proc(5)."""
    found = re.search(r"^voluntary_ctxt_switches:\t(\d+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


def quiet(pids: list[int], *, seconds: float, switches_allowed: int = 1) -> None:
    """Wait until each process has woken up at most so often within `seconds`."""
    start, before = time.monotonic(), [switches(pid) for pid in pids]

    def rests() -> bool:
        nonlocal start, before
        now = [switches(pid) for pid in pids]
        if any(after - count > switches_allowed for after, count in zip(now, before, strict=True)):
            start, before = time.monotonic(), now
        return time.monotonic() - start >= seconds

    wait_until(rests, message="it does not come to rest")


def spawn_logged(command: Sequence[str], environ: Mapping[str, str], log: Path) -> int:
    """posix_spawn(3) with an empty standard input, and both outputs appended to the log."""
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), append, 0o644),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    return os.posix_spawn(command[0], command, environ, file_actions=actions, setsigdef=[signal.SIGPIPE])
