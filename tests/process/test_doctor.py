"""`pyfpm doctor` on broken set-ups: each is found, and when what it prints has been done, nothing is wrong any more.

What stops an application, and the logs of a pool, are test_doctor_start.py's.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.process.test_certificates import memory_cgroup
from tests.process.test_socket_access import may_connect
from tests.process.test_trace_rights import NO_PTRACE
from tests.support.doctor import QUICK, WEB, examine, mend, the_problem, the_problems
from tests.support.fpm import IS_ROOT, POOL_USER, Daemon, Start, title_of
from tests.support.hung import hung
from tests.support.nginx import StartNginx
from tests.support.pools import write_app
from tests.support.waiting import wait_until


def nothing_is_left(fpm: Daemon, place: Path) -> None:
    """Of the masters that have tried the pools, where TMPDIR was `place`: other tests try pools in the usual one."""
    assert not list(place.glob("pyfpm-doctor-*"))
    tried = f"{fpm.config_file}, tried by doctor"
    wait_until(lambda: not [process for process in psutil.process_iter() if tried in title_of(process)])


def test_nothing_is_wrong_and_a_service_manager_hears_nothing_of_the_trial(daemon: Start, directory: Path) -> None:
    fpm = daemon({"www": {}, "other": {"pm": "ondemand"}}, started=False)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as manager:
        manager.bind(str(directory / "notify"))
        (directory / "notify").chmod(0o666)
        environ = {"TMPDIR": str(directory), "NOTIFY_SOCKET": str(directory / "notify")}
        assert examine(fpm, *WEB, environ=environ) == []
        with pytest.raises(BlockingIOError):
            manager.recv(4096)
    nothing_is_left(fpm, directory)


NOT_YET = """
    import os, pathlib
    master = pathlib.Path(f"/proc/{os.getppid()}/cmdline").read_text()
    if "tried by doctor" not in master and not pathlib.Path(__file__).with_name("mended").exists():
        raise LookupError("not yet")
    from hello import application
"""
"""It starts for the doctor only, so that the daemon does not find out first, when it tries again."""


def test_beside_a_daemon_that_works_with_a_pool_that_it_does_not_know_and_one_that_would_start_now(
    daemon: Start, directory: Path
) -> None:
    pools: dict[str, dict[str, object]] = {
        "www": {},
        "other": {"pm": "ondemand"},
        "broken": {"app": "not_yet:application"},
    }
    fpm = daemon(pools, started=False)
    write_app(fpm, "not_yet", NOT_YET)
    fpm.expect_log("broken", "failed")
    fpm.start()
    fpm.configure({**pools, "later": {"pm": "ondemand"}})
    found = the_problems(fpm, *WEB, environ={"TMPDIR": str(directory)})
    nothing_is_left(fpm, directory)
    assert sorted(found) == ["broken", "later"]
    assert "the running daemon does not know this pool yet" in found["later"]["text"]
    assert "LookupError: not yet. It would start now" in found["broken"]["text"]
    (fpm.apps / "mended").touch()
    mend(fpm, *found.values())
    done = fpm.cli("doctor", "www", "broken", "later", *QUICK)
    assert [line for line in done.stdout.splitlines() if line.startswith("pool ")] == [
        f"pool {name}: nothing is wrong" for name in ("www", "broken", "later")
    ]
    assert {pool: fpm.get(pool).status for pool in ("www", "broken", "later")} == {
        "www": 200,
        "broken": 200,
        "later": 200,
    }


def test_usage_and_configuration_have_their_exit_statuses(daemon: Start) -> None:
    fpm = daemon({"www": {}}, started=False)
    assert fpm.cli("doctor", "nowhere").returncode == 1  # as for every command that names a pool
    assert fpm.cli("doctor", "--web-user", "nobody-here").returncode == 64
    fpm.config_file.write_text("[www]\nnonsense = 1\n")
    assert fpm.cli("doctor").returncode == 78


# ---------------------------------------------------------------- the socket

LINES = {
    "mode": ["listen.group = daemon"],
    "owner": ["listen.group = daemon", "listen.mode = 0660"],
    "users": ["listen.acl_users = 5 daemon"],
    "groups": ["listen.acl_users = daemon"],
}
"""What lets the web server's user connect to the socket of each of these pools."""


