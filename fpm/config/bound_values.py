"""Parsers of the values that bound what a pool takes of the machine. Pure."""

from __future__ import annotations

import re

from fpm.config.invalid_value import InvalidValue

CPUS_MAX = 8192
"""CPUs that any kernel is built for (NR_CPUS)."""
QUOTA_MIN, PERIOD_MAX = 1000, 1_000_000
"""Microseconds, as the kernel wants them (tg_set_cfs_bandwidth, kernel/sched/core.c)."""
SHARE_PERIOD = 100_000
"""Microseconds of the period for a percentage; it is the kernel's default."""
_SHARE = re.compile(r"([0-9]{1,7})[ \t]*%|([0-9]{1,12})[ \t]+([0-9]{1,7})")
_CPUS = re.compile(r"([0-9]{1,4})(?:-([0-9]{1,4}))?")
_IO_PRIORITY = re.compile(r"(best-effort|realtime)[ \t]+([0-7])|idle", re.IGNORECASE)


def parse_cpus(text: str) -> tuple[int, ...]:
    """Parse a list of CPUs as in the kernel's files (cpuset(7)); the numbers are returned in order, each once.

    Raises:
        InvalidValue: says what was expected.
    """
    found: set[int] = set()
    for word in text.replace(",", " ").split():
        match = _CPUS.fullmatch(word)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not first <= last < CPUS_MAX:
            raise InvalidValue(f"expected numbers of CPUs and ranges of them, as in 0-3,6, found '{text}'")
        found.update(range(first, last + 1))
    return tuple(sorted(found))


def parse_share(text: str) -> str | None:
    """Parse a share of CPU time; it is returned as in cpu.max, quota and period in microseconds. None for no text.

    Raises:
        InvalidValue: says what was expected.
    """
    match = _SHARE.fullmatch(text)
    if match and match[1]:
        quota, period = int(match[1]) * SHARE_PERIOD // 100, SHARE_PERIOD
    else:
        quota, period = (int(match[2]), int(match[3])) if match else (0, 0)
    if text and not (quota >= QUOTA_MIN and QUOTA_MIN <= period <= PERIOD_MAX):
        raise InvalidValue(
            "expected a percentage of one CPU of at least 1%, as in 150%, or quota and period in microseconds, each at "
            f"least {QUOTA_MIN} and the period at most {PERIOD_MAX}, as in 50000 100000, found '{text}'"
        )
    return f"{quota} {period}" if text else None


def spell_cpus(cpus: frozenset[int] | tuple[int, ...]) -> str:
    """Write CPUs as parse_cpus() reads them: 0-3,6."""
    parts: list[list[int]] = []
    for cpu in sorted(cpus):
        if parts and parts[-1][1] == cpu - 1:
            parts[-1][1] = cpu
        else:
            parts.append([cpu, cpu])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)


def parse_io_priority(text: str) -> str | None:
    """Parse a class of ioprio_set(2) and the level in it; they are returned with one blank, None for no text.

    Raises:
        InvalidValue: says what was expected.
    """
    if text and not _IO_PRIORITY.fullmatch(text):
        raise InvalidValue(f"expected idle, best-effort 0 to 7, or realtime 0 to 7, found '{text}'")
    return " ".join(text.lower().split()) or None
