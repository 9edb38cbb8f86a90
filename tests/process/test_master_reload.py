"""Reload: a new generation while clients ask, pools that come and go, and configurations that are wrong."""

from __future__ import annotations

import os
import re
import signal
import socket

import pytest

from tests.support import raw_fastcgi
from tests.support.fpm import Daemon, Settings, Start
from tests.support.held import holding
from tests.support.load import Load
from tests.support.pools import wait_state
from tests.support.processes import no_zombies
from tests.support.reloads import refused, reload, version_of, write_version
from tests.support.waiting import wait_until

WWW: Settings = {"app": "deployed:application", "pm.max_children": 2}


@pytest.fixture(scope="module")
def fpm(shared_daemon: Start) -> Daemon:
    """A daemon with one pool; each test leaves the configuration as it was and two workers of one generation."""
    made = shared_daemon({"www": WWW}, started=False)
    write_version(made, "first")
    return made.start()


def settled(fpm: Daemon, *former: int) -> list[int]:
    """The pool's workers, once none of the former ones and one template is left."""
    wait_until(lambda: not set(former) & set(fpm.workers("www")) and len(fpm.templates("www")) == 1)
    return fpm.wait_workers("www", 2)


def in_order(fpm: Daemon, former: list[int]) -> list[int]:
    """The pool's workers, the former ones first."""
    return sorted(fpm.workers("www"), key=lambda pid: pid not in former)


@pytest.mark.parametrize("number", [signal.SIGUSR2, signal.SIGHUP])
def test_a_signal_brings_the_new_code_and_loses_no_request(fpm: Daemon, number: signal.Signals) -> None:
    workers, former, said = settled(fpm), version_of(fpm, "www"), fpm.log().count("NOTICE: Reloading in progress ...")
    with Load(fpm.address("www"), clients=3) as load:
        wait_until(lambda: len(load.replies) > 20)
        write_version(fpm, number.name)
        fpm.signal(number)
        settled(fpm, *workers)
        count = len(load.replies)
        wait_until(lambda: len(load.replies) > count + 20)
        late = [reply.body for reply in load.replies[-10:]]
    load.no_loss()
    assert all(body.startswith(number.name.encode()) for body in late)
    assert any(body.startswith(former) for body in load.bodies())
    assert fpm.pid_file.read_text() == f"{fpm.pid}\n"
    assert fpm.log().count("NOTICE: Reloading in progress ...") == said + 1
    no_zombies(fpm.pid)


def test_many_reloads_leave_one_generation(fpm: Daemon) -> None:
    with fpm.no_descriptor_leak(), Load(fpm.address("www"), clients=2) as load:
        for _ in range(3):
            fpm.signal(signal.SIGHUP)
        for _ in range(3):
            before = fpm.workers("www")
            reload(fpm)
            settled(fpm, *before)
    load.no_loss()


def test_a_long_request_finishes_in_its_old_worker(fpm: Daemon) -> None:
    former = settled(fpm)
    with holding(fpm, "/?hold") as (request,):
        reload(fpm)
        [(_, *new)] = wait_until(lambda: [pids for pids in [in_order(fpm, former)] if len(pids) == 3])
        assert int(fpm.get("www").body.split()[1]) in new
    assert int(request.result().body.split()[1]) in former
    settled(fpm, *former)


def test_reload_says_what_is_wrong_and_the_former_configuration_serves(fpm: Daemon) -> None:
    workers, begun = settled(fpm), fpm.log().count("Reloading in progress")
    fpm.configure({"www": {**WWW, "pm.max_children": "many"}, "shop": {"app": None}})
    fpm.expect_log("reload failed")
    found = fpm.cli("reload")
    assert found.returncode == 78
    for pattern in (r"pyfpm.conf:\d+: \[www\] pm.max_children: ", r"pyfpm.conf:\d+: \[shop\] app: "):
        assert re.search(pattern, found.stderr)
        assert re.search("ERROR: reload failed, nothing has changed: .*" + pattern, fpm.log())
    assert "reload failed, nothing has changed" in found.stderr
    fpm.signal(signal.SIGUSR2)
    wait_until(lambda: len(re.findall(r"failed, nothing has changed: .*\[shop\] app: ", fpm.log())) == 2)
    assert fpm.log().count("Reloading in progress") == begun + 2
    assert fpm.get("www").status == 200
    fpm.configure({"www": WWW})
    fpm.config_file.rename(fpm.directory / "away")
    fpm.signal(signal.SIGHUP)
    fpm.wait_log(r"ERROR: reload failed, nothing has changed: .*failed to open configuration file")
    assert fpm.get("www").status == 200
    assert fpm.workers("www") == workers
    (fpm.directory / "away").rename(fpm.config_file)
    reload(fpm)
    settled(fpm, *workers)


def test_a_broken_import_keeps_the_old_generation(fpm: Daemon) -> None:
    workers = settled(fpm)
    write_version(fpm, "broken", "import a_module_that_does_not_exist")
    fpm.expect_log(
        "reload failed, nothing has changed", "ModuleNotFoundError", "Traceback", "deployed.py", "import a_mod"
    )
    with Load(fpm.address("www")) as load:
        refused(fpm)
        fpm.wait_log(r"reload failed, nothing has changed: pool www: ModuleNotFoundError")
    load.no_loss()
    assert fpm.workers("www") == workers
    write_version(fpm, "mended")
    reload(fpm)
    settled(fpm, *workers)
    assert version_of(fpm, "www") == "mended"


