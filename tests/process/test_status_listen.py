"""Pages that no worker answers: pm.status_listen and [global] status_listen."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from tests.support import raw_fastcgi as raw
from tests.support.fpm import Daemon, Start
from tests.support.looking import fetch, read_metrics, read_pool
from tests.support.pools import clients, free_port, wait_state, write_app
from tests.support.processes import lives, quiet
from tests.support.reloads import refused, reload
from tests.support.waiting import wait_until

STATUS = "pyfpm: status"


def status_process(fpm: Daemon) -> psutil.Process:
    """The one there is; its title comes a moment after it."""
    return wait_until(lambda: next(iter(fpm.processes(STATUS)), None), message="there is no status process")


@pytest.fixture
def where() -> int:
    return free_port()


class Served(NamedTuple):
    """A daemon whose status process is looked at, ended and replaced by one test after the other."""

    fpm: Daemon
    where: int


@pytest.fixture(scope="module")
def served(shared_daemon: Start) -> Served:
    pools = {"www": {"pm.max_children": 2}, "shop": {"pm": "ondemand"}, "kept": {}, "busy": {}}
    port = free_port()
    return Served(shared_daemon(pools, global_={"status_listen": f"127.0.0.1:{port}"}), port)


class Hanging(NamedTuple):
    """A daemon whose status process was stopped when the first test of the file began."""

    fpm: Daemon
    client: http.client.HTTPConnection
    """Of the master's status page; it waits."""
    stopped: psutil.Process


@pytest.fixture(scope="module", autouse=True)
def hanging(shared_daemon: Start) -> Iterator[Hanging]:
    """It takes the master half a minute to find out, which passes while the other tests run."""
    port = free_port()
    fpm = shared_daemon({"www": {}}, global_={"status_listen": f"127.0.0.1:{port}"})
    assert fetch(port, "/livez").status == 200
    stopped = status_process(fpm)
    stopped.suspend()
    fpm.expect_log("the status process does not respond; killing it")
    fpm.expect_log(r"the status process exited on signal 9 \(SIGKILL\); restarting it")
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    client.request("GET", "/livez")
    yield Hanging(fpm, client, stopped)
    client.close()


# --------------------------------------------------------------------------------------------------- pm.status_listen


class Paged(NamedTuple):
    """A daemon whose pools have pages of their own at these addresses."""

    fpm: Daemon
    addresses: dict[str, raw.Address]


@pytest.fixture(scope="module")
def paged(shared_daemon: Start) -> Paged:
    fpm = shared_daemon({"www": {}}, started=False)
    port, monitors = free_port(), str(fpm.directory / "monitors.sock")
    unix = str(fpm.directory / "st.sock")
    pool = {"app": "slow:application", "pm.max_children": 2, "ping.path": "/pi", "pm.status_path": "/st"}
    pools = {
        "unix": {**pool, "pm.status_listen": unix},
        "tcp": {**pool, "pm.status_listen": f"127.0.0.1:{port}"},
        "odd": {"pm.status_listen": monitors},
    }
    fpm.configure(pools)
    return Paged(fpm.start(), {"unix": unix, "tcp": ("127.0.0.1", port), "odd": monitors})


@pytest.mark.parametrize("pool", ["unix", "tcp"])
def test_answers_when_every_worker_hangs(paged: Paged, pool: str) -> None:
    fpm, address = paged.fpm, paged.addresses[pool]
    for pid in fpm.wait_workers(pool, 2):
        os.kill(pid, signal.SIGSTOP)
    with raw.Wire(fpm.address(pool)) as waiting:
        waiting.send(raw.request_bytes(raw.web_params("/")))
        for _ in range(5):
            page = raw.get(address, "/st", query="json")
            assert (page.status, page.ended, page.stderr) == (200, True, b"")
        assert raw.get(address, "/pi").body == b"pong"
        assert raw.get(address, "/").status == 404
        values = json.loads(page.body)
        assert (values["total processes"], values["accepted conn"], values["listen queue"]) == (2, 0, 1), pool
        for pid in fpm.workers(pool):
            os.kill(pid, signal.SIGCONT)
        waiting.read_reply()
    page = raw.get(address, "/st", query="json")
    assert json.loads(page.body)["accepted conn"] == 1
    assert [name for name, _ in page.head] == ["Expires", "Cache-Control", "Content-type"]
    head = raw.exchange(address, raw.web_params("/st", method="HEAD"))
    assert (head.body, head.ended) == (b"", True)


