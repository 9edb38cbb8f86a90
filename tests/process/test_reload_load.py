"""Reloads under load: no request is lost or cut, and there are never fewer ready workers than before."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.fpm import Daemon, Start
from tests.support.held import HOLD, holding
from tests.support.nginx import Nginx, StartNginx
from tests.support.pools import facts
from tests.support.reloads import (
    Load,
    fewest_ready,
    hesitant,
    kept,
    load,
    refused,
    reload,
    single,
    version_of,
    write_version,
)
from tests.support.waiting import wait_until

STATIC = {"pm": "static", "pm.max_children": 3}
DYNAMIC = {
    "pm": "dynamic",
    "pm.max_children": 4,
    "pm.start_servers": 2,
    "pm.min_spare_servers": 1,
    "pm.max_spare_servers": 3,
}
ONDEMAND = {"pm": "ondemand", "pm.max_children": 3}


def start(daemon: Start, **settings: object) -> Daemon:
    fpm = daemon({"www": {"app": "deployed:application", **settings}}, started=False)
    write_version(fpm, 1)
    return fpm.start()


@pytest.mark.parametrize("manager", [STATIC, DYNAMIC, ONDEMAND], ids=["static", "dynamic", "ondemand"])
def test_good_reload_loses_nothing(daemon: Start, manager: dict[str, object]) -> None:
    fpm = start(daemon, **manager)
    fpm.expect_log("seems busy", "server reached pm.max_children")
    loops = [single(fpm, "www"), single(fpm, "www", "0.02"), kept(fpm, "www"), kept(fpm, "www", "0.01")]
    loops += [hesitant(fpm, "www"), hesitant(fpm, "www", "0.01")]
    with load(*loops) as found:
        wait_until(lambda: len(found.good) > 50)
        write_version(fpm, 2)
        reload(fpm)
        begun = len(found.good)
        wait_until(lambda: len(found.good) > begun + 100)
        late = {body.split()[0] for body in found.good[begun + 20 :]}
    assert found.bad == []
    assert late == {b"2"}
    assert found.versions() == {"1", "2"}


def test_never_fewer_ready_workers_than_before(daemon: Start) -> None:
    fpm = start(daemon, **STATIC)
    former = set(fpm.workers("www"))
    write_version(fpm, 2)
    with fewest_ready(fpm, "www") as looks:
        reload(fpm)
        wait_until(lambda: len(fpm.workers("www")) == 3 and not former & set(fpm.workers("www")))
    assert min(looks) == 3
    assert max(looks) <= 6


def test_broken_reload_under_load_loses_nothing(daemon: Start) -> None:
    fpm = start(daemon, **STATIC)
    workers = fpm.workers("www")
    with load(single(fpm, "www"), kept(fpm, "www")) as found, fewest_ready(fpm, "www") as looks:
        wait_until(lambda: len(found.good) > 50)
        write_version(fpm, 2, "1/0")
        for _ in range(3):
            assert "ZeroDivisionError: division by zero" in refused(fpm)
        begun = len(found.good)
        wait_until(lambda: len(found.good) > begun + 50)
    assert found.bad == []
    assert found.versions() == {"1"}
    assert fpm.workers("www") == workers
    assert min(looks) == 3


def test_workers_that_leave_answer_what_they_have_taken(daemon: Start) -> None:
    """Connections whose request has not come yet, or not whole, when their worker is told to leave."""
    fpm = start(daemon, **STATIC)
    loops = [hesitant(fpm, "www"), hesitant(fpm, "www", "0.02"), single(fpm, "www", "0.05"), kept(fpm, "www")] * 3
    with load(*loops) as found:
        wait_until(lambda: len(found.good) > 30)
        for number in range(2, 7):
            write_version(fpm, number)
            reload(fpm)
        begun = len(found.good)
        wait_until(lambda: len(found.good) > begun + 50)
    assert found.bad == []


def test_ten_reloads_in_a_row(daemon: Start) -> None:
    fpm = start(daemon, **{**STATIC, "pm.max_children": 2})
    with load(single(fpm, "www"), kept(fpm, "www"), single(fpm, "www", "0.05")) as found:
        wait_until(lambda: found.good)
        with fpm.no_descriptor_leak():
            for number in range(2, 12):
                write_version(fpm, number)
                reload(fpm)
                assert version_of(fpm, "www") == str(number)
            fpm.wait_workers("www", 2)
            wait_until(lambda: len(fpm.processes("template www")) == 1)
    assert found.bad == []
    assert facts(fpm, "www")["generation"] == 11


def test_requests_in_hand_finish_on_the_old_code(daemon: Start) -> None:
    fpm = start(daemon, **{**STATIC, "pm.max_children": 2})
    with holding(fpm, HOLD, HOLD) as replies:
        write_version(fpm, 2)
        reload(fpm)
        assert version_of(fpm, "www") == "2"
    assert [reply.result().body.split()[0] for reply in replies] == [b"1", b"1"]
    fpm.wait_workers("www", 2)


LOCATIONS = """
location /kept/ { include fastcgi_params; fastcgi_keep_conn on; fastcgi_pass kept; }
location / { include fastcgi_params; fastcgi_pass unix:ADDRESS; }
"""
UPSTREAM = "upstream kept { server unix:ADDRESS; keepalive 8; }"


def through(web: Nginx, path: str) -> Callable[[Load], None]:
    def loop(found: Load) -> None:
        while not found.stopped.wait(0.002):
            try:
                reply = web.get(path, timeout=20.0)
            except OSError as error:
                found.bad.append(error)
                continue
            if reply.status == 200:
                found.good.append(reply.body)
            else:
                found.bad.append(reply)

    return loop


def test_reloads_behind_nginx(daemon: Start, nginx: StartNginx) -> None:
    fpm = start(daemon, **STATIC)
    address = str(fpm.address("www"))
    web = nginx(LOCATIONS.replace("ADDRESS", address), http=UPSTREAM.replace("ADDRESS", address))
    paths = ["/", "/kept/", "/?0.1", "/kept/?0.1", "/kept/"]
    with load(*(through(web, path) for path in paths)) as found:
        wait_until(lambda: len(found.good) > 50)
        for number in range(2, 6):
            write_version(fpm, number)
            reload(fpm)
        write_version(fpm, 6, "import nowhere")
        assert "No module named 'nowhere'" in refused(fpm)
        begun = len(found.good)
        wait_until(lambda: len(found.good) > begun + 100)
    assert found.bad == []
    assert found.versions() == set("12345")
    complaints = [line for line in web.error_log().splitlines() if "[error]" in line or "[alert]" in line]
    assert complaints == []
