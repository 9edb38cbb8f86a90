"""The past of the pools: kept without anybody looking, over an upgrade, a restart and the death of who keeps it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

from fpm.client.control import fetch_snapshot
from fpm.master.status.history_keeper import history_path
from fpm.status.overview import Pool
from fpm.status.past.recent import MarkKind, Window
from fpm.status.trouble import lately
from tests.support.fpm import Daemon, Start
from tests.support.held import HOLD, holding
from tests.support.reloads import reload
from tests.support.waiting import hold_for, wait_until

STATUS = "pyfpm: status"


def look(fpm: Daemon, name: str = "www") -> Pool:
    """A pool as `pyfpm status` sees it."""
    (pool,) = fetch_snapshot(str(fpm.control), name, workers=False, past=True).pools
    return pool


def counted(fpm: Daemon, is_right: Callable[[Window], object]) -> Window:
    """What was counted in the last five minutes, once it is right."""
    return wait_until(lambda: (window := lately(look(fpm))) is not None and is_right(window) and window, every=0.2)


def marks(fpm: Daemon) -> list[MarkKind]:
    return [mark.kind for mark in look(fpm).marks]


def wait_for_marks(fpm: Daemon, *kinds: MarkKind) -> None:
    """Wait until these are there, and no others: with the next sample."""
    wait_until(lambda: marks(fpm) == [*kinds], message=lambda: f"the marks are {marks(fpm)}", every=0.2)


def test_the_past_is_kept_while_nobody_looks(daemon: Start) -> None:
    pools = {"www": {"pm.max_children": 2}, "quiet": {"pm": "ondemand"}}
    fpm = daemon(pools, global_={"status_history": "yes"})
    assert fpm.processes(STATUS) == [], "a daemon that ends soon does not pay for it"
    requests = [fpm.get("www").status for _ in range(5)]
    keeper = wait_until(lambda: fpm.processes(STATUS))[0]
    hold_for(keeper.is_running, 9)  # two samples at least, while nobody looks
    first = look(fpm)
    assert len(first.history) >= 2
    assert sum(one.rate * one.span for one in first.history) == 5 == len(requests)
    assert [mark.kind for mark in first.marks] == [MarkKind.START]
    assert not any(one.rate for one in look(fpm, "quiet").history)
    assert os.stat(history_path(str(fpm.control))).st_mode & 0o777 == 0o600
    assert "REQ/S: of the last 10 seconds" in fpm.cli("status", environ={"COLUMNS": "200"}).stdout


def test_the_past_is_kept_over_an_upgrade_and_the_death_of_its_keeper(daemon: Start, directory: Path) -> None:
    fpm = daemon({"www": {"pm.max_children": 2}}, global_=at_once(directory))
    keep_some(fpm, 5)
    reload(fpm)
    fpm.wait_notify("READY=1")
    wait_for_marks(fpm, MarkKind.START, MarkKind.DEPLOY)
    assert fpm.ask("upgrade")["ok"]
    fpm.wait_notify("READY=1")
    assert fpm.get("www").status == 200
    window = counted(fpm, lambda window: window.requests == 6)
    assert window.statistics.count == window.statistics.response.count == 6
    assert window.response_time(0.95)
    wait_for_marks(fpm, MarkKind.START, MarkKind.DEPLOY, MarkKind.UPGRADE)

    fpm.expect_log("the status process exited on signal 9")
    (keeper,) = fpm.processes(STATUS)
    keeper.send_signal(signal.SIGKILL)
    wait_until(lambda: [one.pid for one in fpm.processes(STATUS)] not in ([], [keeper.pid]))
    # What came after the upgrade was in memory only.
    assert counted(fpm, lambda window: window.requests >= 5).requests <= 6
    assert marks(fpm)[:2] == [MarkKind.START, MarkKind.DEPLOY]


def test_the_past_is_kept_over_a_restart(daemon: Start, directory: Path) -> None:
    fpm = daemon({"www": {"app": "slow:application"}}, global_=at_once(directory))
    keep_some(fpm, 5)
    reload(fpm)
    fpm.wait_notify("READY=1")
    last = look(fpm).history[-1].at
    wait_until(lambda: look(fpm).history[-1].at > last, message="the process takes no sample", every=0.2)
    # The next sample is the last one, and comes soon after the one before.
    assert [fpm.get("www", query="0").status for _ in range(3)] == [200] * 3
    fpm.signal(signal.SIGQUIT)
    assert fpm.wait() == 0
    fpm.start()
    window = counted(fpm, lambda window: True)
    assert (window.requests, window.statistics.count) == (5 + 3, 5 + 3)
    assert len([one for one in look(fpm).history if one.span < 7]) >= 2, "a point for each sample"
    assert fpm.get("www", query="0").status == 200
    counted(fpm, lambda window: window.requests == 5 + 3 + 1)
    wait_for_marks(fpm, MarkKind.START, MarkKind.DEPLOY, MarkKind.START)
    page = json.loads(fpm.cli("status", "www", "--format", "json").stdout)
    assert page["requests 5m"] == 5 + 3 + 1
    assert page["p50 5m"] <= page["p95 5m"] <= page["p99 5m"]


def test_a_request_that_ends_while_the_daemon_stops_is_in_the_past(daemon: Start, directory: Path) -> None:
    fpm = daemon({"www": {"app": "slow:application"}}, global_=at_once(directory))
    keep_some(fpm, 2)
    with holding(fpm, HOLD) as replies:
        stop_and_wait_for_the_file(fpm)
    assert replies[0].result().status == 200
    assert fpm.wait() == 0
    fpm.start()
    window = counted(fpm, lambda window: True)
    # The one counts what has begun, the other what has ended.
    assert (window.requests, window.statistics.count) == (3, 3)


def at_once(directory: Path) -> dict[str, object]:
    """Settings with which the process begins at once, as it has an address: otherwise it does after five seconds."""
    return {"status_history": "yes", "status_listen": directory / "status.sock"}


def stop_and_wait_for_the_file(fpm: Daemon) -> None:
    """Begin to stop the daemon; the past is saved then."""
    file = history_path(str(fpm.control))
    before = os.stat(file).st_mtime_ns
    fpm.signal(signal.SIGQUIT)
    wait_until(lambda: os.stat(file).st_mtime_ns != before)


def test_a_process_that_is_not_wanted_any_more_saves_first(daemon: Start, directory: Path) -> None:
    pools = {"www": {}}
    fpm = daemon(pools, global_=at_once(directory))
    keep_some(fpm, 4)
    fpm.configure(pools, global_={"status_history": "no"})
    assert fpm.cli("reload").returncode == 0
    wait_until(lambda: fpm.processes(STATUS) == [])
    fpm.configure(pools, global_={"status_history": "yes"})
    assert fpm.cli("reload").returncode == 0
    assert counted(fpm, lambda window: window.requests).requests == 4


def test_a_process_that_hangs_is_killed_while_requests_finish(daemon: Start, directory: Path) -> None:
    fpm = daemon({"www": {"app": "slow:application"}}, global_=at_once(directory))
    keep_some(fpm, 1)
    with holding(fpm, HOLD):
        fpm.processes(STATUS)[0].suspend()
        fpm.expect_log("the status process does not respond; killing it")
        fpm.signal(signal.SIGQUIT)
        wait_until(lambda: fpm.processes(STATUS) == [])
        assert len(fpm.workers("www")) == 1, "its request goes on"
    assert fpm.wait() == 0


def test_a_process_that_hangs_after_it_has_saved_is_killed(daemon: Start, directory: Path) -> None:
    fpm = daemon({"www": {"app": "slow:application"}}, global_=at_once(directory))
    keep_some(fpm, 1)
    with holding(fpm, HOLD):
        stop_and_wait_for_the_file(fpm)
        fpm.processes(STATUS)[0].suspend()
    assert fpm.wait() == 0


def test_one_that_hangs_in_an_upgrade_leaves_the_file_to_the_next(daemon: Start) -> None:
    fpm = daemon({"www": {}}, global_={"status_history": "yes"})
    keep_some(fpm, 2)
    first = fpm.processes(STATUS)
    assert fpm.cli("upgrade").returncode == 0
    (second,) = wait_until(
        lambda: [one for one in fpm.processes(STATUS) if one not in first and not first[0].is_running()]
    )
    assert counted(fpm, lambda window: True).requests == 2
    second.suspend()
    assert fpm.cli("upgrade").returncode == 0
    wait_until(lambda: not second.is_running())
    assert counted(fpm, lambda window: True).requests == 2
    assert marks(fpm)[0] == MarkKind.START


def keep_some(fpm: Daemon, count: int) -> None:
    """Send so many requests, and wait until they are in the past."""
    assert [fpm.get("www", query="0").status for _ in range(count)] == [200] * count
    wait_until(lambda: fpm.processes(STATUS))
    counted(fpm, lambda window: window.requests == count)
