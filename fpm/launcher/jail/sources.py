"""Opens what the root of a pool is made of, with the rights with which it may be opened."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from fpm.launcher.jail.reach import reach
from fpm.launcher.jail.steps import Bind, Entries, Mirror, Overlay, Plan
from fpm.launcher.step import step as named
from fpm.paths.place import find
from fpm.protocol.spec import TemplateSpec

PINNED = os.O_PATH | os.O_CLOEXEC
ENTRIES_MAX = 256
"""Entries of a chroot's top directory."""


class Sources:
    """Descriptors of files and directories of the machine, by their paths."""

    def __init__(self, spec: TemplateSpec) -> None:
        self._spec = spec
        self._open: dict[str, int] = {}
        self._lacking: set[str] = set()
        self._mirrored: dict[str, int | str | None] = {}
        self._entries: dict[str, list[tuple[str, int | str]]] = {}

    def open_all(self, plan: Plan) -> None:
        """Open everything, before anything that is mounted hides it.

        Raises:
            OSError: something is missing or cannot be reached; `filename` says what it was for.
        """
        if plan.base not in ("", "/"):
            named(f"the root {plan.base}", lambda: self._open_theirs(plan.base))
        for one in plan.steps:
            match one:
                case Bind():
                    named(f"mount bind {one.source} {one.target}", lambda one=one: self._open_bind(one))  # type: ignore[misc]
                case Overlay():
                    for path in filter(None, (*one.lower, one.upper, one.work)):
                        named(f"mount overlay {path}", lambda path=path: self._open_theirs(path))  # type: ignore[misc]
                case Mirror():
                    self._mirrored[one.path] = _open_entry(one.path, None)
                case Entries():
                    named(f"showing {one.source}", lambda one=one: self._list(one.source))  # type: ignore[misc]

    def path(self, source: str) -> str:
        """Return a path for mount(2) that leads to what was opened."""
        return f"/proc/self/fd/{self._open[source]}"

    def fd(self, one: Bind) -> int | None:
        """Return the descriptor; None where nothing is there and nothing need be."""
        return None if one.source in self._lacking else self._open[one.source]

    def mirrored(self, path: str) -> int | str | None:
        """Return a descriptor, the text of a symbolic link, or None."""
        return self._mirrored[path]

    def entries(self, directory: str) -> list[tuple[str, int | str]]:
        """List names, each with its descriptor or the text of a symbolic link."""
        return self._entries[directory]

    def close(self) -> None:
        """Give the descriptors back."""
        found = [*self._open.values(), *self._mirrored.values()]
        found += [source for entries in self._entries.values() for _, source in entries]
        for fd in found:
            if isinstance(fd, int):
                os.close(fd)

    def _open_bind(self, one: Bind) -> None:
        if one.source in self._open:
            return
        try:
            if one.is_theirs:
                self._open_theirs(one.source)
            else:
                self._open[one.source] = os.open(one.source, PINNED)
        except FileNotFoundError:
            if not one.may_lack:
                raise
            self._lacking.add(one.source)

    def _open_theirs(self, path: str) -> None:
        if path not in self._open:
            try:
                self._open[path] = self._as_user(path)
            except PermissionError:
                # Where only root gets: then nobody else may have a say in what the path leads to.
                with find(path, follow=True) as place:
                    place.refuse_foreign()
                    self._open[path] = os.open(place.name, PINNED | os.O_NOFOLLOW, dir_fd=place.fd)

    def _as_user(self, path: str) -> int:
        uid, gid = self._spec.uid, self._spec.gid
        if uid is None or gid is None or os.geteuid() != 0:
            return reach(path)
        groups = os.getgroups()
        os.setgroups(self._spec.groups)
        os.setegid(gid)
        os.seteuid(uid)
        try:
            return reach(path)
        finally:
            os.seteuid(0)
            os.setegid(0)
            os.setgroups(groups)

    def _list(self, directory: str) -> None:
        self._open_theirs(directory)
        fd = self._open[directory]
        names = sorted(os.listdir(f"/proc/self/fd/{fd}"))
        if len(names) > ENTRIES_MAX:
            raise OSError(0, f"it has more than {ENTRIES_MAX} entries; use rootfs in its place")
        self._entries[directory] = list(_opened(names, fd))


def _opened(names: list[str], directory: int) -> Iterator[tuple[str, int | str]]:
    for name in names:
        source = _open_entry(name, directory)
        if source is not None:
            yield name, source


def _open_entry(name: str, directory: int | None) -> int | str | None:
    """Open it, or read where it links to; None if it is not there."""
    try:
        fd = os.open(name, PINNED | os.O_NOFOLLOW, dir_fd=directory)
    except FileNotFoundError:
        return None
    if not stat.S_ISLNK(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    return os.readlink(name, dir_fd=directory)
