"""Makes the root of a pool in the launcher's own mount namespace, step by step, and enters it.

Sources are opened before anything is mounted, each through a descriptor. What lies where a pool's user can make links
is opened with his rights: he cannot have shown to him what he could not reach. Targets are looked up as a process in
the new root would (where that is the machine's, not by a link of another user); a missing one is made only on a file
system that was made here.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping

from fpm.launcher.jail.calls import (
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_RDONLY,
    MS_REC,
    MS_REMOUNT,
    MS_SLAVE,
    Calls,
)
from fpm.launcher.jail.reach import reach
from fpm.launcher.jail.sources import Sources
from fpm.launcher.jail.steps import (
    Bind,
    Directory,
    Entries,
    FileSystem,
    Link,
    Mirror,
    Overlay,
    Plan,
    Step,
    TextFile,
    Tree,
)
from fpm.launcher.step import step as named

SCAFFOLD = "/dev"
"""A directory that every machine has, and that nothing here is looked up in any more: the new root is mounted there,
and becomes the root from there."""
FLAGS = {"ro": MS_RDONLY, "noexec": MS_NOEXEC}


class Mounter:
    """Carries out one plan.

    Args:
        sources: opens what the steps show.
        trees: what the generations of the pool share, see fpm.launcher.jail.world.
    """

    def __init__(self, calls: Calls, sources: Sources, trees: Mapping[str, int]) -> None:
        self._calls = calls
        self._sources = sources
        self._trees = trees
        self._root = -1
        self._is_machine = False
        """The root stays that of the machine."""
        self._made: set[int] = set()
        """Devices (st_dev) of the file systems made for this pool, in which missing targets are made."""
        self._actions: dict[type[Step], Callable[..., None]] = {
            Bind: self._bind,
            Mirror: self._mirror,
            Entries: self._entries,
            FileSystem: self._file_system,
            Overlay: self._overlay,
            Tree: self._tree,
            TextFile: self._text_file,
            Link: self._link,
            Directory: self._directory,
        }

    def make(self, plan: Plan) -> None:
        """Make the root and enter it, for good.

        Raises:
            OSError: a step failed; `filename` says which.
        """
        calls = self._calls
        named("a private mount namespace", lambda: calls.mount("none", "/", "", MS_REC | MS_SLAVE))
        self._sources.open_all(plan)
        self._is_machine = plan.base == "/"
        if self._is_machine:
            self._root = os.open("/", os.O_PATH | os.O_CLOEXEC)
        elif plan.base:
            named(f"the root {plan.base}", lambda: self._take_root(plan.base, plan.options))
        else:
            named("a new root", self._new_root)
        for one in plan.steps:
            named(_name(one), lambda one=one: self._actions[type(one)](one))  # type: ignore[misc]
        if not self._is_machine:
            named("the new root", lambda: self._enter(is_new=not plan.base))
        os.close(self._root)
        self._sources.close()

    # ---------------------------------------------------------------- the root itself

    def _take_root(self, base: str, options: frozenset[str]) -> None:
        calls = self._calls
        calls.mount(self._sources.path(base), SCAFFOLD, "", MS_BIND | MS_REC)
        self._root = os.open(SCAFFOLD, os.O_PATH | os.O_CLOEXEC)
        calls.set_attributes(self._root, _flags(options))

    def _new_root(self) -> None:
        self._calls.mount("pyfpm", SCAFFOLD, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=4m")
        self._root = os.open(SCAFFOLD, os.O_PATH | os.O_CLOEXEC)
        self._made.add(os.fstat(self._root).st_dev)

    def _enter(self, *, is_new: bool) -> None:
        """pivot_root(2) with the old root on top of the new one, from where it is detached."""
        if is_new:
            # Only the new file system: what is mounted in it is as it was asked for.
            self._calls.mount("", SCAFFOLD, "", MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV)
        os.fchdir(self._root)
        self._calls.pivot_root(".", ".")
        self._calls.detach(".")
        os.chdir("/")

    # ---------------------------------------------------------------- the steps

    def _bind(self, one: Bind) -> None:
        source = self._sources.fd(one)
        if source is None:
            return
        self._attach(source, one.target, one.options)

    def _attach(self, source: int, target: str, options: frozenset[str]) -> None:
        """Show a file or directory; what counts in it is settled before anybody can see it."""
        copy = self._calls.copy_tree(source)
        try:
            self._calls.set_attributes(copy, _flags(options))
            is_directory = stat.S_ISDIR(os.fstat(source).st_mode)
            place = self._place(target, is_directory=is_directory)
            try:
                if is_directory is not stat.S_ISDIR(os.fstat(place).st_mode):
                    kinds = ("a directory", "a file") if is_directory else ("a file", "a directory")
                    raise OSError(0, f"the source is {kinds[0]} and the target {kinds[1]}; both must be the same")
                self._calls.attach(copy, place)
            finally:
                os.close(place)
        finally:
            os.close(copy)

    def _mirror(self, one: Mirror) -> None:
        found = self._sources.mirrored(one.path)
        if isinstance(found, str):
            self._link(Link(one.path, found))
        elif found is not None:
            self._attach(found, one.path, frozenset({"ro"}))

    def _entries(self, one: Entries) -> None:
        for name, source in self._sources.entries(one.source):
            target = os.path.join(one.target, name)
            if isinstance(source, str):
                if not self._exists(target):
                    self._link(Link(target, source))
            elif not self._exists(target):
                self._attach(source, target, frozenset())

    def _file_system(self, one: FileSystem) -> None:
        if one.may_lack and not self._exists(one.target):
            return
        place = self._place(one.target, is_directory=True)
        try:
            self._calls.mount("pyfpm", _path(place), one.kind, _flags(one.options), one.data)
        finally:
            os.close(place)
        mounted = self._open(one.target)
        if one.kind == "tmpfs":
            self._made.add(os.fstat(mounted).st_dev)
        os.close(mounted)

    def _tree(self, one: Tree) -> None:
        if one.may_lack and not self._exists(one.target):
            return
        place = self._place(one.target, is_directory=True)
        try:
            self._calls.attach(self._trees[one.target], place)
        finally:
            os.close(place)
        # Former generations write there. What they could make of it is in their own jail.
        self._made.add(os.fstat(self._trees[one.target]).st_dev)

    def _overlay(self, one: Overlay) -> None:
        data = "lowerdir=" + ":".join(self._sources.path(lower) for lower in one.lower)
        if one.upper:
            data += f",upperdir={self._sources.path(one.upper)},workdir={self._sources.path(one.work)}"
        place = self._place(one.target, is_directory=True)
        try:
            self._calls.mount("pyfpm", _path(place), "overlay", _flags(one.options), data)
        finally:
            os.close(place)

    def _text_file(self, one: TextFile) -> None:
        parent = self._place(os.path.dirname(one.target), is_directory=True)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(os.path.basename(one.target), flags, 0o644, dir_fd=parent)
        finally:
            os.close(parent)
        with open(fd, "w", encoding="utf-8", errors="surrogateescape") as file:
            os.fchmod(fd, 0o644)
            file.write(one.text)

    def _link(self, one: Link) -> None:
        parent = self._place(os.path.dirname(one.target), is_directory=True)
        try:
            os.symlink(one.text, os.path.basename(one.target), dir_fd=parent)
        finally:
            os.close(parent)

    def _directory(self, one: Directory) -> None:
        os.close(self._place(one.target, is_directory=True, mode=one.mode))

    # ---------------------------------------------------------------- targets

    def _open(self, target: str) -> int:
        """Open a target as a process in the new root would.

        In the machine's own root set-user-ID programs count, so nobody but root may have /etc or /usr hidden by a link.
        """
        return reach(target) if self._is_machine else self._calls.open_in(self._root, target)

    def _exists(self, target: str) -> bool:
        try:
            os.close(self._open(target))
        except FileNotFoundError:
            return False
        return True

    def _place(self, target: str, *, is_directory: bool, mode: int = 0o755) -> int:
        """Open a target, which is made if it is missing and may be.

        Raises:
            OSError: it does not exist, and lies on a file system that was there before.
        """
        try:
            return self._open(target)
        except FileNotFoundError:
            parent = self._place(os.path.dirname(target), is_directory=True)
        try:
            if os.fstat(parent).st_dev not in self._made:
                raise FileNotFoundError(2, f"there is no {target}; create it, empty, and try again")
            name = os.path.basename(target)
            if is_directory:
                os.mkdir(name, mode, dir_fd=parent)
                os.chmod(name, mode, dir_fd=parent)
            else:
                os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=parent))
        finally:
            os.close(parent)
        return self._open(target)


def _flags(options: frozenset[str]) -> int:
    """Return the attributes of a mount."""
    flags = MS_NOSUID | (0 if "dev" in options else MS_NODEV)
    for option in options & FLAGS.keys():
        flags |= FLAGS[option]
    return flags


def _path(fd: int) -> str:
    return f"/proc/self/fd/{fd}"


def _name(one: Step) -> str:
    match one:
        case Mirror():
            return f"showing {one.path}"
        case Entries():
            return f"showing what is in {one.source}"
        case Bind():
            return f"mount bind {one.source} {one.target}"
        case FileSystem() | Overlay():
            kind = one.kind if isinstance(one, FileSystem) else "overlay"
            return f"mount {kind} {one.target}"
        case _:
            return f"making {one.target}"
