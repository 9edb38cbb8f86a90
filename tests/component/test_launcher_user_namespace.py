"""A user namespace of root's pools: entered as the pool's user, who can look into the launcher at no moment."""

from __future__ import annotations

import ctypes
import json
import os
import pwd
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from fpm.launcher.identity import change_user
from fpm.launcher.jail.calls import Calls
from fpm.launcher.jail.namespaces import enter_late
from tests.support.waiting import wait_until

pytestmark = pytest.mark.root

PR_GET_DUMPABLE = 3
FILES = ("uid_map", "gid_map", "setgroups")


def dumpable() -> int:
    return int(ctypes.CDLL(None).prctl(PR_GET_DUMPABLE, 0, 0, 0, 0))


class Watched(Calls):
    """Notes whether the process can be looked into at the moment when it enters a namespace."""

    def __init__(self) -> None:
        super().__init__()
        self.dumpable: list[int] = []

    def unshare(self, flags: int) -> None:
        self.dumpable.append(dumpable())
        super().unshare(flags)
        self.dumpable.append(dumpable())


class Refusing(Calls):
    """A kernel without user namespaces."""

    def unshare(self, flags: int) -> None:
        raise OSError(28, "No space left on device")


def in_a_child(action: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What an action finds in a process of its own."""
    said, saying = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.write(saying, json.dumps(action()).encode())
        finally:
            os._exit(0)
    os.close(saying)
    with open(said, "rb") as file:
        found = file.read()
    os.waitpid(pid, 0)
    answer: dict[str, Any] = json.loads(found)
    return answer


def has_children() -> bool:
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return False
    return True


def is_zombie(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_nobody_can_trace_the_launcher_while_it_enters() -> None:
    user = pwd.getpwnam("daemon")

    def enter() -> dict[str, Any]:
        calls = Watched()
        finish = enter_late(calls, user.pw_uid, user.pw_gid)
        change_user(user.pw_uid, user.pw_gid, [user.pw_gid])
        finish()
        found: dict[str, Any] = {"dumpable": [*calls.dumpable, dumpable()], "children": has_children()}
        return found | {
            "ids": [os.getuid(), os.getgid()],
            **{name: Path(f"/proc/self/{name}").read_text() for name in FILES},
        }

    found = in_a_child(enter)
    assert found["dumpable"] == [0, 0, 0]
    assert found["ids"] == [user.pw_uid, user.pw_gid]
    assert found["uid_map"].split() == [str(user.pw_uid), str(user.pw_uid), "1"]
    assert found["gid_map"].split() == [str(user.pw_gid), str(user.pw_gid), "1"]
    assert found["setgroups"] == "deny\n"
    assert not found["children"]


def test_a_kernel_that_refuses_is_named_and_nothing_is_left() -> None:
    def enter() -> dict[str, Any]:
        finish = enter_late(Refusing(), 1, 1)
        try:
            finish()
        except OSError as error:
            return {"said": [error.filename, error.strerror], "children": has_children()}
        return {}

    limit = "the limit user.max_user_namespaces is reached; raise it by sysctl(8)"
    assert in_a_child(enter) == {"said": ["namespaces = user", limit], "children": False}


def test_a_launcher_that_fails_before_leaves_no_child() -> None:
    """The child hears that its launcher has ended."""

    def leave() -> dict[str, Any]:
        enter_late(Calls(), 1, 1)
        (child,) = [one.pid for one in psutil.Process().children()]
        return {"pid": child}

    pid = in_a_child(leave)["pid"]
    wait_until(lambda: pid not in psutil.pids() or is_zombie(pid))
