"""Describes wait statuses as PHP-FPM logs them (fpm_children_bury). Pure."""

from __future__ import annotations

import posixpath
import re
from signal import Signals

from fpm.frozen import dataclass

SIGNAL_MASK = 0x7F
CORE_FLAG = 0x80
MEMORY_MAX = 1 << 50
"""Bytes; no process of this time has as much."""
EMERGENCY_SIGNALS = frozenset({Signals.SIGSEGV, Signals.SIGBUS})


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended: `code` or `signal` is set, or neither if it is unknown."""

    code: int | None = None
    signal: int | None = None
    core: bool = False

    @property
    def is_emergency(self) -> bool:
        """Tell whether the exit counts for emergency_restart_threshold."""
        return self.signal in EMERGENCY_SIGNALS

    @property
    def status(self) -> int | None:
        """Return the wait status (wait(2)); None if it is unknown."""
        if self.signal is not None:
            return self.signal | (CORE_FLAG if self.core else 0)
        return None if self.code is None else self.code << 8

    def __str__(self) -> str:
        if self.signal is not None:
            core = " - core dumped" if self.core else ""
            return f"on signal {self.signal} ({signal_name(self.signal)}{core})"
        if self.code is not None:
            return f"with code {self.code}"
        return "in an unknown way (its template has ended, or does not answer)"


@dataclass(frozen=True, slots=True)
class Usage:
    """Resource usage from wait4(2): seconds of CPU time, and bytes of the largest resident size (0: unknown)."""

    user: float = 0.0
    system: float = 0.0
    memory: int = 0


def signal_name(number: int) -> str:
    """Return SIGKILL for 9; SIGRTMIN+n and unknown numbers are `signal N`."""
    try:
        return Signals(number).name
    except ValueError:
        return f"signal {number}"


def parse_status(status: int | None) -> Exit:
    """Parse a status of wait4(2) by wait(2)'s macros; None is an unknown one."""
    if status is None:
        return Exit()
    signal = status & SIGNAL_MASK
    if signal:
        return Exit(signal=signal, core=bool(status & CORE_FLAG))
    return Exit(code=(status >> 8) & 0xFF)


CORE_PATTERN = "/proc/sys/kernel/core_pattern"
CORE_USES_PID = "/proc/sys/kernel/core_uses_pid"
_SPECIFIER = re.compile(r"%(.)")


def locate(pattern: str, *, uses_pid: bool, pid: int, signal: int, directory: str, root: str) -> str:
    """Return the path of a process's core dump. Specifiers other than pid and signal are shown as `*`.

    Args:
        pattern: the content of CORE_PATTERN, "" if unknown.
        uses_pid: the value of CORE_USES_PID.
        directory: the process's working directory, relative to `root`.
        root: its root directory, "/" without a jail.
    """
    if pattern.startswith("|"):
        handler = posixpath.basename(pattern[1:].split(" ")[0])
        if handler == "systemd-coredump":
            return f"coredumpctl info {pid}"
        return f"given to {handler}"
    if not pattern:
        return "where kernel.core_pattern says"
    known = {"p": str(pid), "P": str(pid), "i": str(pid), "I": str(pid), "s": str(signal), "%": "%"}
    name = _SPECIFIER.sub(lambda match: known.get(match[1], "*"), pattern)
    if uses_pid and "%p" not in pattern:
        name += f".{pid}"
    path = posixpath.join(directory or "/", name)
    return path if root == "/" else f"{root.rstrip('/')}{path}"
