"""Each pool is its own user: ids, groups, environment, limits; what cannot be applied fails the pool in clear words."""

from __future__ import annotations

import os
import pwd
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.fpm import Daemon, Start
from tests.support.pools import echo, wait_state, write_app
from tests.support.processes import status_of
from tests.support.reloads import reload, upgrade
from tests.support.waiting import wait_until
from tests.support.with_key import REFUSED

ECHO = {"app": "echo:application"}


def limits_of(pid: int) -> dict[str, list[str]]:
    """Soft and hard limits by their names in /proc/PID/limits."""
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()[1:]
    return {line[:26].strip(): line[26:].split()[:2] for line in lines}


SECOND = next(user for user in pwd.getpwall() if user.pw_uid not in (0, 65534) and user.pw_gid not in (0, 65534))
"""An ordinary user beside nobody, with a group of its own."""
OF_THE_MASTER = {
    "FROM_MASTER": "of the master",
    "LISTEN_FDNAMES": "x",
    "TMPDIR": "/of/the/daemon",
    "HOME": "/root",
    "USER": "root",
}
READER = """
def application(environ, start_response):
    try:
        answer = open(environ["QUERY_STRING"], "rb").read()
    except OSError as error:
        answer = error.strerror.encode()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [answer]
"""


@pytest.fixture(scope="module")
def fpm(shared_daemon: Start) -> Daemon:
    """Pools that differ in one thing each; where pyfpm is not root, only those that need it not."""
    fpm = shared_daemon({"one": ECHO}, started=False)
    write_app(fpm, "reader", READER)
    whole = {**ECHO, "clear_env": False}
    pools: dict[str, dict[str, object]] = {
        "one": ECHO,
        "clear": {**ECHO, "env[PLAIN]": "a value", "env[COPIED]": "$FROM_MASTER"},
        "whole": whole,
        "limited": {
            **ECHO,
            "rlimit_files": 300,
            "rlimit_core": 4096,
            "process.priority": 5,
            "process.dumpable": True,
        },
    }
    if os.geteuid() == 0:
        pools |= {
            "two": {**ECHO, "user": SECOND.pw_name},
            "reader": {"app": "reader:application"},
            "reader-two": {"app": "reader:application", "user": SECOND.pw_name},
            "group": {**ECHO, "group": "daemon", "no_new_privs": False},
            "tmp": {**whole, "private_tmp": True},
            "tmp-elsewhere": {**whole, "private_tmp": True, "env[TMPDIR]": "/var/tmp"},
            "home": {**whole, "env[HOME]": "/srv"},
        }
    fpm.configure(pools)
    return fpm.start(environ=OF_THE_MASTER)


@pytest.mark.root
def test_two_pools_under_two_users(fpm: Daemon) -> None:
    for pool, user in (("one", pwd.getpwnam("nobody")), ("two", SECOND)):
        told = echo(fpm, pool)
        processes = [p.pid for title in ("pool", "template") for p in fpm.processes(f"{title} {pool}")]
        assert len(processes) == 2
        for pid in processes:
            status = status_of(pid)
            assert status["Uid"].split() == [str(user.pw_uid)] * 4
            assert status["Gid"].split() == [str(user.pw_gid)] * 4
            assert set(map(int, status["Groups"].split())) == set(os.getgrouplist(user.pw_name, user.pw_gid))
            assert status["NoNewPrivs"] == "1"
            assert set(status["CapEff"]) == set(status["CapPrm"]) == {"0"}
        assert told["os.environ"]["USER"] == user.pw_name
        assert told["os.environ"]["HOME"] == user.pw_dir


@pytest.mark.root
def test_files_of_the_other_pool_are_closed(fpm: Daemon) -> None:
    secret = fpm.directory / "secret"
    secret.write_text("of two")
    os.chown(secret, SECOND.pw_uid, SECOND.pw_gid)
    secret.chmod(0o600)
    assert fpm.get("reader-two", query=str(secret)).body == b"of two"
    assert fpm.get("reader", query=str(secret)).body == b"Permission denied"
    other_worker = fpm.workers("reader-two")[0]
    assert fpm.get("reader", query=f"/proc/{other_worker}/environ").body == b"Permission denied"
    assert fpm.get("reader", query=f"/proc/{fpm.pid}/environ").body == b"Permission denied"


@pytest.mark.root
def test_group_and_no_new_privs_can_be_chosen(fpm: Daemon) -> None:
    told = echo(fpm, "group")
    assert told["gid"] == 1
    assert status_of(told["pid"])["NoNewPrivs"] == "0"


def test_environment_is_cleared_and_filled(fpm: Daemon) -> None:
    clear = echo(fpm, "clear")["os.environ"]
    assert clear["PLAIN"] == "a value"
    assert clear["COPIED"] == "of the master"
    expected = {"PLAIN", "COPIED", "USER", "HOME"} if os.geteuid() == 0 else {"PLAIN", "COPIED"}
    # LC_CTYPE is set by Python itself (PEP 538).
    assert set(clear) - {"LC_CTYPE"} == expected
    whole = echo(fpm, "whole")["os.environ"]
    assert whole["FROM_MASTER"] == "of the master"
    assert "NOTIFY_SOCKET" not in whole
    assert "LISTEN_FDNAMES" not in whole


@pytest.mark.root
def test_a_pool_with_a_tmp_of_its_own_is_told_so(fpm: Daemon) -> None:
    found = {pool: echo(fpm, pool)["os.environ"]["TMPDIR"] for pool in ("tmp", "tmp-elsewhere", "whole")}
    assert found == {"tmp": "/tmp", "tmp-elsewhere": "/var/tmp", "whole": "/of/the/daemon"}