def test_odd_monitors_are_answered(paged: Paged) -> None:
    """Telegraf never ends its body, phpfpmtop has request 0, bakins sends no QUERY_STRING, some keep connections."""
    address = paged.addresses["odd"]
    bare = {"SCRIPT_NAME": "/status", "SCRIPT_FILENAME": "/status", "REQUEST_METHOD": "GET", "CONTENT_LENGTH": "0"}
    with raw.Wire(address) as wire:
        wire.send(raw.begin() + raw.stream(raw.PARAMS, raw.pairs(bare)) + raw.stream(raw.STDIN, b"/status", end=False))
        reply = wire.read_reply()
        assert (reply.ended, reply.body[:5]) == (True, b"pool:")
        assert wire.at_end()
    with raw.Wire(address) as wire:
        wire.send(raw.request_bytes(bare, request=0))
        assert wire.read_reply(0).ended
    with raw.Wire(address) as wire:
        for _ in range(3):
            wire.send(raw.request_bytes(raw.web_params("/ping"), flags=raw.KEEP_CONN))
            assert wire.read_reply().body == b"pong"
    with raw.Wire(address) as wire:
        wire.send(raw.record(raw.BEGIN, b"no such request"))
        assert wire.at_end()
    for elsewhere in ("192.0.2.1", "", "unix:"):  # an empty one is not none
        assert raw.exchange(address, {**raw.web_params("/ping"), "REMOTE_ADDR": elsewhere}).status == 403
    assert raw.get(address, "/ping").body == b"pong"


# -------------------------------------------------------------------------------------------- [global] status_listen


def test_one_place_for_all_pools(served: Served) -> None:
    fpm, where = served
    for _ in range(3):
        assert fpm.get("www").status == 200
    assert [one["pool"] for one in json.loads(fetch(where, "/status?json").body)] == ["www", "shop", "kept", "busy"]
    assert read_pool("", fetch(where, "/status/www").body)["accepted conn"] == 3
    page = fetch(where, "/metrics")
    assert page.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    metrics = read_metrics(page.body)
    assert metrics["pyfpm_requests_total", "www"] == 3
    assert metrics["pyfpm_workers", "shop", "idle"] == 0
    for path in ("/livez", "/readyz", "/readyz/www", "/readyz/shop"):
        assert fetch(where, path).status == 200, path
    assert fetch(where, "/readyz/none").status == 404
    for path, name in (("/", b"shop"), ("/pool/www", b"www")):
        page = fetch(where, path)
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert name in page.body
        head = fetch(where, path, method="HEAD")
        assert (head.status, head.body) == (200, b"")
        assert int(head.headers["content-length"]) > 1000
    filtered = fetch(where, "/?q=SHOP").body
    assert b'href="pool/shop"' in filtered
    assert b'href="pool/www"' not in filtered
    limits = fetch(where, "/pool/www?span=6h").body
    assert b"<dt>request_terminate_timeout</dt><dd>off</dd>" in limits
    assert fetch(where, "/status", method="POST").status == 501
    assert raw.get(("127.0.0.1", where), "/status/www", query="json").status == 200
    assert read_pool("", fetch(where, "/status/www").body)["accepted conn"] == 3
    # Somebody asks, so the workers are looked at.
    wait_until(lambda: read_pool("", fetch(where, "/status/www").body).get("memory pss"))
    assert 2**20 < int(read_pool("", fetch(where, "/status/www").body)["memory pss"]) < 2**28
    for number in range(50):
        assert fetch(where, f"/status/none{number}").status == 404


@pytest.mark.root
def test_has_no_rights(served: Served) -> None:
    fpm, where = served
    assert fetch(where, "/livez").status == 200
    process = status_process(fpm)
    assert 0 not in process.uids()
    assert 0 not in process.gids()
    status = Path(f"/proc/{process.pid}/status").read_text()
    assert "Groups:\t \n" in status or "Groups:\t\n" in status
    assert "CapEff:\t0000000000000000" in status
    assert process.name() == "pyfpm"


