"""The numbers are right: known load against every figure in every format, and no impossible value under load."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest

from fpm.status.past.figures import SHORT
from tests.support import raw_fastcgi as raw
from tests.support.fpm import Daemon, Start
from tests.support.held import release
from tests.support.looking import Numbers, fetch, read_metrics, read_openmetrics, read_pool
from tests.support.pools import clients, free_port, wait_numbers, write_app
from tests.support.reloads import reload
from tests.support.waiting import wait_until

FORMATS = ("", "json", "xml", "html")
OPENMETRICS = {
    "accepted_connections": "accepted conn",
    "listen_queue": "listen queue",
    "max_listen_queue": "max listen queue",
    "listen_queue_length": "listen queue len",
    "idle_processes": "idle processes",
    "active_processes": "active processes",
    "total_processes": "total processes",
    "max_active_processes": "max active processes",
    "max_children_reached": "max children reached",
    "slow_requests": "slow requests",
    "memory_peak": "memory peak",
}
APP = """
    import os, signal, time
    import fpm

    def application(environ, start_response):
        path = environ["PATH_INFO"]
        if path == "/error":
            raise RuntimeError("as it should")
        if path == "/die":
            os._exit(3)
        if path == "/grab":  # a hostile worker: any bytes at all in the scoreboard that it shares
            size = os.fstat(6).st_size
            for number in range(int(environ["QUERY_STRING"])):
                os.pwrite(6, os.urandom(size) if number % 2 else b"\\xff" * size, 0)
        if path == "/after":
            start_response("200 OK", [])
            yield b"done"
            fpm.finish_request()
        if path != "/grab":
            while environ["QUERY_STRING"].startswith("hold") and os.path.exists("hold"):
                time.sleep(0.01)
            time.sleep(float(environ["QUERY_STRING"].removeprefix("hold") or 0))
        if path != "/after":
            start_response("200 OK", [])
            yield b"done"
