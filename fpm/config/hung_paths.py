"""Paths whose file system does not answer: whoever looks at one waits, for ever perhaps, so the master does not.

What is known here comes from a process that looks first and may hang (fpm.master.processes.path_looks). Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

_hung: set[str] = set()


def set_hung(paths: Iterable[str]) -> None:
    """Say which paths, and everything below them, are not to be looked at in this process; the others are."""
    _hung.clear()
    _hung.update(paths)


def is_hung(path: str) -> bool:
    """Tell whether this path is one of them, or below."""
    return any(is_below(path, one) for one in _hung)


def is_below(path: str, directory: str) -> bool:
    """Tell whether a path is a directory, or what is in it, by their text."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")