def test_readiness_of_failed_and_stopping(daemon: Start, where: int) -> None:
    fpm = daemon(
        {"www": {"app": "slow:application"}, "bad": {"app": "broken_import:application"}},
        global_={"status_listen": f"127.0.0.1:{where}"},
    )
    fpm.expect_log("bad")
    wait_state(fpm, "bad", "failed")
    page = fetch(where, "/readyz")
    assert (page.status, page.body) == (503, b"pool bad is failed\n")
    assert fetch(where, "/readyz/bad").status == 503
    assert fetch(where, "/readyz/www").status == 200
    assert fetch(where, "/livez").status == 200
    metrics = read_metrics(fetch(where, "/metrics").body)
    assert (metrics["pyfpm_failed", "bad"], metrics["pyfpm_ready", "www"]) == (1, 1)
    values = read_pool("json", fetch(where, "/status/bad?json").body)
    assert (values["failed"], int(values["start failures"]) >= 1) == (1, True)  # it is tried again
    assert 0 <= int(values["failed since"]) - time.time() + 60 <= 61
    hold = fpm.apps / "hold"
    hold.touch()
    with raw.Wire(fpm.address("www")) as wire:
        wire.send(raw.request_bytes(raw.web_params("/", query="hold")))
        wait_until(lambda: read_pool("", fetch(where, "/status/www").body)["active processes"] == 1)
        fpm.signal(signal.SIGQUIT)
        page = wait_until(lambda: (found := fetch(where, "/readyz/www")).status == 503 and found)
        assert page.body.startswith(b"the daemon is stopping\n")
        assert fetch(where, "/livez").status == 200
        hold.unlink()
        assert wire.read_reply().ended
    assert fpm.wait() == 0


SECRETIVE = """
import time

def application(environ, start_response):
    start_response("200 OK", [])
    return [b"done"]
"""


def test_a_tcp_port_shows_no_query_strings_and_no_tracebacks(daemon: Start, where: int) -> None:
    """Every user of the machine can connect to it, and every page in a browser that runs there."""
    path = "st.sock"
    fpm = daemon({}, started=False)
    pools = {"www": {"app": "secretive:application", "pm.status_listen": path}, "bad": {"app": "broken:application"}}
    write_app(fpm, "secretive", SECRETIVE)
    write_app(fpm, "broken", "raise RuntimeError('token=geheim')")
    names = {"status_listen.hosts": "Web1.example.com, web2"}
    fpm.configure(pools, global_={"status_listen": f"127.0.0.1:{where}", **names})
    fpm.expect_log(r"\[pool bad\]")
    fpm.start()
    wait_state(fpm, "bad", "failed")
    assert fpm.get("www", "/page", query="token=geheim").status == 200
    for page in ("/", "/status?full", "/status?json&full", "/pool/www", "/pool/bad", "/status/bad?full", "/readyz"):
        body = fetch(where, page).body
        assert b"geheim" not in body, page
        assert b"Traceback" not in body, page
    assert b"/page" in fetch(where, "/status?full").body
    assert b"token=geheim" in raw.get(str(fpm.directory / path), "/status", query="full").body
    asked = {host: fetch(where, "/livez", host=host).status for host in HOSTS}
    assert asked == HOSTS
    fpm.configure(pools, global_={"status_listen": f"127.0.0.1:{where}", **names, "status_listen.details": True})
    reload(fpm, "www")
    wait_until(lambda: b"token=geheim" in fetch(where, "/pool/bad").body)


HOSTS = {
    "127.0.0.1": 200,
    "localhost": 200,
    "LOCALHOST:9001": 200,
    "[::1]:9001": 200,
    "10.0.0.7:80": 200,
    "web1.example.com": 200,
    "web2.": 200,
    "evil.example.net": 421,
    "127.0.0.1.evil.example.net": 421,
    "localhost.evil": 421,
    "": 421,
}
"""Names that a client calls us by, and the status."""