"""


Settings = dict[str, object]


def start(daemon: Start, pools: dict[str, Settings]) -> tuple[Daemon, int]:
    """A daemon whose pools have the application above, and the port of its status."""
    fpm, port = daemon({"www": {}}, started=False), free_port()
    write_app(fpm, "load", APP)
    common = {"app": "load:application", "pm.status_path": "/status"}
    listen = {"status_listen": f"127.0.0.1:{port}", "status_listen.details": True}
    fpm.configure({name: {**common, **pool} for name, pool in pools.items()}, global_=listen)
    return fpm.start(), port


PAIR: Settings = {"pm.max_children": 2, "listen.backlog": 50}
SLOW: Settings = {"request_slowlog_timeout": "1s", "slowlog": "/dev/null"}
POOLS: dict[str, Settings] = {
    "unix": {**PAIR, **SLOW},
    "tcp": {**PAIR, **SLOW},
    "queue": {"pm.max_children": 1},
    "slow": {**SLOW, "pm.max_children": 1, "request_slowlog_timeout": "300ms"},
    "after": {"pm.max_children": 2},
    "eight": {"pm.max_children": 4, "pm.max_requests": 40, "pm.max_requests_jitter": 0},
    "hostile": {"pm.max_children": 1},
}


class Shared(NamedTuple):
    """A daemon with a pool for each test, and the port of its status."""

    fpm: Daemon
    port: int


@pytest.fixture(scope="module")
def shared(shared_daemon: Start) -> Shared:
    fpm, port = start(shared_daemon, POOLS | {"tcp": {**POOLS["tcp"], "listen": f"127.0.0.1:{free_port()}"}})
    fpm.expect_log("executing too slow")
    return Shared(fpm, port)


@contextmanager
def held(
    fpm: Daemon, pool: str, count: int, path: str = "/", *, workers: int, seconds: float = 0.0
) -> Iterator[list[raw.Wire]]:
    """`count` requests that are in hand, or wait, during the block; then each takes so long, and they are over."""
    wires: list[raw.Wire] = []
    (fpm.apps / "hold").touch()
    with contextlib.ExitStack() as stack:
        stack.callback(release, fpm)
        for number in range(count):
            if number <= workers:  # an idle worker would accept one connection after the other, and wait for a request
                wait_numbers(fpm, pool, active_processes=number)
            wires.append(stack.enter_context(raw.Wire(fpm.address(pool), timeout=60)))
            wires[-1].send(raw.request_bytes(raw.web_params(path, query=f"hold{seconds}")))
        yield wires
        release(fpm)
        for wire in wires:
            assert wire.read_reply().ended


def numbers_everywhere(port: int, pool: str, **wanted: int) -> Numbers:
    """The pool's numbers, which are the same in every format, /metrics included, once they are these; times left out.

    Each page may be that of a moment before (SnapshotCache).
    """
    names = {name.replace("_", " "): value for name, value in wanted.items()}

    def agree() -> Numbers | None:
        nonlocal complaint
        try:
            found = compare_everywhere(port, pool)
            assert {name: found[name] for name in names} == names
        except AssertionError as error:
            complaint = str(error)
            return None
        return found

    complaint = ""
    return wait_until(agree, message=lambda: complaint)


def compare_everywhere(port: int, pool: str) -> Numbers:
    """Read the numbers in every format, and assert that they are the same."""
    pages = [read_pool(form, fetch(port, f"/status/{pool}?{form}").body) for form in FORMATS]
    moving = {
        "start time",
        "start since",
        "last death",
        "last reload",
        "failed since",
        "next start",
        "last death cause",
        "hot path",  # a word, or its number in the short JSON
    }
    of_the_past = tuple(SHORT.values())  # only in JSON
    first = {
        key: value
        for key, value in pages[1].items()
        if key not in moving | {"queue wait", "memory pss"} and not key.endswith(of_the_past)
    }
    for page in pages:
        assert {key: page[key] for key in first} == first
    theirs = read_openmetrics(fetch(port, f"/status/{pool}?openmetrics").body)
    assert {name: theirs[name] for name in OPENMETRICS} == {name: first[key] for name, key in OPENMETRICS.items()}
    ours = read_metrics(fetch(port, "/metrics").body)
    assert ours["pyfpm_requests_total", pool] == first["accepted conn"]
    assert ours["pyfpm_errors_total", pool] == first["errors"]
    assert ours["pyfpm_slow_requests_total", pool] == first["slow requests"]
    assert ours["pyfpm_workers", pool, "idle"] == first["idle processes"]
    assert ours["pyfpm_workers", pool, "active"] == first["active processes"]
    assert ours["pyfpm_listen_queue", pool] == first["listen queue"]
    assert ours["pyfpm_listen_queue_max", pool] == first["max listen queue"]
    assert ours["pyfpm_workers_limit", pool] == first["children limit"]
    assert ours["pyfpm_deaths_total", pool, "exit"] == first["deaths by exit"]
    return first


@pytest.mark.parametrize("family", ["unix", "tcp"])
def test_known_load(shared: Shared, family: str) -> None:
    (fpm, port), pool = shared, family
    fpm.wait_workers(pool, 2)
    before = numbers_everywhere(port, pool, idle_processes=2)
    assert (before["accepted conn"], before["idle processes"], before["total processes"]) == (0, 2, 2)
    for _ in range(10):
        assert fpm.get(pool).status == 200
    fpm.expect_log(rf"ERROR: \[pool {pool}\]", "exited with code 3")
    for _ in range(3):
        assert fpm.get(pool, "/error").status == 500
    with held(fpm, pool, 5, workers=2, seconds=1.2):
        wait_numbers(fpm, pool, active_processes=2, listen_queue=3)
        during = numbers_everywhere(port, pool, active_processes=2, listen_queue=3)
        assert (during["active processes"], during["idle processes"], during["busy percent"]) == (2, 0, 100)
        assert (during["listen queue"], during["listen queue len"]) == (3, 50)
    wait_numbers(fpm, pool, idle_processes=2)
    after = numbers_everywhere(port, pool, idle_processes=2)
    assert after["accepted conn"] == 10 + 3 + 5
    assert (after["errors"], after["slow requests"]) == (3, 5)
    assert (after["max listen queue"], after["max active processes"], after["listen queue"]) == (3, 2, 0)
    assert int(after["memory peak"]) > 5 * 2**20
    assert not fpm.get(pool, "/die").stdout
    wait_numbers(fpm, pool, idle_processes=2, total_processes=2)
    died = numbers_everywhere(port, pool, deaths_by_exit=1, idle_processes=2)
    assert (died["accepted conn"], died["deaths by exit"]) == (19, 1)
    pages = {form: read_pool(form, fetch(port, f"/status/{pool}?{form}").body) for form in ("", "json")}
    causes = {form: page["last death cause"] for form, page in pages.items()}
    assert causes == {"": "with code 3", "json": 3 << 8}, "as wait(2) has it, where only numbers may be"
    assert (died["errors"], died["slow requests"], died["max active processes"]) == (3, 5, 2)
    # By a worker: the same, and its own request.
    own = json.loads(fpm.get(pool, "/status", query="json").body)
    same = set(died) - {"accepted conn", "idle processes", "active processes", "busy percent", "memory peak"}
    assert {key: own[key] for key in same} == {key: died[key] for key in same}
    assert (own["accepted conn"], own["active processes"], own["busy percent"]) == (20, 1, 50)


def test_the_queue_of_busy_workers_is_remembered_though_nobody_looks(shared: Shared) -> None:
    (fpm, port), pool = shared, "queue"
    fpm.wait_workers(pool, 1)
    with held(fpm, pool, 4, workers=1, seconds=0.7):
        pass
    assert read_pool("", fetch(port, f"/status/{pool}").body)["max listen queue"] in (2, 3)


def test_a_slow_request_counts_once_running_and_done(shared: Shared) -> None:
    (fpm, port), pool = shared, "slow"

    def slow() -> object:
        return read_pool("", fetch(port, f"/status/{pool}").body)["slow requests"]

    seen = [slow()]
    with held(fpm, pool, 1, workers=1):
        wait_until(lambda: seen.append(slow()) or seen[-1] == 1)
        assert b"running" in fetch(port, f"/pool/{pool}").body.lower()
    wait_until(lambda: seen.append(slow()) or len(seen) > 20)
    assert set(seen) == {0, 1}
    assert seen == sorted(seen)  # type: ignore[type-var]


def test_background_work_is_counted(shared: Shared) -> None:
    (fpm, port), pool = shared, "after"
    with held(fpm, pool, 1, path="/after", workers=2) as wires:
        assert wires.pop().read_reply().ended
        values = read_pool("json", fetch(port, f"/status/{pool}?json").body)
        assert (values["active processes"], values["accepted conn"]) == (1, 1)
    wait_numbers(fpm, pool, idle_processes=2)


LONG = f"/{'ab' * 100}"


def impossible(values: Numbers) -> list[str]:
    """What cannot be true of one pool's numbers."""
    found = [f"{key} is {value}" for key, value in values.items() if isinstance(value, int) and value < 0]
    if int(values["idle processes"]) + int(values["active processes"]) != values["total processes"]:
        found.append(f"idle and active are not total: {values}")
    return found


