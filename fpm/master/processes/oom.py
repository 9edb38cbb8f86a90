"""Finds out whether the kernel has killed a process for lack of memory, from cgroup counters and the kernel log.

Nothing here waits, and nothing is read before a process has been killed, except for one small file when a process
starts: afterwards its cgroup would be unknown.
"""

from __future__ import annotations

import os
import time
from collections import deque
from dataclasses import dataclass

from fpm.cgroups.places import Mount, directory_of, parse_membership, parse_mounts
from fpm.master.processes.oom_reports import (
    Kill,
    OomVerdict,
    events_file,
    judge,
    limit_files,
    parse_kills,
    parse_limit,
    parse_record,
)

FILE_MAX = 65536


def read_kernel_file(path: str) -> bytes | None:
    """Read up to FILE_MAX bytes; return None if the file is missing or hidden, as in a container."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        return os.read(fd, FILE_MAX)
    except OSError:  # ENODEV: the cgroup has been removed meanwhile; ESRCH: the process has ended
        return None
    finally:
        os.close(fd)


EXPLAINS = 30.0
"""Seconds for which a logged kill may explain an exit: a large process takes time to exit."""
RECORDS_MAX = 4096
"""Records of the kernel log that are read at once; about 5 ms."""
RECORD_SIZE = 8192
"""Bytes of the longest record (dev-kmsg)."""
CGROUPS_MAX = 256
KILLS_MAX = 256
INITIAL_PID_NAMESPACE = 0xEFFFFFFC
"""Its inode (PROC_PID_INIT_INO, include/linux/proc_ns.h): the kernel log has pids of this namespace."""


@dataclass(slots=True)
class Counter:
    """The number of kills in one cgroup."""

    version: int
    top: str
    """The mount point."""
    known: int | None
    """The kernel's count at the last reading; None if it is not available."""
    unexplained: int = 0
    at: float = 0.0
    """Monotonic seconds of the last increase."""


class OomWatch:
    """The kills known to the master. The paths are parameters for the tests."""

    def __init__(self, *, proc: str = "/proc", kmsg: str = "/dev/kmsg") -> None:
        self._proc = proc
        self._mounts: tuple[Mount, ...] | None = None
        self._counters: dict[str, Counter] = {}
        self._directories: dict[bytes, str] = {}
        """From what /proc/PID/cgroup says; nearly all processes say the same."""
        self._log = KernelLog(kmsg, proc)

    def learn(self, pid: int, entering: str = "") -> str:
        """Find the memory cgroup of a process while it lives.

        Args:
            entering: the directory of the group that it is about to enter.

        Returns:
            Its directory, for `examine`; "" if it is unknown.
        """
        if entering and self._follow(entering):
            return entering
        text = read_kernel_file(f"{self._proc}/{pid}/cgroup")
        if text is None:
            return ""
        directory = self._directories.get(text)
        if directory is None:
            if len(self._directories) >= CGROUPS_MAX:
                self._directories.clear()
            directory = self._directories[text] = self._find(text.decode("utf-8", "surrogateescape"))
        if directory:
            self._update_counter(directory)
        return directory

    def examine(self, pid: int, directory: str) -> OomVerdict:
        """Decide whether a process that ended by SIGKILL, sent by none of ours, was killed for lack of memory."""
        self._update_counter(directory)
        counter = self._counters.get(directory)
        kills, incomplete = self._log.read()
        rise = None if counter is None or counter.known is None else counter.unexplained
        limit = None if counter is None else self._limit(directory, counter)
        why = "its cgroup counts no kills" if directory else "its cgroup could not be read"
        verdict = judge(pid, rise, kills, log=incomplete, limit=limit, counter=why)
        if verdict.answer == "yes":
            self._log.forget(pid)
            if counter is not None:
                counter.unexplained = max(counter.unexplained - 1, 0)
        return verdict

    def close(self) -> None:
        """Close the kernel log."""
        self._log.close()

    def _find(self, said: str) -> str:
        membership = parse_membership(said)
        directory = None if membership is None else directory_of(membership, self._known_mounts())
        if membership is None or directory is None:
            return ""
        self._add_counter(directory, membership.version, _count(directory, membership.version))
        return directory

    def _follow(self, directory: str) -> bool:
        """Count in a group of version 2; returns whether it counts kills."""
        count = _count(directory, 2)
        if count is not None and directory not in self._counters:
            self._add_counter(directory, 2, count)
        return count is not None

    def _known_mounts(self) -> tuple[Mount, ...]:
        if self._mounts is None:
            text = read_kernel_file(f"{self._proc}/self/mountinfo") or b""
            self._mounts = parse_mounts(text.decode("utf-8", "surrogateescape"))
        return self._mounts

    def _add_counter(self, directory: str, version: int, count: int | None) -> None:
        if len(self._counters) >= CGROUPS_MAX:
            self._counters.clear()
        top = next((mount.point for mount in self._known_mounts() if mount.version == version), directory)
        self._counters[directory] = Counter(version, top, count)

    def _update_counter(self, directory: str) -> None:
        counter = self._counters.get(directory)
        if counter is None:
            return
        now, count = time.monotonic(), _count(directory, counter.version)
        if now - counter.at > EXPLAINS:
            counter.unexplained = 0
        if count is not None and counter.known is not None and count > counter.known:
            counter.unexplained += count - counter.known
            counter.at = now
        counter.known = count

    @staticmethod
    def _limit(directory: str, counter: Counter) -> int | None:
        """Return the smallest limit that applies to the cgroup."""
        texts = [read_kernel_file(file) for file in limit_files(directory, counter.top, counter.version)]
        limits = [parse_limit(text.decode("ascii", "replace")) for text in texts if text is not None]
        return min((limit for limit in limits if limit is not None), default=None)