@pytest.mark.root
def test_shares_its_user_with_no_pool(daemon: Start, where: int) -> None:
    """A process of the same user could stop it, trace it, and take its place."""
    listen = {"status_listen": f"127.0.0.1:{where}"}
    other, www = {"other": {"user": "daemon"}}, {"www": {"user": "nobody"}}
    fpm = daemon(other, global_=listen)
    assert fetch(where, "/livez").status == 200
    first = status_process(fpm)
    assert first.username() == "nobody"
    fpm.configure({**other, **www}, global_=listen)
    reload(fpm, changed=True)
    wait_until(lambda: not lives(first))
    assert fetch(where, "/livez").status == 200
    nobody = fpm.workers("www")[0]
    former = status_process(fpm)
    assert set(former.uids()).isdisjoint({0, *psutil.Process(nobody).uids()})
    users = former.uids()
    fpm.configure(other, global_=listen)
    reload(fpm, changed=True)
    assert fetch(where, "/livez").status == 200
    users_alone = status_process(fpm).uids()
    fpm.configure({**other, **www}, global_=listen)
    reload(fpm, changed=True)
    assert status_process(fpm).uids() == users_alone == users, "it has been nobody else's all the time"


def test_starts_anew_when_it_dies(served: Served) -> None:
    fpm, where = served
    assert fetch(where, "/livez").status == 200
    first = status_process(fpm)
    first.kill()
    fpm.wait_log(r"the status process exited on signal 9 \(SIGKILL\); restarting it")
    assert fetch(where, "/livez").status == 200  # who came meanwhile has waited
    assert status_process(fpm).pid != first.pid


def test_a_stopped_master_is_not_alive(served: Served) -> None:
    fpm, where = served
    assert fetch(where, "/livez").status == 200
    fpm.signal(signal.SIGSTOP)
    try:
        # What has been answered just now counts a few milliseconds longer.
        wait_until(lambda: fetch(where, "/livez").status == 503)
        assert fetch(where, "/ping").status == 200
    finally:
        fpm.signal(signal.SIGCONT)
    wait_until(lambda: fetch(where, "/livez").status == 200)


def test_addresses_come_and_go_with_reloads(daemon: Start, where: int) -> None:
    fpm = daemon({"www": {}})
    assert fpm.processes(STATUS) == []
    path = fpm.directory / "all.sock"
    fpm.configure({"www": {}}, global_={"status_listen": path, "status_listen.mode": "0622"})
    reload(fpm, changed=True)
    assert path.stat().st_mode & 0o777 == 0o622
    assert fetch(str(path), "/livez").body == b"ok\n"
    only = {"status_listen": f"127.0.0.1:{where}", "status_allow": "192.0.2.0/24"}
    fpm.configure({"www": {}}, global_=only)
    reload(fpm, changed=True)
    assert not path.exists()
    with socket.create_connection(("127.0.0.1", where), timeout=20) as client:
        assert client.recv(1) == b"", "only who is allowed"
    private = str(fpm.directory / "st.sock")
    fpm.configure({"www": {"pm.status_listen": private}}, global_={"status_listen": f"127.0.0.1:{where}"})
    reload(fpm)
    assert fetch(where, "/readyz").status == 200
    assert raw.get(private, "/status").status == 200
    values = read_pool("json", fetch(where, "/status/www?json").body)
    assert (values["last reload failed"], int(values["last reload"]) > time.time() - 60) == (0, True)
    process = status_process(fpm)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        other = taken.getsockname()[1]
        fpm.expect_log("reload failed")
        fpm.configure({"www": {"pm.status_path": "/new"}}, global_={"status_listen": f"127.0.0.1:{other}"})
        assert "status_listen" in refused(fpm, status=78)
    wait_until(lambda: read_pool("json", fetch(where, "/status/www?json").body)["last reload failed"] == 1)
    fpm.configure(
        {"www": {"pm.status_listen": private, "pm.status_path": "/new"}},
        global_={"status_listen": f"127.0.0.1:{where}"},
    )
    reload(fpm)
    assert wait_until(lambda: raw.get(private, "/new").status == 200)
    assert raw.get(private, "/status").status == 404
    assert status_process(fpm).pid == process.pid
    fpm.configure({"www": {}})
    with fpm.no_descriptor_leak():
        reload(fpm)
        assert not Path(private).exists()
        wait_until(lambda: fpm.processes(STATUS) == [])