def read_under_load(read: Callable[[], Numbers]) -> tuple[int, list[str]]:
    """Read again and again, until twelve workers have had their 40 requests.

    Returns:
        How often, and what was wrong, a number of requests that becomes smaller among it.
    """
    wrong: list[str] = []
    count, last, end = 0, 0, time.monotonic() + 40.0
    while (count < 40 or last < 480) and time.monotonic() < end:
        values = read()
        wrong += impossible(values)
        if int(values["accepted conn"]) < last:
            wrong.append(f"accepted conn fell from {last} to {values['accepted conn']}")
        last = int(values["accepted conn"])
        for process in values.get("processes", []):  # type: ignore[union-attr]
            uri = process["request uri"]  # type: ignore[index]
            if uri not in ("-", "/", "/status?json&full", LONG):
                wrong.append(f"torn: {uri}")
        count += 1
    return count, wrong


def test_nothing_impossible_under_load_of_eight_clients(shared: Shared) -> None:
    """Workers are recycled all the time; what they have counted never gets lost or counted twice."""
    (fpm, port), pool = shared, "eight"
    fpm.wait_workers(pool, 4)
    outcome: dict[str, tuple[int, list[str]]] = {}

    def by_worker() -> Numbers:
        return json.loads(fpm.get(pool, "/status", query="json&full").body)  # type: ignore[no-any-return]

    def by_master() -> Numbers:
        return json.loads(fetch(port, f"/status/{pool}?json&full").body)  # type: ignore[no-any-return]

    def run(name: str, read: Callable[[], Numbers]) -> None:
        outcome[name] = read_under_load(read)

    with (
        clients(fpm, pool, count=4) as plain,
        clients(fpm, pool, LONG, count=4) as long,
    ):
        readers = [
            threading.Thread(target=run, args=one, daemon=True)
            for one in (("worker", by_worker), ("master", by_master))
        ]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(60)
    assert {name: wrong[:5] for name, (_, wrong) in outcome.items()} == {"worker": [], "master": []}
    assert all(count > 20 for count, _ in outcome.values()), outcome
    assert not plain.bad + long.bad
    status = outcome["worker"][0]
    total = len(plain.good) + len(long.good) + status
    wait_until(lambda: (page := by_master())["active processes"] == 0 and page["accepted conn"] == total)
    # One that leaves still answers what it has taken.
    assert int(by_master()["recycled"]) >= total // 50 - 4


