"""Facts about this machine that the checks need: users, groups, directories, files. Cached: there may be many pools.

Nothing is changed, only read.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import re
import stat
import sys
from collections.abc import Iterator, Mapping
from typing import Literal

from fpm.cgroups.local import look_at_support
from fpm.cgroups.support import Support
from fpm.config.hung_paths import is_hung
from fpm.config.local_abilities import look
from fpm.config.local_cpus import online_cpus
from fpm.config.local_interpreter import interpreter, own_interpreter
from fpm.config.local_paths import walk_path
from fpm.config.permissions import PathComponent
from fpm.config.system import Abilities, Account, Interpreter
from fpm.paths.mounts import has_access_lists, no_lists
from fpm.paths.place import Opener, who_opens

DEFAULT_FILE = "/etc/pyfpm/pyfpm.conf"
"""Main file for commands without `-c`."""


def runtime_directory(*, environ: Mapping[str, str], is_root: bool) -> str:
    """Return the directory for sockets, which pyfpm creates if it is missing: with mode 0755 for root, else 0700.

    For users other than root it may lie in /tmp, so the code that creates it must check that this user owns it.
    """
    if is_root:
        return "/run/pyfpm"
    base = environ.get("XDG_RUNTIME_DIR", "")
    return f"{base}/pyfpm" if base.startswith("/") else f"/tmp/pyfpm-{os.getuid()}"


def default_control(path: str, *, environ: Mapping[str, str], is_root: bool) -> str:
    """Return the path of the control socket for this main file, used if the file does not set one.

    Each file has its own, so two daemons never meet, and a command with the same `-c FILE` finds its daemon.
    """
    return f"{runtime_directory(environ=environ, is_root=is_root)}/{_control_name(path)}"


def _control_name(path: str) -> str:
    if path == DEFAULT_FILE:
        return "control.sock"
    import hashlib  # with OpenSSL, half a megabyte

    stem = re.sub(r"[^A-Za-z0-9_.-]", "_", os.path.splitext(os.path.basename(path))[0])[:20]
    return f"control-{stem}-{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}.sock"


def foreign_controls(path: str, *, environ: Mapping[str, str], is_root: bool) -> Iterator[tuple[str, str, str]]:
    """Yield where daemons with this main file have their control sockets if somebody else has started them.

    Yields:
        Whose daemon it would be, the path, and how to reach it.
    """
    if not is_root:
        yield "root's daemon", default_control(path, environ={}, is_root=True), "run the command as root (sudo)"
        session = f"/run/user/{os.getuid()}"
        if environ.get("XDG_RUNTIME_DIR"):
            yield "this user's daemon", default_control(path, environ={}, is_root=False), "unset XDG_RUNTIME_DIR"
        else:
            here = default_control(path, environ={"XDG_RUNTIME_DIR": session}, is_root=False)
            yield "this user's daemon", here, f"set XDG_RUNTIME_DIR={session}"
        return
    with contextlib.suppress(OSError):
        uid = os.stat(path).st_uid
        name = user_name(uid)
        for base in (f"/run/user/{uid}/pyfpm", f"/tmp/pyfpm-{uid}"):
            whose = f"the daemon of user {name}"
            yield whose, f"{base}/{_control_name(path)}", f"run the command as this user (sudo -u {name})"


class LocalSystem:
    """Answers about this machine, cached from the first question on. The methods are documented in System.

    It has many attributes: one for each kind of answer that is kept.
    """

    def __init__(self, *, environ: Mapping[str, str], is_root: bool, allow_root: bool) -> None:
        self.environ = environ
        self.is_root = is_root
        self.allow_root = allow_root
        self.own_python = sys.executable
        self._users: dict[str, Account | None] = {}
        self._groups: dict[str, int | None] = {}
        self._memberships: dict[tuple[str, int], tuple[int, ...]] = {}
        self._kinds: dict[str, Literal["", "file", "directory", "other"]] = {}
        self._components: dict[tuple[str, str], tuple[PathComponent, ...]] = {}
        self._interpreters: dict[tuple[str, str], Interpreter] = {}
        self._real: dict[str, str] = {}
        self._cpus: frozenset[int] = frozenset()
        self._cgroups: Support | None = None

    def user(self, text: str) -> Account | None:
        if text not in self._users:
            self._users[text] = _look_up_user(text)
        return self._users[text]

    def group(self, text: str) -> int | None:
        if text not in self._groups:
            self._groups[text] = _look_up_group(text)
        return self._groups[text]

    def memberships(self, account: Account, gid: int) -> tuple[int, ...]:
        if not account.known:
            return (gid,)
        key = (account.name, gid)
        if key not in self._memberships:
            self._memberships[key] = tuple(sorted({gid, *os.getgrouplist(account.name, gid)}))
        return self._memberships[key]

    def group_name(self, gid: int) -> str:
        name = group_name(gid)
        return "" if name == str(gid) else name

    def own_identity(self) -> tuple[int, tuple[int, ...]]:
        return os.geteuid(), tuple({os.getegid(), *os.getgroups()})

    def cpus(self) -> frozenset[int]:
        if not self._cpus:
            self._cpus = online_cpus()
        return self._cpus

    def cgroups(self) -> Support:
        if self._cgroups is None:
            self._cgroups = look_at_support()
        return self._cgroups

    def control(self, path: str) -> str:
        return default_control(path, environ=self.environ, is_root=self.is_root)

    def is_runtime_directory(self, path: str) -> bool:
        return path == runtime_directory(environ=self.environ, is_root=self.is_root)

    def kind(self, path: str) -> Literal["", "file", "directory", "other"]:
        if path not in self._kinds:
            self._kinds[path] = "" if is_hung(path) else _kind(path)
        return self._kinds[path]

    def is_directory(self, path: str) -> bool:
        return self.kind(path) == "directory"

    def real(self, path: str) -> str:
        if path not in self._real:
            self._real[path] = path if is_hung(path) else os.path.realpath(path)
        return self._real[path]

    def components(self, path: str, root: str) -> tuple[PathComponent, ...]:
        key = (path, root)
        if key not in self._components:
            missing = (PathComponent(root + path, 0, 0, 0, False),)
            self._components[key] = missing if is_hung(root + path) else tuple(walk_path(path, root))
        return self._components[key]

    def without_lists(self, directory: str) -> str:
        return "" if is_hung(directory) or has_access_lists(directory) else no_lists(self.real(directory))

    def opener(self, path: str, groups: tuple[int, ...] | None) -> Opener:
        return who_opens(path, groups)

    def interpreter(self, python: str, root: str) -> Interpreter:
        key = (python, root)
        if key not in self._interpreters:
            own = python == self.own_python and not root
            other = Interpreter(None, ()) if is_hung(root + python) else interpreter(python, root)
            self._interpreters[key] = own_interpreter() if own else other
        return self._interpreters[key]

    def abilities(self) -> Abilities:
        return look(is_root=self.is_root)


def user_name(uid: int) -> str:
    """Return the name of a user, or the number as text."""
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return str(uid)


def group_name(gid: int) -> str:
    """Return the name of a group, or the number as text."""
    try:
        return grp.getgrgid(gid).gr_name
    except (KeyError, OverflowError):
        return str(gid)


def _kind(path: str) -> Literal["", "file", "directory", "other"]:
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return ""
    if stat.S_ISDIR(mode):
        return "directory"
    return "file" if stat.S_ISREG(mode) else "other"


def _look_up_user(text: str) -> Account | None:
    try:
        entry = pwd.getpwnam(text)
    except KeyError:
        if not (text.isascii() and text.isdigit()):
            return None
    else:
        return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir, True)
    try:
        entry = pwd.getpwuid(int(text))
    except (KeyError, OverflowError):
        return Account(text, int(text), -1, "/", False)
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir, True)


def _look_up_group(text: str) -> int | None:
    try:
        return grp.getgrnam(text).gr_gid
    except KeyError:
        return int(text) if text.isascii() and text.isdigit() else None