def test_addresses_survive_an_upgrade(served: Served) -> None:
    fpm, where = served
    assert fetch(where, "/livez").status == 200
    assert fpm.get("kept").status == 200
    for _ in range(2):
        assert fpm.ask("upgrade")["ok"]
        assert fetch(where, "/readyz").status == 200
    assert read_pool("", fetch(where, "/status/kept").body)["accepted conn"] == 1
    wait_until(lambda: len(fpm.processes(STATUS)) == 1)


def test_slow_and_many_clients_do_no_harm(served: Served) -> None:
    fpm, where = served
    idle = [socket.create_connection(("127.0.0.1", where), timeout=20) for _ in range(100)]
    try:
        for client in idle[:50]:
            client.sendall(b"GET /metrics HTTP/1.1\r\nX-Slow: ")
        wait_until(lambda: fetch(where, "/livez").status == 200)
        with socket.create_connection(("127.0.0.1", where), timeout=20) as client:
            client.sendall(b"GET /" + b"a" * 70000 + b" HTTP/1.1\r\n\r\n")
            assert b" 414 " in client.recv(65536)
        assert status_process(fpm).num_threads() < 140
    finally:
        for client in idle:
            client.close()
    assert fetch(where, "/livez").status == 200


def test_the_history_grows(served: Served) -> None:
    fpm, where = served
    assert fetch(where, "/pool/busy").status == 200
    with clients(fpm, "busy", count=1):
        wait_until(lambda: b"<svg" in fetch(where, "/pool/busy").body and b"chart" in fetch(where, "/pool/busy").body)
    wait_until(lambda: isinstance(read_pool("", fetch(where, "/status/busy").body).get("queue wait"), int))


def test_an_idle_daemon_sleeps(daemon: Start, where: int) -> None:
    settings = {"status_listen": f"127.0.0.1:{where}", "status_history": "no", "systemd_interval": 0}
    fpm = daemon({"www": {}}, global_=settings)
    assert fetch(where, "/metrics").status == 200
    process = status_process(fpm)
    wait_until(lambda: process.num_threads() == 1)
    quiet([fpm.pid, process.pid], seconds=1.5)


def test_deaths_and_slow_requests_are_listed(daemon: Start, where: int) -> None:
    fpm = daemon({"www": {}}, started=False)
    write_app(
        fpm,
        "mixed",
        """
        import os, signal, time

        def application(environ, start_response):
            if environ["PATH_INFO"] == "/die":
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(float(environ["QUERY_STRING"] or 0))
            start_response("200 OK", [])
            return [b"done"]
        """,
    )
    slow = {"request_slowlog_timeout": "1s", "slowlog": fpm.directory / "slow.log"}
    fpm.configure(
        {"www": {"app": "mixed:application", **slow}},
        global_={"status_listen": f"127.0.0.1:{where}", "status_listen.details": True},
    )
    fpm.start()
    fpm.expect_log("exited on signal 9", "executing too slow")
    assert fpm.get("www", "/<late>", query="1.2").status == 200
    assert fpm.get("www", "/quick").status == 200
    assert not fpm.get("www", "/die").stdout
    wait_until(lambda: b"SIGKILL" in fetch(where, "/pool/www").body)
    page = fetch(where, "/pool/www").body
    assert b"GET /die" in page
    assert b"/&lt;late&gt;?1.2" in page
    assert b"<late>" not in page
    values = read_pool("", fetch(where, "/status/www").body)
    assert (values["slow requests"], values["deaths by kill"], values["accepted conn"]) == (1, 1, 3)
    assert values["last death cause"] == "on signal 9 (SIGKILL)"


def test_is_replaced_when_it_hangs(hanging: Hanging) -> None:
    fpm, client, stopped = hanging
    fpm.wait_log("the status process does not respond; killing it")
    with client.getresponse() as answer:  # who came meanwhile has waited
        assert answer.status == 200
    assert status_process(fpm).pid != stopped.pid