@pytest.mark.root
def test_the_way_to_the_socket_is_opened_and_the_socket_itself(daemon: Start, directory: Path) -> None:
    """A directory of root's on the way, one of the pool's user, sockets of other modes, and one that is not as
    configured."""
    ways = {name: directory / name / "run" for name in ("root", POOL_USER)}
    for owner, inside in ways.items():
        inside.mkdir(parents=True)
        subprocess.run(["chown", "-R", owner, inside.parent], check=True, timeout=60)
        inside.parent.chmod(0o700)
    pools: dict[str, dict[str, object]] = {
        **{name: {"listen": inside / "www.sock"} for name, inside in ways.items()},
        "mode": {"listen.mode": "0660"},
        "owner": {"listen.mode": "0600", "listen.owner": "games"},
        "users": {"listen.mode": "0660", "listen.acl_users": "games"},
        "groups": {"listen.mode": "0660", "listen.acl_groups": "games"},
        "stale": {"listen.mode": "0600"},
    }
    fpm = daemon({name: {"pm": "ondemand", **pool} for name, pool in pools.items()})
    fpm.expect_log("others can put a socket of their own")
    assert [pool for pool in pools if may_connect(str(fpm.address(pool)), "daemon", "daemon")] == []
    fpm.configure({name: {"pm": "ondemand", **pool} for name, pool in {**pools, "stale": {}}.items()})
    found = the_problems(fpm, *QUICK)
    assert {one["check"] for one in found.values()} == {"socket"}
    for owner, inside in ways.items():
        said = f"daemon (--web-user) cannot pass {inside.parent}, on the way to the socket"
        assert found[owner]["text"].startswith(said)
        assert found[owner]["commands"][0].startswith(
            f"runuser -u {owner} -- " if owner != "root" else ("chmod", "setfacl")
        )
    assert {pool: found[pool]["lines"] for pool in LINES} == LINES
    assert "takes effect with a reload" in found["stale"]["text"]
    mend(fpm, *found.values())
    assert examine(fpm, *QUICK) == []
    assert [pool for pool in pools if not may_connect(str(fpm.address(pool)), "daemon", "daemon")] == []


# ---------------------------------------------------------------- numbers

SYSTEMCTL = """#!/bin/sh
cat <<EOF
LoadState=loaded
TimeoutStopUSec=$STOP
LimitNOFILE=524288
MemoryMax=$MEMORY
EOF
"""


@pytest.fixture
def systemd(directory: Path) -> Path:
    """A directory with a systemctl that answers `show` from the environment: STOP and MEMORY."""
    program = directory / "systemctl"
    program.write_text(SYSTEMCTL)
    program.chmod(0o755)
    return directory


def with_systemd(systemd: Path, **values: str) -> dict[str, str]:
    return {"PATH": f"{systemd}:{os.environ['PATH']}", "STOP": "1min", "MEMORY": "infinity", **values}


