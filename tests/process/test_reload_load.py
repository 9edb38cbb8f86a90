"""Reloads under load: no request is lost or cut, and there are never fewer ready workers than before."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from tests.support.fpm import Daemon, Start
from tests.support.held import HOLD, holding
from tests.support.nginx import Nginx, StartNginx
from tests.support.pools import facts
from tests.support.reloads import (
    PACE,
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


def test_good_reload_loses_nothing(daemon: Start) -> None:
    managers = {"static": STATIC, "dynamic": DYNAMIC, "ondemand": ONDEMAND}
    app = {"app": "deployed:application"}
    fpm = daemon({name: {**app, **manager} for name, manager in managers.items()}, started=False)
    write_version(fpm, 1)
    fpm.start()
    fpm.expect_log("seems busy", "server reached pm.max_children")

    def loops(pool: str) -> list[Callable[[Load], None]]:
        asking = [single(fpm, pool), single(fpm, pool, "0.02"), kept(fpm, pool), kept(fpm, pool, "0.01")]
        return [*asking, hesitant(fpm, pool), hesitant(fpm, pool, "0.01")]

    with ExitStack() as stack:
        loads = {pool: stack.enter_context(load(*loops(pool))) for pool in managers}
        wait_until(lambda: all(len(found.good) > 50 for found in loads.values()))
        write_version(fpm, 2)
        reload(fpm)
        begun = {pool: len(found.good) for pool, found in loads.items()}
        wait_until(lambda: all(len(found.good) > begun[pool] + 100 for pool, found in loads.items()))
    for pool, found in loads.items():
        assert found.bad == [], pool
        assert {body.split()[0] for body in found.good[begun[pool] + 20 :]} == {b"2"}, pool
        assert found.versions() == {"1", "2"}, pool


def test_never_fewer_ready_workers_than_before(daemon: Start) -> None:
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
    write_version(fpm, 2)
    with fewest_ready(fpm, "www") as looks:
        reload(fpm)
        wait_until(lambda: len(fpm.workers("www")) == 3 and not set(workers) & set(fpm.workers("www")))
    assert min(looks) == 3
    assert max(looks) <= 6


def test_ten_reloads_in_a_row(daemon: Start) -> None:
    """Workers that leave answer what they have taken, be it that its request has not come yet, or not whole."""
    fpm = start(daemon, **{**STATIC, "pm.max_children": 2})
    loops = [hesitant(fpm, "www"), hesitant(fpm, "www", "0.02"), single(fpm, "www", "0.05"), kept(fpm, "www")] * 2
    with load(*loops, single(fpm, "www")) as found:
        wait_until(lambda: len(found.good) > 30)
        with fpm.no_descriptor_leak():
            for number in range(2, 12):
                write_version(fpm, number)
                reload(fpm)
                # A former worker may take what waits already before it looks at what the master says.
                wait_until(lambda number=number: version_of(fpm, "www") == str(number))
            fpm.wait_workers("www", 2)
            wait_until(lambda: len(fpm.processes("template www")) == 1)
    assert found.bad == []
    assert facts(fpm, "www")["generation"] == 11
    # What is in hand is finished by the old code.
    with holding(fpm, HOLD, HOLD) as replies:
        write_version(fpm, 12)
        reload(fpm)
        assert version_of(fpm, "www") == "12"
    assert [reply.result().body.split()[0] for reply in replies] == [b"11", b"11"]
    fpm.wait_workers("www", 2)


LOCATIONS = """
location /kept/ { include fastcgi_params; fastcgi_keep_conn on; fastcgi_pass kept; }
location / { include fastcgi_params; fastcgi_pass unix:ADDRESS; }
"""
UPSTREAM = "upstream kept { server unix:ADDRESS; keepalive 8; }"


def through(web: Nginx, path: str) -> Callable[[Load], None]:
    def loop(found: Load) -> None:
        while not found.stopped.wait(PACE):
            try:
                reply = web.get(path, timeout=60.0)
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
            wait_until(lambda number=number: str(number) in found.versions())
        write_version(fpm, 6, "import nowhere")
        assert "No module named 'nowhere'" in refused(fpm)
        begun = len(found.good)
        wait_until(lambda: len(found.good) > begun + 100)
    assert found.bad == []
    assert found.versions() == set("12345")
    complaints = [line for line in web.error_log().splitlines() if "[error]" in line or "[alert]" in line]
    assert complaints == []
