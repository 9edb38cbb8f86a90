"""`pyfpm start`: the parent waits for the outcome and leaves with it; the daemon goes on by itself."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from fpm.log.lines import INDENT
from tests.support.fpm import Daemon, Start
from tests.support.interpreter import pyfpm_command
from tests.support.waiting import wait_until

LOG = {"error_log": "error.log"}


def complaints(said: str) -> list[str]:
    """What a command said, but for what it waited for: that depends on how busy the machine is."""
    return [line for line in said.splitlines() if not line.startswith("waiting for ")]


def adopt(fpm: Daemon) -> Daemon:
    """The daemon that `pyfpm start` has left to itself is a child of the test process, which adopts orphans."""
    fpm.watch(int(fpm.pid_file.read_text()))
    return fpm


@pytest.mark.parametrize("arguments", [("start",), ("-D",)])
def test_the_parent_leaves_when_all_is_ready(daemon: Start, arguments: tuple[str, ...]) -> None:
    fpm = daemon({"www": {}, "shop": {"pm.max_children": 2}}, global_=LOG, started=False)
    found = fpm.cli(*arguments)
    assert (found.returncode, found.stdout, complaints(found.stderr)) == (0, "", [])
    adopt(fpm)
    status = json.loads(fpm.cli("status", "--format", "json").stdout)
    assert [pool["idle processes"] for pool in status] == [1, 2]
    assert fpm.get("www").status == 200
    log = (fpm.directory / "error.log").read_text()
    assert re.search(rf"NOTICE: fpm is running, pid {fpm.pid}\n(.*\n)*.*NOTICE: ready to handle connections\n", log)
    is_detached(fpm)
    assert fpm.cli("stop").returncode == 0
    assert fpm.wait() == 0


def is_detached(fpm: Daemon) -> None:
    """It has a session of its own, no terminal, and files that only those read who may."""
    assert os.getsid(fpm.pid) == fpm.pid
    assert [os.readlink(f"/proc/{fpm.pid}/fd/{fd}") for fd in (0, 1)] == ["/dev/null", "/dev/null"]
    assert os.readlink(f"/proc/{fpm.pid}/fd/2") == str(fpm.directory / "error.log")
    assert (fpm.directory / "error.log").stat().st_mode & 0o777 == 0o600
    assert fpm.pid_file.stat().st_mode & 0o777 == 0o644
    assert fpm.pid_file.read_text() == f"{fpm.pid}\n"


def test_a_program_learns_how_the_start_went(daemon: Start) -> None:
    fpm = daemon({"www": {}, "bad": {"app": "broken_import:application"}}, global_=LOG, started=False)
    refused = json.loads(fpm.cli("start", "--strict", "--format", "json").stdout)
    why = ["not started, these pools have failed: bad"]
    assert refused == {"ok": False, "status": 70, "pid": 0, "complaints": why}
    found = fpm.cli("start", "--format", "json")
    adopt(fpm)
    started = json.loads(found.stdout)
    assert (found.returncode, started["ok"], started["status"], started["pid"]) == (1, False, 1, fpm.pid)
    assert started["complaints"] == ["started, but these pools have failed (see the log): bad"]
    assert complaints(found.stderr) == []
    fpm.expect_log("ALERT: started with --strict", "ERROR: .pool bad.")


def test_without_a_command_the_configuration_decides(daemon: Start) -> None:
    fpm = daemon({"www": {}}, global_={**LOG, "daemonize": "yes"}, started=False)
    assert fpm.cli("-O").returncode == 0
    adopt(fpm)
    other = daemon({"www": {}}, global_={"daemonize": "no"}, started=False).start("-O")
    assert other.get("www").status == 200


@pytest.mark.skipif(os.path.exists("/dev/log"), reason="this machine has a syslog")
def test_without_a_log_the_command_says_so_and_why_pools_have_failed(daemon: Start) -> None:
    fpm = daemon({"www": {}, "bad": {"app": "broken_import:application"}}, started=False)
    found = fpm.cli("start")
    assert found.returncode == 1
    first, second, third, *traceback = complaints(found.stderr)
    assert first == (
        "pyfpm: the daemon has no log, because nothing takes messages for syslog (No such file or directory). Write "
        "error_log = PATH in [global]"
    )
    assert second == "pyfpm: started, but these pools have failed: bad"
    assert third.startswith(f"{INDENT}pool bad: ")
    assert traceback[0] == f"{INDENT}Traceback (most recent call last):"
    assert "ModuleNotFoundError" in traceback[-1]
    adopt(fpm)
    assert os.readlink(f"/proc/{fpm.pid}/fd/2") == "/dev/null"
    assert fpm.get("www").status == 200


def test_a_socket_in_use_is_the_reason(daemon: Start) -> None:
    fpm = daemon({"www": {}}, global_=LOG, started=False)
    path = str(fpm.address("www"))
    with socket.socket(socket.AF_UNIX) as owner:
        owner.bind(path)
        owner.listen(1)
        found = fpm.cli("start", "--strict")
    assert found.returncode == 70
    assert "pyfpm: not started, these pools have failed: www" in found.stderr
    assert "Another FPM instance" in (fpm.directory / "error.log").read_text()
    os.unlink(path)
    assert sorted(path.name for path in fpm.directory.iterdir() if path.is_socket()) == ["notify"]
    assert not fpm.pid_file.exists()
    fpm.expect_log("Another FPM instance", "started with --strict")


@pytest.mark.parametrize(
    ("global_", "reason"),
    [
        ({"error_log": "/nonexistent/error.log"}, "error_log"),
        ({"pid": "/nonexistent/pyfpm.pid"}, "pid"),
        ({"control": "/proc/nowhere/control.sock"}, "control"),
    ],
)
def test_a_path_that_cannot_be_written_is_the_reason(daemon: Start, global_: dict[str, str], reason: str) -> None:
    found = daemon({"www": {}}, global_={**LOG, **global_}, started=False).cli("start")
    assert found.returncode in (70, 78)
    assert reason in found.stderr
    assert "Traceback" not in found.stderr


def test_a_broken_pool_is_named_and_the_others_serve(daemon: Start) -> None:
    fpm = daemon({"www": {}, "bad": {"app": "broken_import:application"}}, global_=LOG, started=False)
    fpm.expect_log(r"\[pool bad\]")
    found = fpm.cli("start")
    assert found.returncode == 1
    assert "these pools have failed (see the log): bad" in found.stderr
    adopt(fpm)
    assert fpm.get("www").status == 200
    assert fpm.get("bad").status == 503
    assert "ModuleNotFoundError" in fpm.log()


def test_a_second_start_is_refused_and_disturbs_nobody(daemon: Start) -> None:
    """Also after the control socket was removed: the pool's socket tells that somebody is there."""
    fpm = daemon({"www": {}}, global_=LOG)
    fpm.expect_log("Another FPM instance", "started with --strict")
    for command in ("start", "run"):
        found = fpm.cli(command)
        assert found.returncode == 70
        assert "is this daemon running already?" in found.stderr
    assert fpm.get("www").status == 200
    assert fpm.pid_file.read_text() == f"{fpm.pid}\n"
    assert fpm.cli("status").returncode == 0
    fpm.control.unlink()
    found = fpm.cli("start")
    assert found.returncode == 70
    assert "[pool www] Another FPM instance" in found.stderr
    assert fpm.get("www").status == 200
    assert fpm.pid_file.read_text() == f"{fpm.pid}\n", "the one who is refused has neither written nor removed it"


