"""Reload: a new generation while clients ask, pools that come and go, and configurations that are wrong."""

from __future__ import annotations

import os
import re
import signal
import socket

import pytest

from tests.support import raw_fastcgi
from tests.support.fpm import Daemon, Start
from tests.support.load import Load
from tests.support.processes import no_zombies
from tests.support.waiting import wait_until

VERSIONED = """
import os
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'{version} %d' % os.getpid()]
"""


def write_version(fpm: Daemon, version: str) -> None:
    """A new release of the application."""
    (fpm.apps / "versioned.py").write_text(VERSIONED.format(version=version))


@pytest.mark.parametrize("number", [signal.SIGUSR2, signal.SIGHUP])
def test_a_signal_brings_the_new_code_and_loses_no_request(daemon: Start, number: int) -> None:
    fpm = daemon({"www": {"app": "versioned:application", "pm.max_children": 2}}, started=False)
    write_version(fpm, "old")
    fpm.start()
    master, workers = fpm.pid, set(fpm.workers("www"))
    with Load(fpm.address("www"), clients=3) as load:
        wait_until(lambda: len(load.replies) > 20)
        write_version(fpm, "new")
        fpm.signal(number)
        wait_until(lambda: not workers & set(fpm.workers("www")) and len(fpm.workers("www")) == 2)
        count = len(load.replies)
        wait_until(lambda: len(load.replies) > count + 20)
        late = [reply.body for reply in load.replies[-10:]]
    load.no_loss()
    assert all(body.startswith(b"new") for body in late)
    assert any(body.startswith("old") for body in load.bodies())
    assert fpm.pid == master
    assert fpm.pid_file.read_text() == f"{master}\n"
    assert "NOTICE: Reloading in progress ..." in fpm.log()
    no_zombies(fpm.pid)


def test_many_reloads_leave_one_generation(daemon: Start) -> None:
    fpm = daemon({"www": {"pm.max_children": 2}})
    with fpm.no_descriptor_leak(), Load(fpm.address("www"), clients=2) as load:
        for _ in range(5):
            before = set(fpm.workers("www"))
            assert fpm.cli("reload").returncode == 0
            wait_until(lambda before=before: not before & set(fpm.workers("www")))
        for _ in range(3):
            fpm.signal(signal.SIGHUP)
        wait_until(lambda: len(fpm.processes("template www")) == 1 and len(fpm.workers("www")) == 2)
    load.no_loss()


def test_a_long_request_finishes_in_its_old_worker(daemon: Start) -> None:
    fpm = daemon({"www": {"app": "slow:application"}})
    (old,) = fpm.workers("www")
    with raw_fastcgi.Wire(fpm.address("www")) as wire:
        wire.send(raw_fastcgi.request_bytes(raw_fastcgi.web_params(query="2")))
        fpm.wait_active("www", 1)
        assert fpm.cli("reload").returncode == 0
        new = wait_until(lambda: [pid for pid in fpm.workers("www") if pid != old])
        assert fpm.get("www", query="0").body == str(new[0]).encode()
        assert wire.read_reply().body == str(old).encode()
    wait_until(lambda: fpm.workers("www") == new)


def test_reload_says_what_is_wrong_and_the_former_configuration_serves(daemon: Start) -> None:
    fpm = daemon({"www": {}})
    workers = fpm.workers("www")
    fpm.configure({"www": {"pm.max_children": "many"}, "shop": {"app": None}})
    fpm.expect_log("reload failed")
    found = fpm.cli("reload")
    assert found.returncode == 78
    for pattern in (r"pyfpm.conf:\d+: \[www\] pm.max_children: ", r"pyfpm.conf:\d+: \[shop\] app: "):
        assert re.search(pattern, found.stderr)
        assert re.search("ERROR: reload failed, nothing has changed: .*" + pattern, fpm.log())
    assert "reload failed, nothing has changed" in found.stderr
    fpm.signal(signal.SIGUSR2)
    wait_until(lambda: fpm.log().count("Reloading in progress") == 2)
    assert fpm.get("www").status == 200
    assert fpm.workers("www") == workers
    fpm.configure({"www": {}})
    assert fpm.cli("reload").returncode == 0
    wait_until(lambda: not set(workers) & set(fpm.workers("www")))


def test_a_configuration_file_that_has_gone(daemon: Start) -> None:
    fpm = daemon({"www": {}})
    fpm.config_file.rename(fpm.directory / "away")
    fpm.expect_log("reload failed")
    fpm.signal(signal.SIGHUP)
    fpm.wait_log(r"ERROR: reload failed, nothing has changed: .*failed to open configuration file")
    assert fpm.get("www").status == 200
    (fpm.directory / "away").rename(fpm.config_file)


def test_a_broken_import_keeps_the_old_generation(daemon: Start) -> None:
    fpm = daemon({"www": {"app": "versioned:application"}}, started=False)
    write_version(fpm, "old")
    fpm.start()
    workers = fpm.workers("www")
    (fpm.apps / "versioned.py").write_text("import a_module_that_does_not_exist\n")
    fpm.expect_log(
        "reload failed, nothing has changed", "ModuleNotFoundError", "Traceback", "versioned.py", "import a_mod"
    )
    with Load(fpm.address("www")) as load:
        assert fpm.cli("reload").returncode == 1
        fpm.wait_log(r"reload failed, nothing has changed: pool www: ModuleNotFoundError")
    load.no_loss()
    assert fpm.workers("www") == workers
    write_version(fpm, "new")
    assert fpm.cli("reload").returncode == 0
    wait_until(lambda: fpm.get("www").body.startswith(b"new"))