def test_a_pool_that_cannot_be_bound_changes_nothing(fpm: Daemon) -> None:
    workers, before = settled(fpm), sorted(fpm.directory.iterdir())
    with socket.socket() as owner:
        owner.bind(("127.0.0.1", 0))
        owner.listen(1)
        port = owner.getsockname()[1]
        fpm.configure({"www": WWW, "first": {}, "taken": {"listen": f"127.0.0.1:{port}"}})
        fpm.expect_log("reload failed")
        assert f"[pool taken] cannot listen on 127.0.0.1:{port}" in refused(fpm, status=78)
    assert sorted(fpm.directory.iterdir()) == before
    assert fpm.workers("www") == workers
    assert fpm.get("www").status == 200
    fpm.configure({"www": WWW})


def test_another_address(fpm: Daemon) -> None:
    former = str(fpm.address("www"))
    for listen in (fpm.directory / "other.sock", former):
        fpm.configure({"www": {**WWW, "listen": listen}})
        reload(fpm)
        assert fpm.get("www").status == 200
        settled(fpm)
    assert fpm.get("www").status == 200
    assert not (fpm.directory / "other.sock").exists()
    assert os.path.exists(former)


def test_settings_of_a_pool_change(fpm: Daemon) -> None:
    write_version(fpm, "none", "VERSION = os.environ.get('COLOUR', 'none')")
    fpm.configure({"www": {**WWW, "pm.max_children": 4, "env[COLOUR]": "blue"}})
    reload(fpm)
    wait_until(lambda: version_of(fpm, "www") == "blue")
    fpm.wait_workers("www", 4)
    fpm.configure({"www": WWW})
    reload(fpm)
    wait_until(lambda: version_of(fpm, "www") == "none")
    fpm.wait_workers("www", 2)


def named(name: str) -> Settings:
    """A pool whose application answers with this name."""
    return {"app": "echo:application", "env[WHO]": name}


def who(address: raw_fastcgi.Address) -> str:
    """The name of the pool that answers there."""
    found = re.search(rb'"WHO": "(\w+)"', raw_fastcgi.get(address).body)
    return found[1].decode() if found else ""


def test_pools_come_go_stay_move_and_are_mended(daemon: Start) -> None:
    broken: Settings = {"app": "broken_import:application"}
    fpm = daemon(
        {"stays": {}, "goes": {"app": "slow:application"}, "old": {}, "one": named("one"), "two": named("two")}
        | {"bad": broken},
        started=False,
    )
    fpm.expect_log(r"\[pool bad\]")
    fpm.start()
    assert fpm.get("bad").status == 503
    gone, renamed, one, two = (str(fpm.address(name)) for name in ("goes", "old", "one", "two"))
    inode = os.stat(renamed).st_ino
    after: dict[str, Settings] = {"stays": {}, "comes": {"pm": "ondemand"}, "new": {"listen": renamed}, "bad": {}}
    after |= {"one": {**named("one"), "listen": two}, "two": {**named("two"), "listen": one}}
    with holding(fpm, "/?hold", pool="goes") as (request,), Load(fpm.address("stays")) as load:
        with Load(renamed, clients=3) as renaming:
            wait_until(lambda: len(renaming.replies) > 10)
            fpm.configure(after)
            reload(fpm)
            wait_until(lambda: not fpm.processes("pool old") and fpm.workers("new"))
        assert fpm.get("comes").status == 200
        assert not fpm.ask("status", pool="goes")["ok"]
        assert not os.path.exists(gone)
    assert request.result().status == 200
    load.no_loss()
    renaming.no_loss()
    assert os.stat(renamed).st_ino == inode
    assert raw_fastcgi.get(renamed).status == 200
    wait_until(lambda: (who(one), who(two)) == ("two", "one"))
    wait_until(lambda: fpm.get("bad").status == 200)
    wait_state(fpm, "bad", "running")
    wait_until(lambda: not fpm.processes("goes"))


def test_global_settings_change_or_say_that_they_do_not(daemon: Start) -> None:
    """At the end signals of the same moment: the stop goes before the reload."""
    fpm = daemon({"www": {}})
    moved = fpm.directory / "moved.pid"
    fpm.configure({"www": {}}, global_={"pid": moved, "log_level": "debug", "error_log": "error.log"})
    assert fpm.cli("reload").returncode == 0
    assert moved.read_text() == f"{fpm.pid}\n"
    assert not fpm.pid_file.exists()
    assert "NOTICE: [global] error_log has changed; it takes effect at the next start" in fpm.log()
    reload(fpm, "www")
    fpm.wait_log(r": pid \d+: reload finished")  # the form of log_level = debug
    os.kill(fpm.pid, signal.SIGSTOP)
    for number in (signal.SIGUSR2, signal.SIGUSR1, signal.SIGQUIT, signal.SIGCONT):
        os.kill(fpm.pid, number)
    assert fpm.wait() == 0
    assert not moved.exists()
