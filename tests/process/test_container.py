"""pyfpm as process 1 of a container: another user, variables instead of a file, JSON on standard output, a drain.

The container is a pid namespace (unshare(1)) whose first process executes pyfpm as `nobody`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tests.process.test_master_user import run_as
from tests.support import raw_fastcgi
from tests.support.directories import opened_directory
from tests.support.fpm import POOL_USER, title_of
from tests.support.interpreter import pool_python, pyfpm_command
from tests.support.looking import fetch, read_pool
from tests.support.processes import descendants, end_strays
from tests.support.waiting import wait_until

pytestmark = pytest.mark.root
SITE = """
import os, subprocess, sys, time

def application(environ, start_response):
    query = environ["QUERY_STRING"]
    if query == "orphan":
        subprocess.run(["sh", "-c", "sleep 300 >/dev/null 2>&1 &"])
        print("an orphan", file=sys.stderr)
    while query == "hold" and not os.path.exists("go"):
        time.sleep(0.01)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d" % os.getppid()]
"""


def begin(directory: Path, **variables: str) -> subprocess.Popen[bytes]:
    """Start process 1 in the directory, which becomes its user's."""
    (directory / "shop.py").write_text(SITE)
    subprocess.run(["chown", "-R", POOL_USER, directory], check=True)
    environ = {
        "PATH": os.environ["PATH"],
        "PYFPM_APP": "shop:application",
        "PYFPM_NAME": "shop",
        "PYFPM_LISTEN": f"{directory}/shop.sock",
        "PYFPM_PYTHON": pool_python(),
        "PYFPM_CONTROL": f"{directory}/control.sock",
        "PYFPM_STATUS_LISTEN": f"{directory}/status.sock",
        "PYFPM_PM_MAX_CHILDREN": "2",
        "PYFPM_ERROR_LOG": "/dev/stdout",
        "PYFPM_LOG_FORMAT": "json",
        "PYFPM_ACCESS_LOG": "/dev/stdout",
        "PYFPM_ACCESS_FORMAT": "json",
        **variables,
    }
    return subprocess.Popen(
        ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", *run_as(POOL_USER), pyfpm_command(), "run"],
        cwd=directory,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def first_process(unshare: int) -> psutil.Process:
    (found,) = psutil.Process(unshare).children()
    return found


def is_ready(status: str) -> bool:
    try:
        return fetch(status, "/readyz/shop").status == 200
    except (FileNotFoundError, ConnectionRefusedError):  # not bound, or not listening yet
        return False


def sleeping(unshare: int) -> list[psutil.Process]:
    return [one for one in descendants(unshare) if title_of(one).startswith("sleep ")]


@pytest.mark.parametrize(
    ("number", "variables"), [(signal.SIGQUIT, {}), (signal.SIGTERM, {"PYFPM_SIGTERM": "graceful"})]
)
def test_it_is_process_1_and_drains(number: signal.Signals, variables: dict[str, str]) -> None:
    with opened_directory() as directory, ThreadPoolExecutor(1) as clients:
        process = begin(directory, **variables)
        try:
            status = f"{directory}/status.sock"
            wait_until(lambda: is_ready(status))
            assert fetch(status, "/readyz").status == fetch(status, "/livez").status == 200
            first = first_process(process.pid)
            assert first.uids().effective != 0
            family = descendants(process.pid)

            address = f"{directory}/shop.sock"
            assert raw_fastcgi.get(address, "/a", query="orphan").status == 200
            inside = ["nsenter", f"--pid=/proc/{first.pid}/ns/pid", "sh", "-c", "sleep 300 >/dev/null 2>&1 &"]
            subprocess.run(inside, check=True)  # as `docker exec` does
            wait_until(lambda: len(sleeping(process.pid)) == 2)  # the shells have executed it
            orphans = sleeping(process.pid)
            assert first.pid in {one.ppid() for one in orphans}
            for orphan in orphans:
                orphan.kill()
                wait_until(lambda one=orphan: not one.is_running(), message="nobody has waited for the orphan")

            held = clients.submit(raw_fastcgi.get, address, "/b", query="hold")
            wait_until(lambda: read_pool("json", fetch(status, "/status/shop?json").body)["active processes"] == 1)
            first.send_signal(number)
            wait_until(lambda: not os.path.exists(address), message="it does not stop")
            (directory / "go").touch()
            assert held.result(60).status == 200
            output = process.communicate(timeout=60)[0]
            assert process.returncode == 0, output
            assert end_strays(family) == []
        finally:
            (directory / "go").touch()
            process.kill()
            process.wait()
    judge(output)


def judge(output: bytes) -> None:
    """Every line is an object: of the master, or of a request."""
    entries = [json.loads(line) for line in output.splitlines()]
    requests = [entry for entry in entries if entry["event"] == "request"]
    assert [(entry["path"], entry["query"], entry["status"]) for entry in requests] == [
        ("/a", "orphan", 200),
        ("/b", "hold", 200),
    ]
    log = [entry for entry in entries if entry["event"] != "request"]
    assert {"time", "level", "message"} <= set(log[0])
    assert [entry["pid"] for entry in log if entry["event"] == "master_started"] == [1]
    (said,) = [entry for entry in log if entry["event"] == "process_output"]
    assert (said["pool"], said["stream"], said["message"]) == ("shop", "stderr", "an orphan")
    assert [entry["level"] for entry in log if entry["level"] not in ("notice", "debug")] == []