def test_a_signal_during_the_start_ends_it(daemon: Start) -> None:
    fpm = daemon({"www": {"app": "hang:application"}}, global_=LOG, started=False)
    (fpm.apps / "hang.py").write_text("import threading\nthreading.Event().wait()\n")
    command = [pyfpm_command(), "-c", str(fpm.config_file), "start"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL) as parent:
        wait_until(lambda: fpm.pid_file.exists() and fpm.pid_file.read_text())
        os.kill(int(fpm.pid_file.read_text()), signal.SIGTERM)
        assert parent.wait(60) != 0
        assert parent.stderr is not None
        assert b"before it was ready" in parent.stderr.read()
    nothing_is_left(fpm)


def test_ctrl_c_in_the_waiting_parent_stops_the_start(daemon: Start) -> None:
    fpm = daemon({"www": {"app": "hang:application"}}, global_=LOG, started=False)
    (fpm.apps / "hang.py").write_text("import threading\nthreading.Event().wait()\n")
    command = [pyfpm_command(), "-c", str(fpm.config_file), "start"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL) as parent:
        wait_until(lambda: fpm.pid_file.exists() and fpm.pid_file.read_text())
        parent.send_signal(signal.SIGINT)
        assert parent.wait(60) != 0
    nothing_is_left(fpm)


def test_ctrl_c_before_there_is_a_command_is_quiet() -> None:
    program = (
        "import sys\n"
        "class Interrupted:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'fpm.cli.main':\n"
        "            raise KeyboardInterrupt\n"
        "from fpm.__main__ import main\n"
        "sys.meta_path.insert(0, Interrupted())\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")


def test_the_stale_files_of_a_killed_daemon_do_not_stop_the_next(daemon: Start) -> None:
    fpm = daemon({"www": {}}, global_=LOG, started=False)
    assert fpm.cli("start").returncode == 0
    adopt(fpm)
    family = [fpm.pid, *fpm.workers("www"), *(p.pid for p in fpm.processes("template"))]
    fpm.signal(signal.SIGKILL)
    assert fpm.wait() == -signal.SIGKILL
    wait_until(lambda: not any(Path(f"/proc/{pid}/cmdline").exists() and is_alive(pid) for pid in family))
    assert fpm.pid_file.exists()
    assert Path(str(fpm.address("www"))).is_socket()
    assert fpm.cli("start").returncode == 0
    adopt(fpm)
    assert fpm.get("www").status == 200


def nothing_is_left(fpm: Daemon) -> None:
    """No socket, no pid file, and soon no process with the name of this configuration or its pool's directory."""
    assert [path.name for path in fpm.directory.iterdir() if path.is_socket()] == ["notify"]
    assert not fpm.pid_file.exists()
    wait_until(lambda: not [one for one in psutil.process_iter() if works_in(one, str(fpm.directory))])


def works_in(process: psutil.Process, directory: str) -> bool:
    """Whether the process has its working directory there; templates have."""
    try:
        return process.cwd().startswith(directory)
    except (psutil.AccessDenied, psutil.NoSuchProcess):
        return False


def is_alive(pid: int) -> bool:
    """Neither gone nor a zombie (which the test process has not buried yet)."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):  # the second while it is read
        return False
