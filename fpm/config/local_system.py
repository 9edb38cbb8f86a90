"""What the checks ask of the machine: users, groups, directories, files. Answers are kept for a thousand pools.

Nothing is changed, only looked at.
"""

from __future__ import annotations

import grp
import hashlib
import os
import pwd
import re
import stat
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from typing import Literal

from fpm.config.permissions import Step
from fpm.config.system import Account, Interpreter

DEFAULT_FILE = "/etc/pyfpm/pyfpm.conf"
"""Main file of the commands that are given none."""

_ACL = "system.posix_acl_access"
_LINKS_MAX = 40
"""Symbolic links on one path, as in the kernel (MAXSYMLINKS)."""


def runtime_directory(*, environ: Mapping[str, str], is_root: bool) -> str:
    """The directory for sockets that pyfpm makes itself if it is missing: with mode 0755 for root, 0700 for others.

    For others than root it may lie in /tmp, so whoever makes it must see to it that it belongs to this user.
    """
    if is_root:
        return "/run/pyfpm"
    base = environ.get("XDG_RUNTIME_DIR", "")
    return f"{base}/pyfpm" if base.startswith("/") else f"/tmp/pyfpm-{os.getuid()}"


def default_control(path: str, *, environ: Mapping[str, str], is_root: bool) -> str:
    """Path of the control socket of the daemon with this main file, if the file does not say.

    Each file has its own, so that two daemons never meet and a command with the same `-c FILE` finds its daemon.
    """
    directory = runtime_directory(environ=environ, is_root=is_root)
    if path == DEFAULT_FILE:
        return f"{directory}/control.sock"
    stem = re.sub(r"[^A-Za-z0-9_.-]", "_", os.path.splitext(os.path.basename(path))[0])[:20]
    return f"{directory}/control-{stem}-{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}.sock"


class LocalSystem:
    """Answers about this machine, as it is at the first question."""

    def __init__(self, *, environ: Mapping[str, str], is_root: bool, allow_root: bool) -> None:
        self.environ = environ
        self.is_root = is_root
        self.allow_root = allow_root
        self.own_python = sys.executable
        self._users: dict[str, Account | None] = {}
        self._groups: dict[str, int | None] = {}
        self._memberships: dict[tuple[str, int], tuple[int, ...]] = {}
        self._kinds: dict[str, Literal["", "file", "directory", "other"]] = {}
        self._steps: dict[tuple[str, str], tuple[Step, ...]] = {}
        self._interpreters: dict[tuple[str, str], Interpreter] = {}
        self._real: dict[str, str] = {}

    def user(self, text: str) -> Account | None:
        """The user of this name or number; None: there is no such name."""
        if text not in self._users:
            self._users[text] = _look_up_user(text)
        return self._users[text]

    def group(self, text: str) -> int | None:
        """Number of the group of this name or number; None: there is no such name."""
        if text not in self._groups:
            self._groups[text] = _look_up_group(text)
        return self._groups[text]

    def memberships(self, account: Account, gid: int) -> tuple[int, ...]:
        """Supplementary groups of a user, `gid` included, as initgroups(3) would set them."""
        if not account.known:
            return (gid,)
        key = (account.name, gid)
        if key not in self._memberships:
            self._memberships[key] = tuple(sorted({gid, *os.getgrouplist(account.name, gid)}))
        return self._memberships[key]

    def own_identity(self) -> tuple[int, tuple[int, ...]]:
        """Effective uid and all groups of this process."""
        return os.geteuid(), tuple({os.getegid(), *os.getgroups()})

    def control(self, path: str) -> str:
        """See default_control."""
        return default_control(path, environ=self.environ, is_root=self.is_root)

    def is_runtime_directory(self, path: str) -> bool:
        """Whether pyfpm makes this directory itself."""
        return path == runtime_directory(environ=self.environ, is_root=self.is_root)

    def kind(self, path: str) -> Literal["", "file", "directory", "other"]:
        """What there is at `path`, links followed; "" for nothing, or nothing that can be seen."""
        if path not in self._kinds:
            self._kinds[path] = _kind(path)
        return self._kinds[path]

    def is_directory(self, path: str) -> bool:
        """Whether there is a directory at `path`."""
        return self.kind(path) == "directory"

    def real(self, path: str) -> str:
        """`path` without symbolic links."""
        if path not in self._real:
            self._real[path] = os.path.realpath(path)
        return self._real[path]

    def steps(self, path: str, root: str) -> tuple[Step, ...]:
        """The components on the way to `path`, as seen in the chroot `root` ("" for none)."""
        key = (path, root)
        if key not in self._steps:
            self._steps[key] = tuple(_walk(path, root))
        return self._steps[key]

    def interpreter(self, python: str, root: str) -> Interpreter:
        """What can be told of an interpreter without running it."""
        key = (python, root)
        if key not in self._interpreters:
            own = python == self.own_python and not root
            self._interpreters[key] = _own_interpreter() if own else _interpreter(python, root)
        return self._interpreters[key]


def user_name(uid: int) -> str:
    """Name of a user, or the number as text."""
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return str(uid)


def group_name(gid: int) -> str:
    """Name of a group, or the number as text."""
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


def _walk(path: str, root: str) -> Iterator[Step]:
    """Components of `path` as path_resolution(7) meets them; symbolic links are followed inside `root`."""
    todo = [part for part in path.split("/") if part][::-1]
    here: list[str] = []
    yield _step("/", root, os.lstat(root or "/"))
    links = 0
    while todo:
        part = todo.pop()
        if part in (".", ".."):
            here = here[:-1] if part == ".." else here
            continue
        shown = "/" + "/".join([*here, part])
        try:
            found = os.lstat(root + shown)
            target = os.readlink(root + shown) if stat.S_ISLNK(found.st_mode) else ""
        except (OSError, ValueError):
            yield Step(root + shown, 0, 0, 0, False)
            return
        if not target:
            here.append(part)
            yield _step(shown, root, found)
            continue
        links += 1
        if links > _LINKS_MAX:
            yield Step(root + shown, 0, 0, 0, False)
            return
        here = [] if target.startswith("/") else here
        todo.extend([part for part in target.split("/") if part][::-1])


def _step(shown: str, root: str, found: os.stat_result) -> Step:
    path = root + shown if shown != "/" else root or "/"
    try:
        has_acl = _ACL in os.listxattr(path)
    except OSError:
        has_acl = False
    return Step(path, found.st_mode, found.st_uid, found.st_gid, has_acl)


def _own_interpreter() -> Interpreter:
    found = dict.fromkeys([os.path.dirname(os.__file__), sysconfig.get_path("stdlib"), sysconfig.get_path("purelib")])
    return Interpreter(sys.version_info[:2], tuple(path for path in found if os.path.isdir(path)))


def _interpreter(python: str, root: str) -> Interpreter:
    """From the name behind `python` (/usr/bin/python3.11): its library, and that of its virtual environment."""
    real = list(_walk(python, root))[-1].path[len(root) :]
    name = re.fullmatch(r"python3\.(\d+)t?", os.path.basename(real))
    if name is None:
        return Interpreter(None, ())
    library = f"lib/python3.{name[1]}"
    environment = os.path.dirname(os.path.dirname(python))
    base = os.path.dirname(os.path.dirname(real))
    paths = [(base, library), (environment, library), (environment, library, "site-packages")]
    candidates = dict.fromkeys(os.path.join(*parts) for parts in paths)
    return Interpreter((3, int(name[1])), tuple(path for path in candidates if os.path.isdir(root + path)))