def test_too_many_workers_for_the_memory_and_systemd_that_does_not_wait(daemon: Start, systemd: Path) -> None:
    pool = {"app": "heavy:application", "preload": "no", "pm.max_children": 30}
    fpm = daemon({"www": pool}, global_={"process_control_timeout": "5m"}, started=False)
    write_app(fpm, "heavy", "DATA = bytearray(b'x' * (40 << 20))\nfrom hello import application")
    memory = str(400 << 20)
    found = the_problems(fpm, *WEB, environ=with_systemd(systemd, MEMORY=memory, STOP="1min 30s"))
    assert {pool: one["check"] for pool, one in found.items()} == {"www": "memory", "": "systemd"}
    assert "400 MiB of pyfpm.service (MemoryMax): workers would be killed" in found["www"]["text"]
    line = re.fullmatch(r"pm.max_children = (\d+)", *found["www"]["lines"])
    assert line is not None
    assert 4 <= int(line[1]) <= 9
    said = "pyfpm.service gives a stop 90 s (TimeoutStopSec), and process_control_timeout gives requests 300 s"
    assert said in found[""]["text"]
    if IS_ROOT:  # in a mount namespace of its own, the machine's units stay as they are
        written = "/etc/systemd/system/pyfpm.service.d/stop.conf"
        script = f"mount -t tmpfs none /etc/systemd && {found['']['commands'][0]} && cat {written}"
        done = subprocess.run(["unshare", "-m", "sh", "-ec", script], capture_output=True, timeout=60, check=True)
        assert done.stdout == b"[Service]\nTimeoutStopSec=310\n"
    mend(fpm, {**found["www"], "commands": []})
    assert examine(fpm, *WEB, environ=with_systemd(systemd, MEMORY=memory, STOP="310s")) == []


