"""A worker that executes a setuid program keeps its pid, and is no longer the pool's: no look, no signal."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from fpm.events.base import Event
from fpm.events.worker import IdentityChanged
from fpm.master.processes.owner import OwnerCheck
from tests.support.directories import opened_directory
from tests.support.fpm import Start
from tests.support.pools import write_app
from tests.support.processes import status_of
from tests.support.waiting import hold_for, wait_until

NOBODY = 65534
APP = """
import os

def application(environ, start_response):
    if environ["PATH_INFO"] == "/become":
        program = environ["QUERY_STRING"]
        os.execv(program, [program, "120"])
    start_response("200 OK", [])
    return [b"served"]
"""


def setuid_sleep(directory: Path) -> Path:
    """A setuid root program that anybody may execute."""
    if os.statvfs(directory).f_flag & os.ST_NOSUID:
        pytest.skip(f"{directory} is on a file system that is mounted nosuid")
    program = directory / "sleep"
    shutil.copy("/bin/sleep", program)
    program.chmod(stat.S_ISUID | 0o755)
    return program


@pytest.mark.root
def test_a_setuid_program_in_a_workers_place(daemon: Start) -> None:
    pool = {
        "app": "become:application",
        "no_new_privs": False,
        "pm.max_children": 2,
        "request_slowlog_timeout": "1s",
        "slowlog": "slow.log",
        "request_terminate_timeout": "2s",
    }
    fpm = daemon({"www": pool}, started=False)
    program = setuid_sleep(fpm.apps)
    write_app(fpm, "become", APP)
    fpm.expect_log(
        "no longer its pool's user's", "executing too slow", "exited on signal 9.*no stack: it is another user's now"
    )
    fpm.start()
    workers = fpm.workers("www")
    client = threading.Thread(target=lambda: fpm.get("www", "/become", query=str(program), timeout=60), daemon=True)
    client.start()
    worker = wait_until(lambda: next((pid for pid in workers if status_of(pid)["Uid"].split()[1] == "0"), 0))
    try:
        fpm.wait_log(f"process {worker} is no longer its pool's user's .it is uid 0")
        traced = fpm.cli("trace", str(worker))
        assert "it is another user's now, not its pool's" in traced.stdout + traced.stderr
        wait_until(lambda: status_of(worker)["State"].startswith("S"))
        hold_for(lambda: status_of(worker)["State"].startswith("S"), 4.0)
        assert fpm.get("www").body == b"served", "another worker has its place"
    finally:
        os.kill(worker, signal.SIGKILL)
        client.join()
    assert fpm.log().count("no longer its pool's user's") == 1


@pytest.mark.root
def test_of_a_process_group_only_the_pools_own_are_killed() -> None:
    said: list[Event] = []

    def emit(event: Event) -> Event:
        said.append(event)
        return event

    options: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "start_new_session": True, "cwd": "/"}
    with opened_directory() as directory:
        script = f"sleep 100 & {setuid_sleep(directory)} 100 & echo $!; exec >&-; wait"
        leader = subprocess.Popen(["/bin/sh", "-c", script], stdout=subprocess.PIPE, **options)
        assert leader.stdout is not None
        stranger = int(leader.stdout.readline())
        wait_until(lambda: status_of(stranger)["Uid"].split()[1] == "0")
        wait_until(lambda: status_of(stranger)["State"].startswith("S"), message="it has not come to its sleep")
        try:
            OwnerCheck(emit, "www", (NOBODY, NOBODY)).kill_group(leader.pid)
            assert leader.wait(60) == -signal.SIGKILL
            assert status_of(stranger)["State"].startswith("S")
            assert said == [IdentityChanged(0, NOBODY, pool="www", pid=stranger)]
        finally:
            os.kill(stranger, signal.SIGKILL)
            leader.stdout.close()