def test_counters_survive_reloads_recycling_and_upgrades(daemon: Start) -> None:
    pool: dict[str, object] = {"pm.max_children": 2, "pm.max_requests": 5, "pm.max_requests_jitter": 0}
    pool |= {"request_slowlog_timeout": "1s", "slowlog": "/dev/null"}
    fpm, port = start(daemon, {"www": pool})
    fpm.expect_log(r"ERROR: \[pool www\]", "exited with code 3", "executing too slow")
    assert fpm.get("www", query="1.2").status == 200
    assert fpm.get("www", "/error").status == 500
    assert not fpm.get("www", "/die").stdout
    for _ in range(20):
        assert fpm.get("www").status == 200
    kept = ("accepted conn", "errors", "slow requests", "deaths by exit", "max active processes", "start time")

    def figures() -> dict[str, object]:
        values = read_pool("json", fetch(port, "/status/www?json").body)
        return {key: values[key] for key in kept}

    wait_numbers(fpm, "www", total_processes=2, idle_processes=2)
    before = figures()
    assert (before["accepted conn"], before["errors"], before["slow requests"]) == (23, 1, 1)
    reload(fpm)
    wait_numbers(fpm, "www", total_processes=2, idle_processes=2)
    assert figures() == before
    assert fpm.ask("upgrade")["ok"]
    assert figures() == before
    fpm.configure(
        {"www": {**pool, "app": "load:application", "pm.max_children": 200, "pm": "ondemand"}},
        global_={"status_listen": f"127.0.0.1:{port}"},
    )  # a larger scoreboard
    reload(fpm)
    assert figures() == before
    assert b"with code 3" in fetch(port, "/pool/www").body


HOSTILE = "/\"'<script>alert(1)</script>&\x01\x1b[2J\x7f\r\n\xff\xc3("


def test_hostile_uris_in_every_format(shared: Shared) -> None:
    (fpm, port), pool = shared, "hostile"
    address = fpm.address(pool)
    for path in (HOSTILE, "/" + "x" * 65000, "/\xe2\x80\xae\xed\xa0\x80"):
        params = {**raw.web_params(path), "REMOTE_USER": "<b>\x00\x1b"}
        assert raw.exchange(address, params).status == 200
        for form in (*FORMATS, "openmetrics"):
            for page in (fetch(port, f"/status/{pool}?full&{form}"), fetch(port, f"/status?full&{form}")):
                assert page.status == 200
                text = page.body.decode()  # UTF-8 in any case
                assert not any(code in text for code in ("\x00", "\x01", "\x1b", "\x7f", "\r", "\u202e")), form
                assert "<script>alert" not in text or form in ("", "json")
        body = fetch(port, f"/status/{pool}?full&json").body
        assert len(json.loads(body)["processes"]) == 1
        page = fetch(port, f"/pool/{pool}").body
        assert b"<script>alert" not in page
        assert b"\x1b" not in page


def test_a_scribbled_scoreboard_harms_nobody_else(daemon: Start) -> None:
    fpm, port = start(daemon, {"www": {"pm.max_children": 2}, "other": {"pm.max_children": 1}})
    fpm.expect_log(r"\[pool www\]")
    assert fpm.get("other").status == 200
    victims = fpm.workers("other")
    begun = time.monotonic()
    with raw.Wire(fpm.address("www"), timeout=60) as wire:
        wire.send(raw.request_bytes(raw.web_params("/grab", query="40")))
        while time.monotonic() - begun < 1.5:
            for form in (*FORMATS, "openmetrics"):
                assert fetch(port, f"/status/www?full&{form}").status == 200
            for path in ("/", "/pool/www", "/metrics", "/status?json"):
                assert fetch(port, path).status == 200
            assert read_pool("", fetch(port, "/status/other").body)["accepted conn"] == 1
        read_metrics(fetch(port, "/metrics").body)
    assert fpm.workers("other") == victims
    assert fpm.get("other").status == 200
    assert "internal error" not in fpm.log()
    reload(fpm, "www")
    os.kill(fpm.pid, 0)
