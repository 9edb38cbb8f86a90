"""A daemon of a user who is not root: his own applications, his own directory, and nobody else's."""

from __future__ import annotations

import grp
import json
import os
import pwd
import re
import stat
from pathlib import Path

import pytest

from tests.support.fpm import POOL_USER, Daemon, Start

OTHER = "daemon"
pytestmark = pytest.mark.root


def run_as(user: str) -> tuple[str, ...]:
    """The wrapper that makes a command this user's."""
    account = pwd.getpwnam(user)
    return ("/usr/bin/setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups", "--")


def owned(fpm: Daemon, user: str = POOL_USER) -> Daemon:
    """The daemon's directory becomes this user's."""
    account = pwd.getpwnam(user)
    for path in (fpm.directory, fpm.config_file, fpm.apps):
        os.chown(path, account.pw_uid, account.pw_gid)
    return fpm


def test_pools_keep_the_identity_of_the_master(daemon: Start) -> None:
    fpm = owned(daemon({"www": {"app": "echo:application", "user": "root", "group": "root"}}, started=False))
    os.chmod(fpm.directory / "notify", 0o666)
    fpm.start(wrapper=run_as(POOL_USER))
    account = pwd.getpwnam(POOL_USER)
    body = json.loads(fpm.get("www").body)
    assert (body["uid"], body["gid"]) == (account.pw_uid, account.pw_gid)
    assert len(re.findall(r"NOTICE: .*\[www\] user: ", fpm.log())) == 1
    found = (fpm.directory / "www.sock").stat()
    assert (found.st_uid, stat.S_IMODE(fpm.control.stat().st_mode)) == (account.pw_uid, 0o600)
    assert fpm.cli("status", wrapper=run_as(POOL_USER)).returncode == 0
    assert fpm.cli("status", wrapper=run_as(OTHER)).returncode == 1
    assert fpm.cli("status").returncode == 0, "root may"
    assert fpm.cli("reload", wrapper=run_as(POOL_USER)).returncode == 0
    assert fpm.cli("stop", wrapper=run_as(POOL_USER)).returncode == 0
    assert fpm.wait() == 0


def test_a_group_that_the_user_is_not_in(daemon: Start) -> None:
    group = grp.getgrgid(0).gr_name
    fpm = owned(daemon({"www": {"listen.group": group, "listen.mode": "0660"}}, started=False))
    found = fpm.cli("run", "--strict", wrapper=run_as(POOL_USER))
    assert found.returncode in (70, 78)
    assert "[www] listen.group" in found.stderr or "[pool www]" in found.stderr
    assert "Traceback" not in found.stderr


def test_the_control_socket_is_in_the_users_runtime_directory(daemon: Start) -> None:
    fpm = owned(daemon({"www": {}}, global_={"control": ""}, started=False))
    os.chmod(fpm.directory / "notify", 0o666)
    runtime = fpm.directory / "runtime"
    environ = {"XDG_RUNTIME_DIR": str(runtime)}
    runtime.mkdir()
    os.chown(runtime, pwd.getpwnam(POOL_USER).pw_uid, -1)
    fpm.start(wrapper=run_as(POOL_USER), environ=environ)
    (control,) = (runtime / "pyfpm").iterdir()
    assert control.is_socket()
    assert stat.S_IMODE((runtime / "pyfpm").stat().st_mode) == 0o700
    assert fpm.cli("status", wrapper=run_as(POOL_USER), environ=environ).returncode == 0
    assert fpm.cli("stop", wrapper=run_as(POOL_USER), environ=environ).returncode == 0
    assert fpm.wait() == 0
    assert not control.exists()


def test_a_directory_in_tmp_that_somebody_else_has_made(daemon: Start) -> None:
    """Without XDG_RUNTIME_DIR it is /tmp/pyfpm-UID: whoever owns it could exchange the socket."""
    uid = next(uid for uid in range(61_000, 62_000) if not Path(f"/tmp/pyfpm-{uid}").exists())
    wrapper = ("/usr/bin/setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--")
    fpm = daemon({"www": {"listen": "127.0.0.1:0"}}, global_={"control": "", "pid": ""}, started=False)
    fpm.configure({"www": {"listen": fpm.directory / "run" / "www.sock"}}, global_={"control": "", "pid": ""})
    (fpm.directory / "run").mkdir()
    os.chown(fpm.directory / "run", uid, uid)
    squatted = Path(f"/tmp/pyfpm-{uid}")
    squatted.mkdir()
    os.chown(squatted, pwd.getpwnam(OTHER).pw_uid, -1)
    squatted.chmod(0o777)
    try:
        found = fpm.cli("run", wrapper=wrapper, environ={"XDG_RUNTIME_DIR": ""})
        assert found.returncode in (70, 78)
        assert f"{squatted} belongs to another user" in found.stderr
        assert not list(squatted.iterdir())
    finally:
        squatted.rmdir()


def test_another_users_application_is_refused_by_name(daemon: Start) -> None:
    fpm = owned(daemon({"www": {}}, started=False))
    fpm.apps.chmod(0o700)
    os.chown(fpm.apps, pwd.getpwnam(OTHER).pw_uid, -1)
    found = fpm.cli("test", wrapper=run_as(POOL_USER))
    assert found.returncode == 78
    assert "[www] chdir" in found.stderr