def test_pools_come_go_and_stay(daemon: Start) -> None:
    fpm = daemon({"stays": {}, "goes": {"app": "slow:application"}})
    gone = fpm.address("goes")
    with raw_fastcgi.Wire(gone) as wire, Load(fpm.address("stays")) as load:
        wire.send(raw_fastcgi.request_bytes(raw_fastcgi.web_params(query="1")))
        fpm.wait_active("goes", 1)
        fpm.configure({"stays": {}, "comes": {"pm": "ondemand"}})
        assert fpm.cli("reload").returncode == 0
        assert fpm.get("comes").status == 200
        assert fpm.cli("status", "goes").returncode == 1
        assert not os.path.exists(str(gone))
        assert wire.read_reply().status == 200
    load.no_loss()
    wait_until(lambda: not fpm.processes("goes"))


def test_a_pool_that_cannot_be_bound_changes_nothing(daemon: Start) -> None:
    fpm = daemon({"www": {}})
    workers, before = fpm.workers("www"), sorted(fpm.directory.iterdir())
    with socket.socket() as owner:
        owner.bind(("127.0.0.1", 0))
        owner.listen(1)
        port = owner.getsockname()[1]
        fpm.configure({"www": {}, "first": {}, "taken": {"listen": f"127.0.0.1:{port}"}})
        fpm.expect_log("reload failed")
        found = fpm.cli("reload")
    assert found.returncode == 78
    assert f"[pool taken] cannot listen on 127.0.0.1:{port}" in found.stderr
    assert sorted(fpm.directory.iterdir()) == before
    assert fpm.workers("www") == workers
    assert fpm.get("www").status == 200


def test_another_address(daemon: Start) -> None:
    fpm = daemon({"www": {}})
    former = str(fpm.address("www"))
    for listen in (fpm.directory / "other.sock", former):
        fpm.configure({"www": {"listen": listen}})
        assert fpm.cli("reload").returncode == 0
        assert fpm.get("www").status == 200
        wait_until(lambda: len(fpm.processes("template www")) == 1)
    assert fpm.get("www").status == 200
    assert not (fpm.directory / "other.sock").exists()
    assert os.path.exists(former)


def test_a_renamed_pool_keeps_its_socket_and_its_queue(daemon: Start) -> None:
    fpm = daemon({"old": {}})
    path = str(fpm.address("old"))
    inode = os.stat(path).st_ino
    with Load(path, clients=3) as load:
        wait_until(lambda: len(load.replies) > 10)
        fpm.configure({"new": {"listen": path}})
        assert fpm.cli("reload").returncode == 0
        wait_until(lambda: not fpm.processes("pool old") and fpm.workers("new"))
    load.no_loss()
    assert os.stat(path).st_ino == inode
    assert raw_fastcgi.get(path).status == 200


def test_two_pools_exchange_their_addresses(daemon: Start) -> None:
    fpm = daemon({"one": {"env[WHO]": "one", "app": "echo:application"}, "two": {}})
    one, two = str(fpm.address("one")), str(fpm.address("two"))
    fpm.configure({"one": {"listen": two, "app": "echo:application"}, "two": {"listen": one}})
    assert fpm.cli("reload").returncode == 0
    wait_until(lambda: b"Hello" in raw_fastcgi.get(one).body and b"sha256" in raw_fastcgi.get(two).body)


def test_settings_of_a_pool_change(daemon: Start) -> None:
    fpm = daemon({"www": {"pm.max_children": 1, "app": "echo:application"}})
    fpm.configure({"www": {"pm.max_children": 4, "app": "echo:application", "env[COLOUR]": "blue"}})
    assert fpm.cli("reload").returncode == 0
    wait_until(lambda: b'"COLOUR": "blue"' in fpm.get("www").body)
    fpm.wait_workers("www", 4)
    fpm.configure({"www": {"pm.max_children": 2, "app": "echo:application"}})
    assert fpm.cli("reload").returncode == 0
    fpm.wait_workers("www", 2)


def test_global_settings_change_or_say_that_they_do_not(daemon: Start) -> None:
    fpm = daemon({"www": {}})
    moved = fpm.directory / "moved.pid"
    fpm.configure({"www": {}}, global_={"pid": moved, "log_level": "debug", "error_log": "error.log"})
    assert fpm.cli("reload").returncode == 0
    assert moved.read_text() == f"{fpm.pid}\n"
    assert not fpm.pid_file.exists()
    assert "NOTICE: [global] error_log has changed; it takes effect at the next start" in fpm.log()
    assert fpm.cli("reload", "www").returncode == 0
    fpm.wait_log(r": pid \d+: reload finished")  # the form of log_level = debug
    assert fpm.cli("stop").returncode == 0
    assert not moved.exists()


def test_a_failed_pool_is_mended_by_a_reload(daemon: Start) -> None:
    fpm = daemon({"bad": {"app": "broken_import:application"}}, started=False)
    fpm.expect_log(r"\[pool bad\]")
    fpm.start()
    assert fpm.get("bad").status == 503
    fpm.configure({"bad": {}})
    assert fpm.cli("reload").returncode == 0
    wait_until(lambda: fpm.get("bad").status == 200)
    wait_until(lambda: fpm.cli("status").returncode == 0)


def test_a_reload_during_the_stop_of_another(daemon: Start) -> None:
    """Signals at the same moment: the stop goes before the reload."""
    fpm = daemon({"www": {}})
    os.kill(fpm.pid, signal.SIGSTOP)
    for number in (signal.SIGUSR2, signal.SIGUSR1, signal.SIGQUIT, signal.SIGCONT):
        os.kill(fpm.pid, number)
    assert fpm.wait() == 0