@pytest.mark.root
def test_home_of_the_master_is_not_given_away(fpm: Daemon) -> None:
    environ = echo(fpm, "home")["os.environ"]
    assert environ["USER"] == "nobody"
    assert environ["HOME"] == "/srv"


def test_limits_and_priority(fpm: Daemon) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    own = echo(fpm, "limited")["pid"]
    assert limits_of(own)["Max open files"] == ["300", "300"]
    assert limits_of(own)["Max core file size"] == ["4096", "4096"]
    assert os.getpriority(os.PRIO_PROCESS, own) == 5
    # A process that is not dumpable has its /proc files owned by root (PR_SET_DUMPABLE, prctl(2)).
    assert Path(f"/proc/{own}/environ").stat().st_uid == echo(fpm, "limited")["uid"]
    plain = echo(fpm, "one")["pid"]
    assert limits_of(plain)["Max open files"] == [str(soft), str(hard)]
    assert os.getpriority(os.PRIO_PROCESS, plain) == 0


KEYS = """
def application(environ, start_response):
    start_response("200 OK", [])
    return [open("/proc/keys", "rb").read()]
"""


@pytest.mark.root
def test_workers_have_a_keyring_of_their_own_and_are_not_dumpable(daemon: Start) -> None:
    """Who starts the daemon has keys in his session; and what exec(2) has made dumpable is not so for long."""
    name = "pyfpm-test-of-the-administrator"
    wrapper = (sys.executable, "-m", "tests.support.with_key", name)
    look = [*wrapper, "setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "cat", "/proc/keys"]
    premise = subprocess.run(look, capture_output=True, text=True, check=False)
    if premise.returncode == REFUSED:
        pytest.skip(f"keys cannot be made here: {premise.stderr}")
    assert premise.returncode == 0, premise.stderr
    assert name in premise.stdout, "a change of user alone keeps them"
    pools = {
        "plain": {"app": "keys:application"},
        "open": {"app": "keys:application", "process.dumpable": True},
        "late": {"app": "keys:application", "preload": "no", "process.dumpable": False},
        "anew": {"app": "threaded:application"},
    }
    fpm = daemon(pools, started=False)
    write_app(fpm, "keys", KEYS)
    thread = "import threading, time\nthreading.Thread(target=time.sleep, args=(3600,), daemon=True).start()\n"
    write_app(fpm, "threaded", f"{thread}from keys import application\n")
    fpm.start(wrapper=wrapper)
    assert "[pool anew] preload = auto: not safe to fork from" in fpm.log(), (
        "the template has executed itself once more"
    )
    for pool in pools:
        assert name.encode() not in fpm.get(pool).body
        for title in ("template", "pool"):
            (process,) = fpm.processes(f"{title} {pool}")
            # A process that is not dumpable has its /proc files owned by root (PR_SET_DUMPABLE, prctl(2)).
            owner = Path(f"/proc/{process.pid}/environ").stat().st_uid
            assert (owner == 0) is (pool != "open"), (pool, title)


def test_limits_and_priority_of_the_master_are_those_of_pools_without_their_own(daemon: Start) -> None:
    own = {"process.priority": 7, "rlimit_files": 300, "rlimit_core": 4096}
    limits = {"process.priority": 3, "rlimit_files": 700, "rlimit_core": 8192}
    fpm = daemon({"www": ECHO, "own": {**ECHO, **own}}, global_=limits)
    for pid, priority, files, core in (
        (fpm.pid, 3, "700", "8192"),
        (echo(fpm, "www")["pid"], 3, "700", "8192"),
        (echo(fpm, "own")["pid"], 7, "300", "4096"),
    ):
        assert os.getpriority(os.PRIO_PROCESS, pid) == priority
        assert limits_of(pid)["Max open files"] == [files, files]
        assert limits_of(pid)["Max core file size"] == [core, core]
    upgrade(fpm)
    (former,) = fpm.workers("www")
    reload(fpm)
    wait_until(lambda: former not in fpm.workers("www"))
    assert limits_of(echo(fpm, "www")["pid"])["Max open files"] == ["700", "700"]


def test_a_limit_that_nobody_may_have_is_one_sentence(daemon: Start) -> None:
    fpm = daemon({"www": ECHO}, global_={"rlimit_files": 2**31 - 1}, started=False)
    found = fpm.cli("run")
    assert found.returncode == 70
    assert "pyfpm: [global] rlimit_files = 2147483647 cannot be applied: " in found.stderr
    assert "Traceback" not in found.stderr


def test_chdir_is_the_working_directory(fpm: Daemon) -> None:
    assert echo(fpm, "one")["cwd"] == str(fpm.apps)


@pytest.mark.root
def test_directory_closed_to_the_user_fails_the_pool_only(daemon: Start) -> None:
    """Closed after the configuration was read, which would have refused it."""
    fpm = daemon({"www": {}, "closed": {}}, started=False)
    closed = fpm.directory / "closed"
    closed.mkdir(mode=0o755)
    closed.chmod(0o755)
    fpm.configure({"www": {}, "closed": {"chdir": closed, "user": "nobody", "pm": "ondemand"}})
    fpm.expect_log(r"\[pool closed\]")
    fpm.start()
    closed.chmod(0o700)
    assert fpm.get("closed").status == 503
    failed = wait_state(fpm, "closed", "failed")
    assert failed["error"] == f"cannot apply chdir = {closed}: Permission denied"
    assert fpm.get("www").status == 200
    reply = fpm.get("closed")
    assert (reply.status, reply.headers["retry-after"]) == (503, "5")
    closed.chmod(0o755)
    (closed / "hello.py").write_text((fpm.apps / "hello.py").read_text())
    (closed / "hello.py").chmod(0o644)
    wait_until(lambda: fpm.get("closed").status == 200)
