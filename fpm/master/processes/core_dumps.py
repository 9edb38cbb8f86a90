"""Finds where the kernel writes core dumps (core(5)). Pure."""

from __future__ import annotations

import posixpath
import re

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
