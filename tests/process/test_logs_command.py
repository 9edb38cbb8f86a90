"""`pyfpm logs`: what a daemon has written, together, and while it goes on."""

from __future__ import annotations

import json
import os
import re
import signal

import pytest

from tests.support.fpm import Daemon, Start
from tests.support.held import holding
from tests.support.waiting import wait_until

NO_SUCH = "there is no pool 'nobody'; there are: www, calm"


@pytest.fixture
def fpm(daemon: Start) -> Daemon:
    logged = {"app": "slow:application", "access.log": "www.access.log"}
    slow = {"slowlog": "slow.log", "request_slowlog_timeout": "1s"}
    fpm = daemon({"www": {**logged, **slow}, "calm": {"pm": "ondemand"}}, global_={"error_log": "error.log"})
    fpm.expect_log("executing too slow", "seems busy")
    with holding(fpm, "/?hold"):
        wait_until(lambda: "application()" in (fpm.directory / "slow.log").read_text())
    wait_until(lambda: "GET /" in (fpm.directory / "www.access.log").read_text())
    return fpm


def test_three_logs_by_time(fpm: Daemon) -> None:
    done = fpm.cli("logs")
    assert (done.returncode, done.stderr) == (0, "")
    kinds = [line.split("  ")[0].strip() for line in done.stdout.splitlines()]
    assert {"error", "www error", "www access", "www slow"} == set(kinds)
    assert re.search(r"^www slow    reason = slow$", done.stdout, re.MULTILINE)
    assert "frames of" not in fpm.cli("logs", "--full").stdout

    told = [json.loads(line) for line in fpm.cli("logs", "--level", "warning", "--json").stdout.splitlines()]
    slow = next(one for one in told if one["log"] == "slow")
    assert {one["level"] for one in told} == {"warning"}
    assert (slow["log"], slow["pools"], slow["level"]) == ("slow", ["www"], "warning")
    assert len(fpm.cli("logs", "-n", "1", "--json").stdout.splitlines()) == 1
    only = fpm.cli("logs", "calm").stdout
    assert "www" not in only.replace("pool calm", "")
    assert fpm.cli("logs", "--since", "2036-01-01").stdout == ""
    unknown = fpm.cli("logs", "nobody")
    assert (unknown.returncode, unknown.stderr) == (1, f"pyfpm: {NO_SUCH}\n")


def test_following_over_a_rotation(fpm: Daemon) -> None:
    following = fpm.begin("logs", "-f", "-n", "1", "www")
    assert following.stdout is not None
    assert following.stdout.readline().startswith("www ")
    for name in ("error.log", "www.access.log", "slow.log"):
        os.rename(fpm.directory / name, fpm.directory / f"{name}.1")
    assert fpm.get("www", "/before").status == 200
    assert fpm.cli("reopen-logs").returncode == 0
    wait_until((fpm.directory / "www.access.log").exists)
    assert fpm.get("www", "/after").status == 200
    paths = [
        found[1] for _ in range(2) if (found := re.search(r"GET (/\w+)", _next_request(following.stdout.readline)))
    ]
    assert paths == ["/before", "/after"]
    following.send_signal(signal.SIGINT)
    assert following.wait(timeout=60) == 0
    following.stdout.close()
    assert following.stderr is not None
    following.stderr.close()


def _next_request(readline) -> str:  # type: ignore[no-untyped-def]
    while not re.search(r"^www access .*GET /\w", line := readline()):
        assert line, "it has ended"
    return str(line)


def test_logs_that_are_no_files(daemon: Start) -> None:
    fpm = daemon({"www": {"slowlog": "slow.log"}}, started=False)
    done = fpm.cli("logs")
    assert (done.returncode, done.stdout) == (0, "")
    assert "the error log is the daemon's standard error: look in the journal (journalctl -u pyfpm)" in done.stderr
    assert f"{fpm.directory}/slow.log: there is no such file yet" in done.stderr
    (fpm.directory / "slow.log").mkdir()
    assert "slow.log: this log is not a regular file" in fpm.cli("logs").stderr
    (fpm.directory / "slow.log").rmdir()
