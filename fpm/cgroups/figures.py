"""What the kernel says of a group: CPU time, memory, processes, pressure (accounting/psi.rst). Pure."""

from __future__ import annotations

import re
from collections.abc import Callable

_AVERAGE = re.compile(r"^some avg10=(\d{1,3})\.(\d\d) ", re.MULTILINE)
EVENTS = ("high", "max", "oom", "oom_kill")
"""Of memory.events, in its order; `low` tells of a protection that pools do not have."""


def parse_flat(text: str) -> dict[str, int]:
    """Parse lines `NAME NUMBER`."""
    pairs = [line.split() for line in text.splitlines()]
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isascii() and pair[1].isdigit()}


def parse_pressure(text: str) -> int | None:
    """Parse the average of the last 10 s in which some process has waited, in hundredths of a percent."""
    match = _AVERAGE.search(text)
    return int(match[1]) * 100 + int(match[2]) if match else None


def describe_events(text: str) -> str:
    """Say what memory.events has counted: "high 12, max 3, oom 1, oom_kill 1"; "" for nothing."""
    counted = parse_flat(text)
    return ", ".join(f"{name} {counted[name]}" for name in EVENTS if counted.get(name))


def _single(name: str) -> Callable[[str], dict[str, int]]:
    def read(text: str) -> dict[str, int]:
        number = text.strip()
        return {name: int(number)} if number.isascii() and number.isdigit() else {}

    return read


def _pressure(name: str) -> Callable[[str], dict[str, int]]:
    def read(text: str) -> dict[str, int]:
        value = parse_pressure(text)
        return {} if value is None else {name: value}

    return read


def _cpu(text: str) -> dict[str, int]:
    times = parse_flat(text)
    names = {"usage_usec": "cgroup_cpu", "throttled_usec": "cgroup_throttled"}
    return {name: times[one] // 1000 for one, name in names.items() if one in times}


def _events(text: str) -> dict[str, int]:
    counted = parse_flat(text)
    return {f"cgroup_{name}": counted[name] for name in EVENTS if name in counted}


READ = {
    "memory.current": _single("cgroup_memory"),
    "memory.peak": _single("cgroup_memory_peak"),
    "memory.events": _events,
    "pids.current": _single("cgroup_processes"),
    "cpu.stat": _cpu,
    "cpu.pressure": _pressure("cpu_pressure"),
    "memory.pressure": _pressure("memory_pressure"),
    "io.pressure": _pressure("io_pressure"),
}
"""The files, and how each is read."""


def read_figures(texts: dict[str, str]) -> dict[str, int]:
    """Read the figures of a group, by the names of their fields in fpm.scoreboard.numbers.PoolNumbers.

    Args:
        texts: the files that there are, by name.
    """
    found: dict[str, int] = {}
    for name, text in texts.items():
        found |= READ[name](text)
    return found
