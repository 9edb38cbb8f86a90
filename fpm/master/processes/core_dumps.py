"""Where the kernel puts core dumps (core(5)). Pure."""

from __future__ import annotations

import posixpath
import re

CORE_PATTERN = "/proc/sys/kernel/core_pattern"
CORE_USES_PID = "/proc/sys/kernel/core_uses_pid"
_SPECIFIER = re.compile(r"%(.)")


def locate(pattern: str, *, uses_pid: bool, pid: int, signal: int, directory: str, root: str) -> str:
    """Where the core dump of a process is to be found. What a pattern has beyond pid and signal is shown as `*`.

    Args:
        pattern: what CORE_PATTERN holds, "" if that is not known.
        uses_pid: whether CORE_USES_PID says so.
        directory: the process's working directory, inside of `root`.
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