class KernelLog:
    """/dev/kmsg from the start of the master on, read only on demand."""

    def __init__(self, path: str, proc: str) -> None:
        self._fd = -1
        self._why = ""
        """Why nothing can be read."""
        self._kills: deque[tuple[float, Kill]] = deque(maxlen=KILLS_MAX)
        """With the monotonic time of the reading."""
        try:
            if os.stat(f"{proc}/self/ns/pid").st_ino != INITIAL_PID_NAMESPACE:
                self._why = "the kernel log names other pids than this container"
                return
            self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            os.lseek(self._fd, 0, os.SEEK_END)
        except OSError as error:  # EPERM: kernel.dmesg_restrict (proc_sys_kernel(5)); ENOENT: a container
            self._why = f"the kernel log cannot be read ({error.strerror})"
            self.close()

    def read(self) -> tuple[list[Kill], str]:
        """Return recent kills, and why there may have been more ("": none was missed)."""
        incomplete = self._read() if self._fd >= 0 else self._why
        now = time.monotonic()
        while self._kills and now - self._kills[0][0] > EXPLAINS:
            self._kills.popleft()
        return [kill for _, kill in self._kills], incomplete

    def _read(self) -> str:
        lost = ""
        for _ in range(RECORDS_MAX):
            try:
                record = os.read(self._fd, RECORD_SIZE)
            except BlockingIOError:
                return lost
            except BrokenPipeError:  # EPIPE: records have been overwritten; the next read continues after them
                lost = "the kernel log has lost lines"
                continue
            except OSError as error:
                return f"the kernel log cannot be read ({error.strerror})"
            kill = parse_record(record)
            if kill is not None:
                self._kills.append((time.monotonic(), kill))
            elif not record:
                return lost
        os.lseek(self._fd, 0, os.SEEK_END)
        return "the kernel log has too many new lines"

    def forget(self, pid: int) -> None:
        """Drop a kill that has been explained, because its pid may be used again."""
        self._kills = deque((one for one in self._kills if one[1].pid != pid), KILLS_MAX)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _count(directory: str, version: int) -> int | None:
    text = read_kernel_file(events_file(directory, version))
    return None if text is None else parse_kills(text.decode("ascii", "replace"))