@pytest.mark.root
def test_the_limit_of_the_running_daemon_counts_with_its_workers(daemon: Start) -> None:
    pool = {"app": "heavy:application", "preload": "no", "pm": "dynamic", "pm.max_children": 20}
    spare = {"pm.start_servers": 2, "pm.min_spare_servers": 1, "pm.max_spare_servers": 12}
    fpm = daemon({"www": {**pool, **spare}}, started=False)
    write_app(fpm, "heavy", "DATA = bytearray(b'x' * (40 << 20))\nfrom hello import application")
    with memory_cgroup(300) as group:
        fpm.start(wrapper=["/bin/sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "sh"])
        found = the_problem(fpm, *QUICK)
        assert (
            "measured of 2 workers of the running daemon), and there are 300 MiB of the control group /"
            in found["text"]
        )
        names = [line.partition(" = ")[0] for line in found["lines"]]
        assert names == ["pm.max_children", "pm.max_spare_servers"]
        mend(fpm, found)
        assert examine(fpm, *QUICK) == []
        fpm.signal(signal.SIGTERM)
        assert fpm.wait() == 0


@pytest.mark.root
def test_a_backlog_that_the_kernel_cuts(daemon: Start) -> None:
    fpm = daemon({"www": {"listen.backlog": 5000}}, started=False)
    setting = "sysctl -q -w net.core.somaxconn=100"
    alone = ("unshare", "-n", "sh", "-ec")
    found = the_problem(fpm, *QUICK, wrapper=[*alone, f'{setting}; exec "$0" "$@"'])
    assert "listen.backlog = 5000 is cut to 100, as net.core.somaxconn says" in found["text"]
    assert examine(fpm, *QUICK, wrapper=[*alone, f'{setting}; {found["commands"][0]} >&2; exec "$0" "$@"']) == []


def test_too_few_descriptors_for_the_master_and_for_a_worker(daemon: Start) -> None:
    pool = {"pm.max_children": 20, "pm": "ondemand"}
    fpm = daemon({"www": pool}, started=False)
    found = the_problem(fpm, *QUICK, wrapper=["prlimit", "--nofile=120:120"])
    assert "with 20 workers in 1 pools the master needs about 165 descriptors, and it has 120" in found["text"]
    assert found["commands"] == ["ulimit -n 165"]
    fpm.configure({"www": pool}, global_={"rlimit_files": 120})
    found = the_problem(fpm, *QUICK)
    assert f"it has 120 (rlimit_files in [global]). The line is for [global] of {fpm.config_file}" in found["text"]
    assert found["lines"] == ["rlimit_files = 165"]
    fpm.configure({"www": {**pool, "rlimit_files": 40}}, global_={"rlimit_files": 165})
    found = the_problem(fpm, *WEB)
    assert "rlimit_files = 40 leaves an application" in found["text"]
    mend(fpm, {**found, "commands": []})
    fpm.config_file.write_text(
        fpm.config_file.read_text().replace("rlimit_files = 165\n", "")
    )  # a pool can have no more
    assert examine(fpm, *WEB) == []


def test_stacks_that_cannot_be_taken_are_a_warning(daemon: Start) -> None:
    fpm = daemon({"www": {}}, started=False)
    (found,) = examine(fpm, *QUICK, wrapper=NO_PTRACE)
    assert (found["check"], found["level"]) == ("stacks", "warning")
    assert "cannot be read by ptrace: a seccomp filter forbids it" in found["text"]


# ---------------------------------------------------------------- nginx


SITES = """
    location /path { include fastcgi_params; fastcgi_pass unix:/run/old/path.sock; }
    location /params { fastcgi_pass unix:%(params)s; }
    location /timeout { include fastcgi_params; fastcgi_pass unix:%(timeout)s; }
"""
"""What nginx has for three pools; the fourth, whose socket is closed, it does not know at all."""


@pytest.mark.root
def test_what_nginx_has_for_the_pools_its_user_and_lines_for_it(daemon: Start, nginx: StartNginx) -> None:
    fpm = daemon(
        {"path": {}, "params": {}, "timeout": {"request_terminate_timeout": "120s"}, "closed": {"listen.mode": "0600"}}
    )
    web = nginx(SITES % {pool: fpm.address(pool) for pool in ("params", "timeout")})
    conf = ("--no-import", "--nginx-conf", str(web.directory / "nginx.conf"))
    found = the_problems(fpm, *conf)
    checks = {pool: one["check"] for pool, one in found.items()}
    assert checks == {"path": "nginx", "params": "nginx", "timeout": "nginx", "closed": "socket"}
    assert "where no pool of this configuration" in found["path"]["text"]
    assert "without QUERY_STRING, REQUEST_METHOD, SERVER_PROTOCOL" in found["params"]["text"]
    said = "gives an answer 60 s (fastcgi_read_timeout), and request_terminate_timeout is 120 s"
    assert said in found["timeout"]["text"]
    assert found["closed"]["text"].startswith("nobody (user in nginx's configuration) cannot connect to")
    assert found["closed"]["lines"] == ["listen.group = nogroup", "listen.mode = 0660"]
    done = fpm.cli("doctor", "closed", *conf)
    assert f"write:     fastcgi_pass unix:{fpm.address('closed')};" in done.stdout
    mend(fpm, *found.values())
    assert examine(fpm, *conf) == []
    for pool in ("path", "params", "timeout"):
        wait_until(lambda pool=pool: web.get(f"/{pool}").status == 200, message=f"nginx does not reach {pool}")


# ---------------------------------------------------------------- others who ask, and what hangs


@pytest.mark.root
def test_an_ordinary_user_is_told_what_he_cannot_see(daemon: Start, directory: Path) -> None:
    os.chown(directory, 1, 1)
    settings = {"user": None, "listen": directory / "www.sock", "listen.mode": "0600"}
    fpm = daemon({"www": settings}, global_={"control": directory / "control", "pid": None}, started=False)
    fpm.config_file.write_text(re.sub("pid = .*\n", "", fpm.config_file.read_text()))
    fpm.config_file.chmod(0o644)
    other = ("/usr/bin/setpriv", "--reuid=daemon", "--regid=daemon", "--clear-groups", "--")
    done = fpm.cli("doctor", "--web-user", "games", wrapper=other)
    assert done.returncode == 1, done.stderr
    assert "games (--web-user) cannot connect to" in done.stdout
    assert "write in [www]" in done.stdout
    assert "listen.acl_users = games" in done.stdout
    assert "note: user: not everything can be seen by this user" in done.stdout


@pytest.mark.root
def test_a_file_system_that_does_not_answer_is_said_in_time(daemon: Start, directory: Path) -> None:
    fpm = daemon({"www": {"chdir": directory}}, started=False)
    with hung(directory):
        done = fpm.cli("doctor", timeout=120)
    assert done.returncode == 1
    assert "does not answer: its file system hangs" in done.stderr
