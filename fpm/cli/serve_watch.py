"""Notices that the sources of a served application have changed, by asking for their times.

Asking works on every file system, also on those of containers, virtual machines and networks, where inotify(7) tells
nothing; a few thousand files take some milliseconds.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence

INTERVAL = 0.5
"""Seconds between two looks."""
SETTLE = 0.2
"""Seconds without a change after which an editor, or a checkout, counts as ready."""
SETTLE_MAX = 25
"""Looks after which this is not waited for any more."""
FILES_MAX = 20_000
SUFFIXES = (".py", ".html", ".htm", ".jinja", ".jinja2", ".j2", ".mako", ".pt", ".tmpl", ".mo", ".env")
"""Sources, and what frameworks keep in memory once they have read it."""
_SKIPPED = frozenset({"__pycache__", "node_modules", "site-packages"})

Seen = dict[str, tuple[int, int]]
"""Time (nanoseconds) and size of each file, by path."""


def look(directories: Sequence[str]) -> Seen:
    """Look at the sources below some directories, at most FILES_MAX; hidden ones and environments are skipped."""
    seen: Seen = {}
    waiting = list(directories)
    known = set(waiting)
    while waiting and len(seen) < FILES_MAX:
        _look_into(waiting.pop(), seen, waiting, known)
    return seen


def _look_into(directory: str, seen: Seen, waiting: list[str], known: set[str]) -> None:
    try:
        with os.scandir(directory) as entries:
            found = list(entries)
    except OSError:  # removed meanwhile, or not ours to read
        return
    if any(entry.name == "pyvenv.cfg" for entry in found):
        return
    for entry in found:
        try:
            if entry.is_dir():
                path = os.path.realpath(entry.path) if entry.is_symlink() else entry.path
                if not entry.name.startswith(".") and entry.name not in _SKIPPED and path not in known:
                    known.add(path)
                    waiting.append(path)
            elif entry.name.endswith(SUFFIXES):
                status = entry.stat()
                seen[entry.path] = (status.st_mtime_ns, status.st_size)
        except OSError:
            continue  # removed meanwhile


def changes(before: Mapping[str, tuple[int, int]], after: Mapping[str, tuple[int, int]]) -> list[str]:
    """Return the paths that are new, removed or different, sorted."""
    return sorted(path for path in {*before, *after} if before.get(path) != after.get(path))


def next_change(directories: Sequence[str], seen: Seen, is_over: threading.Event) -> tuple[list[str], Seen] | None:
    """Wait until files differ from what has been seen, and whoever changes them is ready.

    Returns:
        The changed paths, and what is there now; None once `is_over` is set.
    """
    while not is_over.wait(INTERVAL):
        now = look(directories)
        if now == seen:
            continue
        for _ in range(SETTLE_MAX):
            if is_over.wait(SETTLE):
                return None
            before, now = now, look(directories)
            if before == now:
                break
        if changed := changes(seen, now):
            return changed, now
    return None


class Watch:
    """A thread that calls a function after each change.

    Args:
        directories: absolute.
        on_change: called with the changed paths, by the thread; what changes meanwhile is noticed afterwards.
    """

    def __init__(self, directories: Sequence[str], on_change: Callable[[list[str]], None]) -> None:
        self._directories = directories
        self._on_change = on_change
        self._seen = look(directories)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    @property
    def is_partial(self) -> bool:
        """Tell whether there are too many files to watch all of them."""
        return len(self._seen) >= FILES_MAX

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; a call of `on_change` that runs is not waited for."""
        self._is_over.set()

    def _run(self) -> None:
        while found := next_change(self._directories, self._seen, self._is_over):
            changed, self._seen = found
            self._on_change(changed)
