"""Parses what the kernel reports of processes killed for lack of memory, and decides what it means. Pure.

The texts are those of cgroup v2 (memory.events, memory.max; admin-guide/cgroup-v2.rst in the kernel's documentation),
of cgroup v1 (memory.oom_control, memory.limit_in_bytes; cgroup-v1/memory.rst) and of /dev/kmsg (ABI/testing/dev-kmsg).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection
from typing import Literal

from fpm.frozen import dataclass
from fpm.status.figures import format_size

Answer = Literal["yes", "no", "unknown"]
KERNEL_FACILITY = 0
"""Facility of a record of /dev/kmsg that user space cannot write (syslog(2))."""
LIMIT_NONE = 1 << 62
"""A cgroup v1 limit of at least so many bytes means no limit."""
_KILL = re.compile(r"(?:(Memory cgroup )?[Oo]ut of memory[^:]*: )?Kill(?:ed)? process (\d{1,7}) \(")


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill from the kernel log."""

    pid: int
    in_cgroup: bool
    """A cgroup's limit was reached, not the machine's."""


@dataclass(frozen=True, slots=True)
class OomVerdict:
    """Was a process killed because memory had run out?"""

    answer: Answer
    note: str = ""
    """With yes, which memory; with unknown, why."""
    source: str = ""
    """Where it comes from: "kernel log", "cgroup"."""


def events_file(directory: str, version: int) -> str:
    """Return the file that counts the kills of a cgroup."""
    return f"{directory}/{'memory.events' if version == 2 else 'memory.oom_control'}"


def limit_files(directory: str, top: str, version: int) -> list[str]:
    """Return the files with the limits of a cgroup and of its ancestors, up to the mount `top`."""
    name = "memory.max" if version == 2 else "memory.limit_in_bytes"
    found = [f"{directory}/{name}"]
    while directory != top and directory.startswith(f"{top}/"):
        directory = posixpath.dirname(directory)
        found.append(f"{directory}/{name}")
    return found


def parse_kills(text: str) -> int | None:
    """Parse `oom_kill` of memory.events or memory.oom_control; None where the kernel does not count (before 4.13)."""
    for line in text.splitlines():
        name, _, number = line.partition(" ")
        if name == "oom_kill" and number.isascii() and number.isdigit():
            return int(number)
    return None


def parse_limit(text: str) -> int | None:
    """Parse memory.max or memory.limit_in_bytes; None for no limit."""
    number = text.strip()
    if not number.isascii() or not number.isdigit():
        return None
    return int(number) if int(number) < LIMIT_NONE else None


def parse_record(record: bytes) -> Kill | None:
    """Parse a kill from a record of /dev/kmsg: `3,874,12511354260,-;Memory cgroup out of memory: Killed ...`."""
    head, _, text = record.partition(b";")
    priority = head.partition(b",")[0]
    if not priority.isdigit() or int(priority) >> 3 != KERNEL_FACILITY:
        return None
    # Only at the start: the process's name, which its user chooses, comes later.
    match = _KILL.match(text.decode("utf-8", "replace"))
    return Kill(int(match[2]), match[1] is not None) if match else None


def judge(
    pid: int, rise: int | None, kills: Collection[Kill], *, log: str, limit: int | None, counter: str
) -> OomVerdict:
    """Decide whether the kernel has killed a process, from its cgroup's counter and the kernel log.

    The counter is raised before the process is killed (__oom_kill_process, mm/oom_kill.c), the line is written later.

    Args:
        pid: the process, which ended by SIGKILL.
        rise: kills in its cgroup that no other exit has explained; None: unknown.
        kills: kills in the kernel log since.
        log: why the kernel log has nothing, or not everything; "" if it has.
        limit: the cgroup's limit in bytes, None without one.
        counter: why `rise` is unknown.
    """
    mine = next((kill for kill in kills if kill.pid == pid), None)
    limited = f"cgroup limit {format_size(limit)}" if limit is not None else "a cgroup's limit"
    if mine is not None:
        return OomVerdict("yes", limited if mine.in_cgroup else "the machine had no memory left", "kernel log")
    if rise == 0:
        return OomVerdict("no", source="cgroup")
    if rise is not None and (log or rise > len(kills)):
        return OomVerdict("yes", limited if limit is not None else "", "cgroup")
    if not log:
        return OomVerdict("no", source="kernel log")
    return OomVerdict("unknown", f"{counter}; {log}")
