"""`pyfpm doctor` on broken set-ups: each is found, and when what it prints has been done, nothing is wrong any more."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.process.test_certificates import memory_cgroup
from tests.process.test_socket_access import may_connect
from tests.process.test_trace_rights import NO_PTRACE
from tests.support.fpm import IS_ROOT, POOL_USER, Daemon, Start
from tests.support.hung import hung
from tests.support.interpreter import pool_python, pyfpm_command
from tests.support.nginx import StartNginx
from tests.support.pools import write_app
from tests.support.waiting import wait_until

WEB = ("--web-user", "daemon")
Found = dict[str, Any]


def examine(
    fpm: Daemon,
    *arguments: str,
    status: int = 0,
    wrapper: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
) -> list[Found]:
    """All that it finds, but for notes."""
    done = fpm.cli("doctor", "--json", *arguments, wrapper=wrapper, environ=environ, timeout=120)
    assert done.returncode == status, done.stdout + done.stderr
    answer = json.loads(done.stdout)
    assert answer["ok"] is (status == 0)
    found = [one for pool in answer["pools"].values() for one in pool] + answer["machine"]
    return [one for one in found if one["level"] != "note"]


def the_problem(fpm: Daemon, *arguments: str, **options: Any) -> Found:
    """The only thing that it finds."""
    (found,) = examine(fpm, *arguments, status=1, **options)
    assert found["level"] == "problem"
    return dict(found)


def mend(fpm: Daemon, found: Found, *, wrapper: Sequence[str] = ()) -> None:
    """Do what it prints: write the lines, and run the commands."""
    if found["where"]:
        names = {line.partition(" = ")[0] for line in found["lines"]}
        _, _, number = found["where"].rpartition(":")
        lines = fpm.config_file.read_text().splitlines()
        head, section = lines[: int(number)], lines[int(number) :]
        section = [line for line in section if line.partition(" = ")[0] not in names]
        fpm.config_file.write_text("\n".join([*head, *found["lines"], *section]) + "\n")
    for command in found["commands"]:
        shell = [*wrapper, "/bin/sh", "-ec", command]
        path = f"{os.path.dirname(pyfpm_command())}:{os.environ['PATH']}:/usr/sbin:/sbin"
        done = subprocess.run(
            shell, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


def test_nothing_is_wrong_with_a_daemon_that_works_and_nothing_is_left(daemon: Start) -> None:
    fpm = daemon({"www": {}, "other": {"pm": "ondemand"}}, started=False)
    temporary = set(Path(tempfile.gettempdir()).glob("pyfpm-doctor-*"))
    assert examine(fpm, *WEB) == []
    fpm.start()
    assert examine(fpm, *WEB) == []
    done = fpm.cli("doctor", "www", *WEB)
    assert "pool www: nothing is wrong" in done.stdout
    assert "pool other" not in done.stdout
    assert set(Path(tempfile.gettempdir()).glob("pyfpm-doctor-*")) <= temporary
    titles = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
    assert not [title for title in titles if f"{fpm.config_file}, tried by doctor" in title]
    assert fpm.get("www").status == 200


def test_usage_and_configuration_have_their_exit_statuses(daemon: Start) -> None:
    fpm = daemon({"www": {}}, started=False)
    assert fpm.cli("doctor", "nowhere").returncode == 64
    assert fpm.cli("doctor", "--web-user", "nobody-here").returncode == 64
    fpm.config_file.write_text("[www]\nnonsense = 1\n")
    assert fpm.cli("doctor").returncode == 78


# ---------------------------------------------------------------- the socket


@pytest.mark.root
@pytest.mark.parametrize("owner", ["root", POOL_USER])
def test_a_directory_on_the_way_is_opened(daemon: Start, directory: Path, owner: str) -> None:
    inside = directory / "site" / "run"
    inside.mkdir(parents=True)
    subprocess.run(["chown", "-R", owner, inside.parent], check=True, timeout=60)
    inside.parent.chmod(0o700)
    fpm = daemon({"www": {"listen": inside / "www.sock"}})
    if owner != "root":
        fpm.expect_log("others can put a socket of their own")
    assert not may_connect(str(inside / "www.sock"), "daemon")
    found = the_problem(fpm, *WEB)
    assert found["text"].startswith(f"daemon (--web-user) cannot pass {inside.parent}, on the way to the socket")
    assert found["commands"][0].startswith(f"runuser -u {owner} -- " if owner != "root" else ("chmod", "setfacl"))
    mend(fpm, found)
    assert examine(fpm, *WEB) == []
    assert may_connect(str(inside / "www.sock"), "daemon")


@pytest.mark.root
@pytest.mark.parametrize(
    ("settings", "lines"),
    [
        ({"listen.mode": "0660"}, ["listen.group = daemon"]),
        ({"listen.mode": "0600", "listen.owner": "games"}, ["listen.group = daemon", "listen.mode = 0660"]),
        ({"listen.mode": "0660", "listen.acl_users": "games"}, ["listen.acl_users = 5 daemon"]),
        ({"listen.mode": "0660", "listen.acl_groups": "games"}, ["listen.acl_users = daemon"]),
    ],
)
def test_the_socket_is_opened(daemon: Start, settings: Mapping[str, object], lines: list[str]) -> None:
    fpm = daemon({"www": settings})
    assert not may_connect(str(fpm.address("www")), "daemon", "daemon")
    found = the_problem(fpm, *WEB)
    assert found["check"] == "socket"
    assert found["lines"] == lines
    mend(fpm, found)
    assert examine(fpm, *WEB) == []
    assert may_connect(str(fpm.address("www")), "daemon", "daemon")


@pytest.mark.root
def test_a_socket_that_is_not_as_configured_needs_a_reload(daemon: Start) -> None:
    fpm = daemon({"www": {"listen.mode": "0600"}})
    fpm.configure({"www": {"listen.mode": "0666"}})
    found = the_problem(fpm, *WEB)
    assert "takes effect with a reload" in found["text"]
    mend(fpm, found)
    assert examine(fpm, *WEB) == []


# ---------------------------------------------------------------- the application


def test_an_application_that_cannot_be_imported_is_quoted(daemon: Start) -> None:
    fpm = daemon({"www": {"app": "broken:application"}}, started=False)
    write_app(fpm, "broken", "raise RuntimeError('no \\x1b[31msettings')")
    found = the_problem(fpm, *WEB)
    assert "the application does not start: RuntimeError: no" in found["text"]
    assert 'broken.py", line 1, in <module>' in found["quoted"]
    text = fpm.cli("doctor", *WEB).stdout
    assert "\x1b" not in text
    assert r"    | RuntimeError: no \x1b[31msettings" in text
    write_app(fpm, "broken", "from hello import application")
    assert examine(fpm, *WEB) == []


@pytest.mark.root
def test_the_application_is_imported_as_its_user_with_its_limits(daemon: Start) -> None:
    fpm = daemon({"www": {"app": "reading:application", "rlimit_files": 100, "env[WHO]": "x"}}, started=False)
    secret = fpm.directory / "secret"
    secret.write_text("")
    secret.chmod(0o600)
    source = f"""
        import os, resource
        assert os.environ["WHO"] == "x" and resource.getrlimit(resource.RLIMIT_NOFILE) == (100, 100)
        open({str(secret)!r})
        from hello import application
    """
    write_app(fpm, "reading", source)
    assert f"PermissionError: [Errno 13] Permission denied: '{secret}'" in the_problem(fpm, *WEB)["text"]
    os.chown(secret, 65534, -1)
    assert examine(fpm, *WEB) == []


@pytest.mark.root
def test_the_application_is_imported_in_its_jail(daemon: Start, directory: Path) -> None:
    """Other directories in /tmp are not there with isolation = strong, and Python in it works."""
    fpm = daemon({"www": {"app": "reading:application", "isolation": "strong"}}, started=False)
    (directory / "of_the_machine").write_text("")
    (directory / "of_the_machine").chmod(0o644)
    write_app(fpm, "reading", f"open({str(directory / 'of_the_machine')!r})\nfrom hello import application")
    found = examine(fpm, *WEB, status=1)
    assert "FileNotFoundError" in found[0]["text"], found
    write_app(fpm, "reading", "import json, ssl\nfrom hello import application")
    assert examine(fpm, *WEB) == []
    fpm.configure({"www": {"app": "reading:application", "isolation": "none"}})
    write_app(fpm, "reading", f"open({str(directory / 'of_the_machine')!r})\nfrom hello import application")
    assert examine(fpm, *WEB) == []


def test_a_pool_that_has_failed_and_would_start_now_is_reloaded(daemon: Start) -> None:
    fpm = daemon({"www": {"app": "broken:application"}}, started=False)
    fpm.expect_log("broken", "failed")
    fpm.start()
    write_app(fpm, "broken", "from hello import application")
    found = the_problem(fpm, *WEB)
    assert "No module named 'broken'. It would start now" in found["text"]
    mend(fpm, found)
    assert examine(fpm, *WEB) == []


def test_an_application_that_is_never_ready_has_its_time(daemon: Start) -> None:
    fpm = daemon({"www": {"app": "sleeping:application", "startup_timeout": "1s"}}, started=False)
    write_app(fpm, "sleeping", "import time\ntime.sleep(3600)")
    assert re.search("the application does not start: .*1 s", the_problem(fpm, *WEB)["text"])
    assert examine(fpm, "--no-import", *WEB) == []


def test_what_the_test_says_is_not_tried(daemon: Start) -> None:
    fpm = daemon({"www": {"chdir": "/nowhere/at/all"}}, started=False)
    found = the_problem(fpm, *WEB)
    assert found["check"] == "test"
    assert "[www] chdir: the chdir path '/nowhere/at/all' does not exist" in found["text"]


@pytest.mark.parametrize("broken", ["link", "version"])
def test_a_virtual_environment_that_does_not_match_is_made_anew(daemon: Start, directory: Path, broken: str) -> None:
    venv = directory / "venv"
    subprocess.run([pool_python(), "-m", "venv", "--without-pip", venv], check=True, timeout=120)
    fpm = daemon({"www": {"venv": venv}}, started=False)
    assert examine(fpm, *WEB) == []
    if broken == "link":
        (venv / "bin" / "python3").unlink()
        (venv / "bin" / "python3").symlink_to("/opt/gone/bin/python3.9")
    else:
        (library,) = (venv / "lib").iterdir()
        library.rename(library.with_name("python3.9"))
    found = the_problem(fpm, *WEB)
    assert found["check"] == "venv"
    assert ("/opt/gone/bin/python3.9" if broken == "link" else "has packages for Python 3.9") in found["text"]
    mend(fpm, found)
    assert examine(fpm, *WEB) == []


# ---------------------------------------------------------------- logs


@pytest.mark.root
def test_a_log_that_the_pool_cannot_write_is_moved_away_by_its_user(daemon: Start, directory: Path) -> None:
    os.chown(directory, 65534, -1)
    log = directory / "access.log"
    log.write_text("of root")
    log.chmod(0o600)
    fpm = daemon({"www": {"access.log": log}}, started=False)
    fpm.expect_log("access.log", "failed to start")
    found = examine(fpm, *WEB, status=1)[0]
    assert found["check"] == "logs"
    assert f"{POOL_USER}, as whom the pool runs, cannot write access.log {log}" in found["text"]
    assert found["commands"][0] == f"runuser -u {POOL_USER} -- mv -- {log} {log}.old"
    mend(fpm, {**found, "commands": found["commands"][:1]})
    (warning,) = examine(fpm, *WEB)
    assert warning["level"] == "warning"
    assert "whoever breaks into the application can change or remove the log" in warning["text"]
    assert "access.log = /var/log/pyfpm/www.access.log" in warning["lines"]


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


def test_too_many_workers_for_the_memory(daemon: Start, systemd: Path) -> None:
    fpm = daemon({"www": {"app": "heavy:application", "preload": "no", "pm.max_children": 30}}, started=False)
    write_app(fpm, "heavy", "DATA = bytearray(b'x' * (40 << 20))\nfrom hello import application")
    environ = with_systemd(systemd, MEMORY=str(400 << 20))
    found = the_problem(fpm, *WEB, environ=environ)
    assert found["check"] == "memory"
    assert "400 MiB of pyfpm.service (MemoryMax): workers would be killed" in found["text"]
    line = re.fullmatch(r"pm.max_children = (\d+)", *found["lines"])
    assert line is not None
    assert 4 <= int(line[1]) <= 9
    mend(fpm, {**found, "commands": []})
    assert examine(fpm, *WEB, environ=environ) == []


@pytest.mark.root
def test_the_limit_of_the_running_daemon_counts_with_its_workers(daemon: Start) -> None:
    pool = {"app": "heavy:application", "preload": "no", "pm": "dynamic", "pm.max_children": 20}
    spare = {"pm.start_servers": 2, "pm.min_spare_servers": 1, "pm.max_spare_servers": 12}
    fpm = daemon({"www": {**pool, **spare}}, started=False)
    write_app(fpm, "heavy", "DATA = bytearray(b'x' * (40 << 20))\nfrom hello import application")
    with memory_cgroup(300) as group:
        fpm.start(wrapper=["/bin/sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "sh"])
        found = the_problem(fpm, *WEB)
        assert (
            "measured of 2 workers of the running daemon), and there are 300 MiB of the control group /"
            in found["text"]
        )
        names = [line.partition(" = ")[0] for line in found["lines"]]
        assert names == ["pm.max_children", "pm.max_spare_servers"]
        mend(fpm, found)
        assert examine(fpm, *WEB) == []
        fpm.signal(signal.SIGTERM)
        assert fpm.wait() == 0


def test_systemd_that_does_not_wait(daemon: Start, systemd: Path) -> None:
    fpm = daemon({"www": {}}, global_={"process_control_timeout": "5m"}, started=False)
    found = the_problem(fpm, *WEB, environ=with_systemd(systemd, STOP="1min 30s"))
    assert (
        "pyfpm.service gives a stop 90 s (TimeoutStopSec), and process_control_timeout gives requests 300 s"
        in (found["text"])
    )
    if IS_ROOT:  # in a mount namespace of its own, the machine's units stay as they are
        written = "/etc/systemd/system/pyfpm.service.d/stop.conf"
        script = f"mount -t tmpfs none /etc/systemd && {found['commands'][0]} && cat {written}"
        done = subprocess.run(["unshare", "-m", "sh", "-ec", script], capture_output=True, timeout=60, check=True)
        assert done.stdout == b"[Service]\nTimeoutStopSec=310\n"
    assert examine(fpm, *WEB, environ=with_systemd(systemd, STOP="310s")) == []


@pytest.mark.root
def test_a_backlog_that_the_kernel_cuts(daemon: Start) -> None:
    fpm = daemon({"www": {"listen.backlog": 5000}}, started=False)
    setting = "sysctl -q -w net.core.somaxconn=100"
    alone = ("unshare", "-n", "sh", "-ec")
    found = the_problem(fpm, *WEB, wrapper=[*alone, f'{setting}; exec "$0" "$@"'])
    assert "listen.backlog = 5000 is cut to 100, as net.core.somaxconn says" in found["text"]
    assert examine(fpm, *WEB, wrapper=[*alone, f'{setting}; {found["commands"][0]} >&2; exec "$0" "$@"']) == []


def test_too_few_descriptors_for_the_master_and_for_a_worker(daemon: Start) -> None:
    fpm = daemon({"www": {"pm.max_children": 20, "pm": "ondemand"}}, started=False)
    few = ["prlimit", "--nofile=120:120"]
    found = the_problem(fpm, *WEB, wrapper=few)
    assert "with 20 workers in 1 pools the master needs about 165 descriptors, and it has 120" in found["text"]
    assert found["commands"] == ["ulimit -n 165"]
    fpm.configure({"www": {"pm.max_children": 20, "pm": "ondemand"}}, global_={"rlimit_files": 120})
    found = the_problem(fpm, *WEB)
    assert f"it has 120 (rlimit_files in [global]). The line is for [global] of {fpm.config_file}" in found["text"]
    assert found["lines"] == ["rlimit_files = 165"]
    fpm.configure({"www": {"pm.max_children": 20, "pm": "ondemand"}}, global_={"rlimit_files": 165})
    assert examine(fpm, *WEB) == []
    fpm.configure({"www": {"rlimit_files": 40}})
    found = the_problem(fpm, *WEB)
    assert "rlimit_files = 40 leaves an application" in found["text"]
    mend(fpm, {**found, "commands": []})
    assert examine(fpm, *WEB) == []


def test_stacks_that_cannot_be_taken_are_a_warning(daemon: Start) -> None:
    fpm = daemon({"www": {}}, started=False)
    (found,) = examine(fpm, *WEB, wrapper=NO_PTRACE)
    assert (found["check"], found["level"]) == ("stacks", "warning")
    assert "cannot be read by ptrace: a seccomp filter forbids it" in found["text"]


def test_a_service_manager_hears_nothing_of_the_trial(daemon: Start, directory: Path) -> None:
    fpm = daemon({"www": {}}, started=False)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as manager:
        manager.bind(str(directory / "notify"))
        (directory / "notify").chmod(0o666)
        assert examine(fpm, *WEB, environ={"NOTIFY_SOCKET": str(directory / "notify")}) == []
        with pytest.raises(BlockingIOError):
            manager.recv(4096)


# ---------------------------------------------------------------- nginx


@pytest.mark.root
@pytest.mark.parametrize(
    ("server", "settings", "said"),
    [
        ("include fastcgi_params; fastcgi_pass unix:/run/old/www.sock;", {}, "where no pool of this configuration"),
        ("fastcgi_pass unix:{listen};", {}, "without QUERY_STRING, REQUEST_METHOD, SERVER_PROTOCOL"),
        (
            "include fastcgi_params; fastcgi_pass unix:{listen};",
            {"request_terminate_timeout": "120s"},
            "gives an answer 60 s (fastcgi_read_timeout), and request_terminate_timeout is 120 s",
        ),
    ],
    ids=["path", "params", "timeout"],
)
def test_what_nginx_has_for_the_pool(
    daemon: Start, nginx: StartNginx, server: str, settings: Mapping[str, object], said: str
) -> None:
    fpm = daemon({"www": settings})
    web = nginx(f"location / {{ {server.format(listen=fpm.address('www'))} }}")
    conf = ("--nginx-conf", str(web.directory / "nginx.conf"))
    found = the_problem(fpm, *conf)
    assert found["check"] == "nginx"
    assert said in found["text"]
    mend(fpm, found)
    assert examine(fpm, *conf) == []
    wait_until(lambda: web.get("/").status == 200)


@pytest.mark.root
def test_lines_for_nginx_are_given_and_its_user_is_found(daemon: Start, nginx: StartNginx) -> None:
    fpm = daemon({"www": {"listen.mode": "0600"}})
    web = nginx("return 204;")
    conf = ("--nginx-conf", str(web.directory / "nginx.conf"))
    found = the_problem(fpm, *conf)
    assert found["text"].startswith("nobody (user in nginx's configuration) cannot connect to")
    assert found["lines"] == ["listen.group = nogroup", "listen.mode = 0660"]
    done = fpm.cli("doctor", *conf)
    assert f"write:     fastcgi_pass unix:{fpm.address('www')};" in done.stdout


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
