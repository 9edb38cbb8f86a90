"""Reloads one after another, beside each other, without a terminal, and beside a stop."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.support.fpm import Daemon, Start
from tests.support.held import HOLD, holding, release
from tests.support.pools import facts
from tests.support.reloads import expect_broken, last_reload, load, refused, reload, single, version_of, write_version
from tests.support.waiting import wait_until

HELD_IMPORT = """
while os.path.exists("hold"):
    time.sleep(0.01)
"""
"""Goes on when a held request would, see tests.support.held."""
PATIENT = {"startup_timeout": "10m"}
"""An import is held while several commands start, one after the other."""
HELD_BUT_FOR_ONE = """
marks = os.environ["MARKS"]
try:
    os.close(os.open(f"{marks}/first", os.O_CREAT | os.O_EXCL))
except FileExistsError:
    while not os.path.exists(f"{marks}/released"):
        time.sleep(0.01)
"""
IMPATIENT = """
import sys
import fpm.master.reload.swap
from fpm.cli.main import main

fpm.master.reload.swap.PATIENCE = 0.5
del sys.argv[0]
sys.exit(main())
"""
"""pyfpm with less patience than a minute."""


def start(daemon: Start) -> Daemon:
    fpm = daemon({"www": {"app": "deployed:application", **PATIENT}}, started=False)
    write_version(fpm, 1)
    return fpm.start()


@pytest.fixture(scope="module")
def shared(shared_daemon: Start) -> Daemon:
    """One daemon for the reloads that leave it running; each test has versions of its own."""
    return start(shared_daemon)


@pytest.fixture
def fpm(shared: Daemon) -> Daemon:
    """The daemon, once the former generation has left."""
    wait_until(lambda: len(shared.templates("www")) == len(shared.workers("www")) == 1)
    return shared


def outcomes(fpm: Daemon, how: str = "finished") -> int:
    """How many reloads have finished, or failed, so far."""
    return fpm.log().count(f"reload {how}")


def test_five_at_once(fpm: Daemon) -> None:
    generation = facts(fpm, "www")["generation"]
    with load(single(fpm, "www")) as found:
        (fpm.apps / "hold").touch()
        write_version(fpm, "five", HELD_IMPORT)
        commands = [fpm.begin("reload", "--verbose")]
        wait_until(lambda: len(fpm.templates("www")) == 2, message="the first is not under way")
        commands += [begin_waiting(fpm) for _ in range(4)]
        release(fpm)
        said = [command.communicate(timeout=60)[1] for command in commands]
    assert [command.returncode for command in commands] == [0] * 5, said
    covered = ["superseded by a later reload, which covers it; waiting for its outcome" in text for text in said]
    assert covered == [False, True, True, True, False]
    assert all("workers swapped" in text for text in said)
    assert found.bad == []
    assert version_of(fpm, "www") == "five"
    assert facts(fpm, "www")["generation"] == generation + 2
    last = last_reload(fpm)
    assert last is not None
    assert last["ok"]


def test_a_reload_that_waits_takes_what_has_come_meanwhile(fpm: Daemon) -> None:
    (fpm.apps / "hold").touch()
    write_version(fpm, "early", HELD_IMPORT)
    first = fpm.begin("reload")
    wait_until(lambda: len(fpm.templates("www")) == 2, message="the first is not under way")
    second = begin_waiting(fpm)
    write_version(fpm, "meanwhile")
    release(fpm)
    assert first.wait(30) == 0
    assert second.wait(30) == 0
    first.communicate()
    second.communicate()
    assert version_of(fpm, "www") == "meanwhile"


def test_a_reload_that_supersedes_another_covers_the_pools_that_it_named(daemon: Start) -> None:
    fpm = daemon({name: {"app": "deployed:application", **PATIENT} for name in "abcd"}, started=False)
    write_version(fpm, 1)
    fpm.start()
    (fpm.apps / "hold").touch()
    write_version(fpm, 2, HELD_IMPORT)
    first = fpm.begin("reload", "a")
    wait_until(lambda: len(fpm.templates("a")) == 2)
    second, third = (begin_waiting(fpm, name) for name in "bc")
    release(fpm)
    said = [command.communicate(timeout=60)[1] for command in (first, second, third)]
    assert [command.returncode for command in (first, second, third)] == [0, 0, 0], said
    assert "superseded by a later reload, which covers it; waiting for its outcome" in said[1]
    assert "pool b: checked" in said[1]
    assert {name: facts(fpm, name)["generation"] for name in "abcd"} == {"a": 2, "b": 2, "c": 2, "d": 1}
    assert [version_of(fpm, name) for name in "abcd"] == ["2", "2", "2", "1"]


def test_a_reload_does_not_wait_for_ever_for_workers_that_do_not_come(daemon: Start) -> None:
    """The first worker has proved the new generation, the others do not come to the end of their import."""
    fpm = daemon({"www": {}}, started=False)
    marks = fpm.directory / "marks"
    marks.mkdir()
    marks.chmod(0o777)
    pool = {"app": "deployed:application", "preload": "no", "pm.max_children": 3, "env[MARKS]": marks}
    fpm.configure({"www": pool})
    write_version(fpm, 1)
    fpm.start(wrapper=(sys.executable, "-c", IMPATIENT))
    former = set(fpm.wait_workers("www", 3))
    write_version(fpm, 2, HELD_BUT_FOR_ONE)
    command = fpm.begin("reload")
    fpm.wait_log(
        r"WARNING: \[pool www\] new workers do not become ready; the previous generation keeps serving until they do"
    )
    fpm.wait_log("reload finished")
    command.communicate(timeout=60)
    assert command.returncode == 0
    wait_until(lambda: len(former & set(fpm.workers("www"))) == 2)
    (marks / "released").touch()
    wait_until(lambda: not former & set(fpm.workers("www")))
    fpm.wait_workers("www", 3)
    assert version_of(fpm, "www") == "2"


def begin_waiting(fpm: Daemon, *pools: str) -> subprocess.Popen[str]:
    """Begin a reload that has to wait for the one under way."""
    command = fpm.begin("reload", "--verbose", *pools)
    assert command.stderr is not None
    assert "waiting for the reload under way" in command.stderr.readline()
    return command


def test_a_reload_does_not_wait_for_another_pool_that_has_failed(daemon: Start) -> None:
    """Its 503 responder answers on, for the reload does not concern it."""
    fpm = daemon({"www": {"app": "missing:application"}, "good": {"pm.max_children": 2}}, started=False)
    fpm.expect_log(r"\[pool www\] .*No module named .missing")
    fpm.start()
    former = set(fpm.wait_workers("good", 2))
    reload(fpm, "good")
    wait_until(lambda: not former & set(fpm.workers("good")), message="a former worker has not left")
    assert fpm.get("www").status == 503
    assert "new workers do not become ready" not in fpm.log()


def test_no_wait(fpm: Daemon) -> None:
    before = outcomes(fpm)
    write_version(fpm, "unwaited")
    done = fpm.cli("reload", "--no-wait")
    assert done.returncode == 0
    assert done.stderr == ""
    wait_until(lambda: outcomes(fpm) == before + 1)
    assert version_of(fpm, "www") == "unwaited"


def test_a_client_that_goes_away_does_not_end_its_reload(fpm: Daemon) -> None:
    before = outcomes(fpm)
    (fpm.apps / "hold").touch()
    write_version(fpm, "left", HELD_IMPORT)
    command = fpm.begin("reload")
    wait_until(lambda: len(fpm.templates("www")) == 2)
    command.kill()
    command.communicate()
    release(fpm)
    wait_until(lambda: outcomes(fpm) == before + 1)
    assert version_of(fpm, "www") == "left"


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR2])
def test_by_signal(fpm: Daemon, number: signal.Signals) -> None:
    broken = "failed, nothing has changed: pool www: ZeroDivisionError"
    finished, failed = outcomes(fpm), outcomes(fpm, broken)
    write_version(fpm, number.name)
    with load(single(fpm, "www")) as found:
        fpm.signal(number)
        wait_until(lambda: outcomes(fpm) == finished + 1)
        assert version_of(fpm, "www") == number.name
        write_version(fpm, 3, "1/0")
        expect_broken(fpm, "www", "ZeroDivisionError: division by zero")
        fpm.signal(number)
        wait_until(lambda: outcomes(fpm, broken) == failed + 1)
    assert found.bad == []
    assert version_of(fpm, "www") == number.name
    last = last_reload(fpm)
    assert last is not None
    assert "ZeroDivisionError" in last["reason"]


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGTERM])
def test_stop_while_a_reload_is_under_way(daemon: Start, number: signal.Signals) -> None:
    fpm = start(daemon)
    fpm.expect_log("reload failed, nothing has changed: the master is stopping", "exited on signal 15")
    write_version(fpm, 2, "time.sleep(60)")
    command = fpm.begin("reload")
    waiting = None
    wait_until(lambda: len(fpm.templates("www")) == 2)
    waiting = fpm.begin("reload")
    assert waiting.stderr is not None
    assert "waiting for the reload" in waiting.stderr.readline()
    fpm.signal(number)
    assert fpm.wait() == 0
    said = command.communicate(timeout=60)[1]
    assert command.returncode == 1
    assert "the master is stopping" in said
    waiting.communicate(timeout=60)
    assert waiting.returncode == 1


def test_systemd_hears_of_reloads_and_none_begins_while_a_stop_is_under_way(daemon: Start) -> None:
    fpm = start(daemon)
    reload(fpm)
    fpm.wait_notify("RELOADING=1")
    fpm.wait_notify("READY=1")
    write_version(fpm, 2, "1/0")
    refused(fpm)
    fpm.wait_notify("RELOADING=1")
    fpm.wait_notify("READY=1")
    fpm.wait_workers("www", 1)
    with holding(fpm, HOLD) as (request,):
        fpm.signal(signal.SIGQUIT)
        fpm.wait_log("Finishing")
        done = fpm.cli("reload")
        assert done.returncode == 1
        assert "the master is stopping" in done.stderr
        fpm.signal(signal.SIGHUP)
    assert fpm.wait() == 0
    assert request.result().body.startswith(b"1 ")


def test_what_the_control_socket_is_asked_may_be_nonsense(fpm: Daemon) -> None:
    assert fpm.ask("reload", pools="www", timeout="x", dry_run=True)["ok"]
    assert fpm.ask("reload", pools=[7, None], dry_run=1)["ok"]
    refused = fpm.ask("rollback", no_wait=False)
    assert not refused["ok"]
    assert "pool" in refused["error"]
