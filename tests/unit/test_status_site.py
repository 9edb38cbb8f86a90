"""The daemon's address and a pool's: what is answered to which path, and to whom; /metrics by a strict parser."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from http import HTTPStatus

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from fpm.protocol.status import SiteSpec
from fpm.scoreboard.layout import SLOT, SLOT_SIZE
from fpm.scoreboard.numbers import PoolNumbers
from fpm.scoreboard.reading import join_board, pack_header
from fpm.scoreboard.stages import Stage
from fpm.status.metrics import METRICS_TYPE
from fpm.status.overview import Death, Overview, SlowRequest
from fpm.status.reduced import without_details
from fpm.status.snapshot import PoolFacts, Snapshot, WorkerFacts, pack_snapshot, read_snapshot
from fpm.status_server.site import Answer, MasterSilent, Request, Site, decode_target
from tests.support import overviews
from tests.support.overviews import DAEMON, NASTY

NOW = DAEMON.now
LOCAL = ["127.0.0.0/8", "::1/128"]
DAEMON_SITE = SiteSpec("", "", "", "", LOCAL, LOCAL)
POOL_SITE = SiteSpec("www", "/st", "/pi", "pong", (), LOCAL)


def packed_slot(stage: Stage, *, requests: int = 2, uri: bytes = b"/x", age: float = 0.5) -> tuple[int, bytes]:
    duration = 1000 if stage is Stage.ACCEPTING else 0
    fields = (0, 100 + stage, NOW - 60, requests, NOW - age, duration, 500, 0, 1, 2**20, 3)
    return int(stage), SLOT.pack(
        *fields, b"GET", uri, b"q", 0.0, b"app:main", b"", 4, 0, 0, 0.0, b"", 0.0, 0, 0.0
    ).ljust(SLOT_SIZE, b"\0")


def facts(name: str = "www", **changes: object) -> PoolFacts:
    values = {
        "name": name,
        "pm": "dynamic",
        "listen": "/run/www.sock",
        "directory": "",
        "app": "app:main",
        "state": "running",
        "ready": True,
        "queue": (2, 511),
        "slots": 0,
        "room": 256,
    }
    return PoolFacts(**{**values, **changes})  # type: ignore[arg-type]


def board(*slots: tuple[int, bytes], **header: int) -> bytes:
    values = {"requests": 10, "max_children": 4, "start_time": NOW - 100, **header}
    return join_board(pack_header(PoolNumbers(**values)), list(slots))  # type: ignore[arg-type]


def snapshot(*pools: tuple[PoolFacts, bytes], now: float = NOW, draining: bool = False) -> Snapshot:
    return read_snapshot(pack_snapshot(replace(DAEMON, now=now, draining=draining), pools))


IDLE, BUSY = packed_slot(Stage.ACCEPTING), packed_slot(Stage.EXECUTING)
WWW = (facts(slots=2), board(IDLE, BUSY))
SHOP = (facts("shop", state="idle", queue=(0, 511)), board(requests=0))


def site(spec: SiteSpec, shown: Snapshot) -> Site:
    def look(name: str | None, workers: bool) -> Overview:
        return Overview(shown.daemon, tuple(pool for pool in shown.pools if name in (None, pool.name)))

    return Site(spec, look)


def ask(path: str, query: str = "", *, spec: SiteSpec = DAEMON_SITE, shown: Snapshot | None = None) -> Answer:
    return site(spec, shown or snapshot(WWW, SHOP)).answer(Request(path, query))


def content_type(answer: Answer) -> str:
    return {name.lower(): value for name, value in answer.headers}["content-type"]


def test_the_page_of_a_pool_begins_with_what_is_wrong_with_it() -> None:
    busy = packed_slot(Stage.EXECUTING, age=9.0)
    stack = ("query (/srv/www/db.py:40)",)
    known = facts(slots=1, queue=(2, 511), directory="/srv/www", workers=[WorkerFacts(105, 1, "", None, 2, stack)])
    text = ask("/pool/www", shown=snapshot((known, board(busy, max_children=1, slow_limit=1_000_000)))).body.decode()
    words = "www is saturated: 1 of 1 worker busy, 1 of them in db.query (db.py:40) for 9.0 s (pid 105, GET /x?q)"
    assert text.index(words) < text.index("<table")


# -------------------------------------------------------------------------------------------------------- snapshots


def test_a_snapshot_arrives_as_it_was() -> None:
    death = Death(NOW - 5, 77, "on signal 9 (SIGKILL)", 3.0, 4, "GET " + NASTY)
    slow = SlowRequest(NOW - 2, 78, 3.5, "GET /slow", running=False, stack=("query (db.py:40)", "view (views.py:7)"))
    worker = WorkerFacts(100 + Stage.ACCEPTING, 6, "reload", 12345)
    described = facts(slots=2, error="no module", traceback="...", workers=[worker], deaths=[death], slow=[slow])
    (pool,) = snapshot((described, board(IDLE, BUSY, slow_limit=400_000))).pools
    assert pool.deaths == (death,)
    assert [one.running for one in pool.slow] == [True, False]
    assert pool.slow[0].request == "GET /x?q"
    assert (pool.error, pool.numbers.listen_queue, pool.numbers.listen_queue_len) == ("no module", 2, 511)
    assert (pool.numbers.idle, pool.numbers.active, pool.numbers.total) == (1, 1, 2)
    assert (pool.numbers.requests, pool.numbers.errors, pool.numbers.max_active) == (14, 8, 3)
    assert pool.numbers.slow_requests == 3  # two that are over, and the current one
    idle, busy = pool.workers
    assert (idle.generation, idle.leaving, idle.pss, idle.idle) == (6, "reload", 12345, True)
    assert (busy.generation, busy.pss, busy.idle) == (0, None, False)
    assert 0.49 < busy.request_age < 0.51


@pytest.mark.parametrize(("traced", "stack"), [(2, ("view (views.py:7)",)), (1, ())])
def test_a_slow_request_that_runs_has_the_stack_that_was_taken_of_it(traced: int, stack: tuple[str, ...]) -> None:
    worker = WorkerFacts(100 + Stage.EXECUTING, 6, "", None, traced, ("view (views.py:7)",))
    (pool,) = snapshot((facts(slots=1, workers=[worker]), board(BUSY, slow_limit=400_000))).pools
    (slow,) = pool.slow
    assert (slow.running, slow.stack) == (True, stack)
    (reduced,) = without_details(Overview(DAEMON, (pool,))).pools
    assert [(one.request, one.stack) for one in reduced.slow] == [("GET /x", ())]


def test_our_own_pages_tell_for_whom_a_worker_waits() -> None:
    stages = [Stage.EXECUTING, Stage.READING_BODY, Stage.SENDING]
    described = facts(slots=3, workers=[WorkerFacts(100 + stage, 1, "", None) for stage in stages])
    (pool,) = snapshot((described, board(*map(packed_slot, stages)))).pools
    assert [worker.state for worker in pool.workers] == ["Running", "Reading body", "Sending"]
    assert [process.state for process in pool.status.processes] == ["Running"] * 3, "as PHP-FPM's monitors know it"


def test_a_pool_without_processes_has_numbers_too() -> None:
    (pool,) = snapshot(SHOP).pools
    assert (pool.numbers.total, pool.numbers.start_since, pool.numbers.max_children) == (0, 100, 4)


# ------------------------------------------------------------------------------------------------------------ sites


@pytest.mark.parametrize(
    ("query", "kind"),
    [("", "text/plain"), ("json&full", "application/json"), ("xml", "text/xml"), ("html", "text/html")],
)
def test_one_pool_is_shown_as_by_its_workers(query: str, kind: str) -> None:
    for answer in (ask("/st", query, spec=POOL_SITE), ask("/status/www", query)):
        assert answer.status is HTTPStatus.OK
        assert content_type(answer).startswith(kind)
        assert [name for name, _ in answer.headers] == ["Expires", "Cache-Control", "Content-type"]
        assert b"www" in answer.body
        assert b"shop" not in answer.body


@pytest.mark.parametrize("query", ["html&json", "xml&json", "json&html"])
def test_a_page_that_is_not_json_has_nothing_of_the_past(query: str) -> None:
    overview = overviews.overview(overviews.pool("www"))
    shown = Site(POOL_SITE, lambda name, workers: overview)
    plain = shown.answer(Request("/st", query.replace("json", ""))).body
    assert shown.answer(Request("/st", query)).body == plain


def test_all_pools_in_one_document() -> None:
    assert [one["pool"] for one in json.loads(ask("/status", "json").body)] == ["www", "shop"]
    root = ElementTree.fromstring(ask("/status", "xml&full").body)
    assert [one.text for one in root.iter("pool")] == ["www", "shop"]
    assert re.findall(rb"^pool: +(\w+)$", ask("/status").body, re.MULTILINE) == [b"www", b"shop"]
    assert content_type(ask("/status", "openmetrics=")) == METRICS_TYPE


def test_ping() -> None:
    assert ask("/pi", spec=POOL_SITE).body == b"pong"
    assert ask("/ping").body == b"pong"


@pytest.mark.parametrize("path", ["/nope", "/status/", "/status/nope", "/pool/nope", "/readyz/nope", "//", "/st/x"])
def test_other_paths_are_not_found(path: str) -> None:
    for spec in (DAEMON_SITE, POOL_SITE):
        answer = ask(path, spec=spec)
        assert (answer.status, answer.body) == (HTTPStatus.NOT_FOUND, b"File not found.\n")


def test_pages_for_people() -> None:
    for path in ("/", "/pool/www"):
        answer = ask(path)
        assert content_type(answer) == "text/html; charset=utf-8"
        assert b"www" in answer.body


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/readyz/www", "/readyz/shop"])
def test_probes_are_content(path: str) -> None:
    assert ask(path).status is HTTPStatus.OK


def test_a_pool_that_runs_and_that_nobody_reaches_is_not_said_to_be_running() -> None:
    lost = (facts("lost", state="running", ready=False), board())
    answer = ask("/readyz/lost", shown=snapshot(WWW, lost))
    assert (answer.status, answer.body) == (HTTPStatus.SERVICE_UNAVAILABLE, b"pool lost is unreachable\n")


def test_a_failed_pool_is_not_ready() -> None:
    failed = (facts("bad", state="failed", ready=False), board())
    shown = snapshot(WWW, failed)
    answer = ask("/readyz", shown=shown)
    assert (answer.status, answer.body) == (HTTPStatus.SERVICE_UNAVAILABLE, b"pool bad is failed\n")
    assert ask("/readyz/bad", shown=shown).status is HTTPStatus.SERVICE_UNAVAILABLE
    assert ask("/readyz/www", shown=shown).status is HTTPStatus.OK
    assert ask("/livez", shown=shown).status is HTTPStatus.OK


def test_nothing_is_ready_while_stopping() -> None:
    shown = snapshot(WWW, draining=True)
    for path in ("/readyz", "/readyz/www"):
        assert ask(path, shown=shown).status is HTTPStatus.SERVICE_UNAVAILABLE
    assert ask("/livez", shown=shown).status is HTTPStatus.OK


def test_a_silent_master_is_neither_ready_nor_alive() -> None:
    def look(name: str | None, workers: bool) -> Overview:
        raise MasterSilent("stopped")

    for path in ("/livez", "/readyz", "/metrics", "/", "/status"):
        answer = Site(DAEMON_SITE, look).answer(Request(path, ""))
        assert answer.status is HTTPStatus.SERVICE_UNAVAILABLE


@pytest.mark.parametrize(
    ("address", "yes"),
    [("127.3.2.1", True), ("::1", True), ("::ffff:127.0.0.1", True), ("10.0.0.1", False), ("unix:", False)],
)
def test_who_may_ask(address: str, yes: bool) -> None:
    assert site(POOL_SITE, snapshot()).may_ask(address) is yes
    assert site(DAEMON_SITE, snapshot()).may_connect(address) is yes
    assert site(POOL_SITE, snapshot()).may_ask(None), "there is no web server between"
    assert not site(POOL_SITE, snapshot()).may_ask(""), "a web server that does not say who asks"
    assert site(POOL_SITE, snapshot()).may_connect(address)


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/status?json&full", "/status", "json&full"),
        ("/a%20b", "/a b", ""),
        ("/%C3%A4", "/\xc3\xa4", ""),
        ("http://host:1/status?x", "/status", "x"),
        ("*", "/", ""),
        ("/a%", "/a%", ""),
    ],
)
def test_request_targets(target: str, path: str, query: str) -> None:
    assert decode_target(target) == (path, query)


# ---------------------------------------------------------------------------------------------------------- metrics


def samples(shown: Snapshot) -> dict[tuple[str, ...], float]:
    page = ask("/metrics", shown=shown)
    assert content_type(page) == METRICS_TYPE
    found = {}
    for family in text_string_to_metric_families(page.body.decode()):
        assert family.name.startswith("pyfpm_")
        assert family.documentation
        for sample in family.samples:
            found[(sample.name, *sample.labels.values())] = sample.value
    return found


def test_a_strict_parser_accepts_the_metrics() -> None:
    found = samples(snapshot(WWW, SHOP))
    assert found["pyfpm_requests_total", "www"] == 14
    assert found["pyfpm_workers", "www", "idle"] == 1
    assert found["pyfpm_workers", "www", "active"] == 1
    assert found["pyfpm_workers", "shop", "idle"] == 0
    assert found["pyfpm_listen_queue", "www"] == 2
    assert found["pyfpm_busy_ratio", "www"] == 0.25
    assert found["pyfpm_deaths_total", "www", "kill"] == 0
    assert ("pyfpm_memory_pss_bytes", "www") not in found


def test_hostile_names_stay_labels() -> None:
    nasty = '"} 1\n# EOF\\'
    found = samples(snapshot((facts(nasty), board())))
    assert any("EOF" in name for _, name, *_ in (key for key in found if len(key) > 1))
