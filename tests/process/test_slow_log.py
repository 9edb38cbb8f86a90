"""The slow log of a real daemon: its file from the start over rotation and reload to the end."""

from __future__ import annotations

import json
import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from operator import attrgetter
from pathlib import Path

import pytest

from fpm.stacks.text.entry import Entry
from fpm.stacks.text.read import read_entries
from tests.support.fpm import APPS, Daemon, Start
from tests.support.processes import descriptors
from tests.support.reloads import reload
from tests.support.traces import traced
from tests.support.waiting import wait_until

SLOW = {"app": "slow:application", "slowlog": "slow.log", "request_slowlog_timeout": "200ms", "pm.max_children": 2}
LINE = next(
    number for number, line in enumerate((APPS / "slow.py").read_text().splitlines(), 1) if "time.sleep(float" in line
)
"""Where tests/apps/slow.py sleeps."""


def slow_logs(fpm: Daemon) -> list[str]:
    """The slow logs that the master holds open."""
    return [path for path in descriptors(fpm.pid) if path.endswith((".log", ".log.1")) and "stderr" not in path]


def test_the_file_is_made_at_the_start_and_follows_rotation_and_reload(daemon: Start) -> None:
    fpm = daemon({"www": SLOW, "shop": SLOW, "quiet": {}})
    log, rotated, other = (fpm.directory / name for name in ("slow.log", "slow.log.1", "other.log"))
    assert log.stat().st_mode & 0o777 == 0o600
    log.rename(rotated)
    fpm.signal(signal.SIGUSR1)
    fpm.wait_log(r"\[pool shop\] slowlog file re-opened")
    assert log.exists()
    workers = fpm.workers("www")
    assert slow_logs(fpm) == [str(log)]
    fpm.configure({"www": {**SLOW, "slowlog": "other.log"}, "shop": SLOW, "quiet": {"slowlog": "slow.log"}})
    reload(fpm, changed=True)
    assert slow_logs(fpm) == [str(other), str(log)]
    fpm.configure({"www": {**SLOW, "slowlog": None, "request_slowlog_timeout": None}, "shop": SLOW, "quiet": {}})
    reload(fpm, changed=True)
    assert slow_logs(fpm) == [str(log)]
    assert fpm.ask("upgrade")["ok"]
    assert slow_logs(fpm) == [str(log)]
    assert fpm.workers("www") == workers
    log.unlink()
    log.mkdir()
    fpm.signal(signal.SIGUSR1)
    fpm.wait_log(r"ERROR: \[pool shop\] unable to re-open slowlog\(.*: Is a directory .*keeping the previous file")
    log.rmdir()
    assert fpm.get("shop", query="0").status == 200


@pytest.mark.root
def test_a_file_that_cannot_be_opened_is_a_reason_not_to_start_the_pool(daemon: Start) -> None:
    fpm = daemon({"www": {**SLOW, "slowlog": "/proc/self/slow.log"}}, started=False)
    fpm.expect_log("failed to start: Unable to create or open", "started with --strict")
    fpm.start("run", "--strict", ready=False)
    assert fpm.wait() == 70
    assert "Unable to create or open slowlog(/proc/self/slow.log) of pool www: " in fpm.log()
    assert "create its directory first" in fpm.log() or "to another path" in fpm.log()
    fpm.forget()


POOL = attrgetter("pool")


def entries_of(path: Path, *, ends: bool = False) -> list[Entry]:
    """Read the entries with stacks, or the ends of their requests."""
    every = read_entries([path.read_bytes()]) if path.exists() else ()
    return [entry for entry in every if (entry.reason == "end") == ends]


def slowly(fpm: Daemon, *pools: str) -> list[int]:
    """The statuses of requests that take 2.5 s, all at once."""
    with ThreadPoolExecutor(len(pools)) as clients:
        return [reply.status for reply in clients.map(lambda pool: fpm.get(pool, "/user/7", query="2.5"), pools)]


def test_entries_of_real_requests_and_files_in_trouble(daemon: Start) -> None:
    fpm = daemon(
        {
            "www": SLOW,
            "shop": {**SLOW, "slowlog.format": "json"},
            "full": {**SLOW, "slowlog": "/dev/full"},
            "fifo": {**SLOW, "slowlog": "fifo"},
            "bare": {"app": "slow:application", "request_terminate_timeout": "300ms"},
        },
        started=False,
    )
    fpm.expect_log("executing too slow")
    os.mkfifo(fpm.directory / "fifo")
    fpm.start()
    log = fpm.directory / "slow.log"

    for pool in ("www", "shop"):
        traced(fpm, pool, idle=True)  # the tracer runs, and knows their Python
    assert slowly(fpm, "www", "shop", "full", "full", "fifo") == [200] * 5
    shop, www = sorted(wait_until(lambda: len(read := entries_of(log)) > 1 and read), key=POOL)
    for entry, pool in ((www, "www"), (shop, "shop")):
        assert (entry.pool, entry.pid in fpm.workers(pool), entry.reason) == (pool, True, "slow")
        assert (entry.method, entry.uri, entry.stage, entry.script) == (
            "GET",
            "/user/7?2.5",
            "running",
            "slow:application",
        )
        assert entry.seconds >= 0.2
        assert (frame := entry.trace.threads[0].frames[0]).function == "application", entry.trace
        assert (Path(frame.file).name, frame.line) == ("slow.py", LINE)
    ends = wait_until(lambda: len(read := entries_of(log, ends=True)) > 1 and sorted(read, key=POOL))
    for entry, end in zip((shop, www), ends, strict=True):
        assert (end.pool, end.pid, end.method, end.uri) == (entry.pool, entry.pid, entry.method, entry.uri)
        assert (end.stage, end.seconds >= 2.5, end.seconds > entry.seconds) == ("complete", True, True)
    said = json.loads(fpm.cli("slow", "--pool", "www", "--pool", "shop", "--json").stdout)
    (group,) = said["groups"]
    assert (group["count"], group["pools"], group["unfinished"]) == (2, {"www": 1, "shop": 1}, 0)
    assert group["total"] >= 5.0, "requests take 2.5 s, and became slow after 0.2 s"
    assert group["uris"] == {"GET /user/{n}?{query}": 2}
    assert len(group["frames"]) == 1, "the frames of the worker itself are shown"

    log.unlink()
    fpm.expect_log(r"\[pool bare\] child \d+")
    slowly(fpm, "www", "bare", "full")
    fpm.wait_log(r"NOTICE: \[pool www\] slowlog\(.*slow.log\) was removed and has been recreated")
    wait_until(lambda: len(entries_of(log)) == 1)

    fpm.wait_log(r"ERROR: \[pool full\] unable to write to slowlog\(/dev/full\): No space left on device")
    assert len(re.findall("unable to write to slowlog", fpm.log())) == 1
    reader = os.open(fpm.directory / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    assert next(read_entries([os.read(reader, 65536)])).pool == "fifo"
    os.close(reader)

    fpm.wait_log(r"NOTICE: \[pool bare\] +request = GET /user/7\?2.5$")
    fpm.wait_log(rf"NOTICE: \[pool bare\] +\[0x[0-9a-f]{{16}}\] application\(\) .*/slow.py:{LINE}$")
