"""What pyfpm adds to PHP-FPM's page: it stands after theirs, and no parser of theirs stumbles over it."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest

from fpm.events.pool import MaxChildrenReached
from fpm.events.worker import ProcessDied, SlowRequestEnded, WorkerExited, WorkerLogged
from fpm.master.pool.death_report import Facts, certify
from fpm.master.pool.history import Failing, Record, is_death
from fpm.master.pool.start_failures import Failure, StartFailures
from fpm.master.processes.exits import Exit
from fpm.master.processes.oom_reports import OomVerdict
from fpm.scoreboard.number import UNKNOWN_STATUS, describe_death
from fpm.scoreboard.numbers import ROWS, PoolNumbers, show_number
from fpm.scoreboard.reading import pack_header, read_header
from fpm.scoreboard.snapshot import Board, ListenQueue, Slot
from fpm.scoreboard.stages import Stage
from fpm.status.facts import pool_facts
from fpm.status.metrics import render_metrics
from fpm.status.model import PoolStatus, build_status
from fpm.status.pages import BACKGROUND_KEYS, OWN_KEYS, POOL_KEYS, PROCESS_KEYS, render_status
from tests.support import overviews
from tests.support.configuration import Files, section
from tests.support.overviews import NUMBERS

OF_GROUPS = tuple(name for name in ROWS if name.startswith("cgroup_") or name.endswith("_pressure"))
ALL = replace(NUMBERS, queue_wait=120, hot_path=1, memory_level=1, **dict.fromkeys(OF_GROUPS, 4321))
FULL = PoolStatus("www", "dynamic", ALL, ())


def slot(stage: Stage, *, requests: int = 3, errors: int = 0, uri: str = "/", duration: int = 0) -> Slot:
    return Slot(
        index=0,
        stage=stage,
        pid=77,
        start_time=100.0,
        requests=requests,
        request_start=200.0,
        duration=duration,
        cpu=0,
        content_length=0,
        memory_peak=0,
        max_active=1,
        method="GET",
        uri=uri,
        query="",
        script="",
        user="",
        errors=errors,
    )


def numbers_of(board: Board, now: float) -> PoolNumbers:
    return build_status(pool="www", pm="static", board=board, queue=ListenQueue(0, 0), now=now).numbers


def test_every_number_of_ours_has_a_key_of_its_own() -> None:
    keys = [row.key for row in ROWS.values() if row.key]
    assert len(set(keys)) == len(keys)
    assert {name for name, row in ROWS.items() if not row.key} == {
        *("slow_limit", "tracks_finished"),
        *("cgroup_high", "cgroup_max", "cgroup_oom"),
    }


def test_a_number_is_shown_wherever_its_row_says() -> None:
    shown = overviews.pool(**dict.fromkeys(ROWS, 7))
    metrics = render_metrics(overviews.DAEMON, [shown]).decode()
    lines = dict(pool_facts(shown, 100.0, dates=False))
    for row in ROWS.values():
        if row.metric:
            assert re.search(rf"^pyfpm_{row.metric.name}(_total)?{{pool=\"shop\".*{row.metric.label}}} ", metrics, re.M)
        if row.line:
            assert row.line.words.partition("{}")[2] in lines[row.line.title]


@pytest.mark.parametrize("key", OWN_KEYS + BACKGROUND_KEYS)
def test_no_key_is_taken_for_one_of_theirs(key: str) -> None:
    assert not re.match("idle|active|total", key)  # munin: awk /^idle/ ...
    assert "pool" not in key  # munin: awk /pool/
    assert len(key) <= 20  # Lusitaniae: a blank must follow the colon
    assert not any(key.endswith(theirs) or theirs.startswith(key) for theirs in (*POOL_KEYS, *PROCESS_KEYS))


def test_text_of_strict_parsers() -> None:
    lines = render_status(FULL, "").body.decode().splitlines()
    assert [line.partition(":")[0] for line in lines] == [*POOL_KEYS, *OWN_KEYS]
    assert len([line for line in lines if "pool" in line]) == 1
    for line in lines:
        assert re.fullmatch(r"(.*): +(.*)", line), line  # Lusitaniae: every line, and greedily
        assert re.fullmatch(r"(.*):\s+(.*)", line)
        assert len(line.split(": ")) == 2
    for word, place in (("idle", 3), ("active", 3), ("total", 3)):  # munin's awk prints one number each
        assert [line.split()[place - 1] for line in lines if line.startswith(word)] == [str(getattr(ALL, word))]


def test_short_json_is_flat_and_ours_come_last() -> None:
    body = render_status(FULL, "json=True").body.decode()
    assert re.match(r"^[.\s\S]*({.+})", body).group(1) == body  # type: ignore[union-attr]  # Zabbix's preprocessing
    values = json.loads(body)
    assert tuple(values) == (*POOL_KEYS, *OWN_KEYS)
    texts = {key for key, value in values.items() if type(value) is not int}
    assert texts == {"pool", "process manager"}, "Checkmk's plugin does int() on the others"
    assert (values["last reload failed"], values["queue wait"]) == (0, 120)


def test_ours_come_after_theirs_in_the_full_pages() -> None:
    keys = tuple(json.loads(render_status(FULL, "json&full").body))
    assert keys == (*POOL_KEYS, "processes", *OWN_KEYS)
    root = ElementTree.fromstring(render_status(FULL, "xml&full").body)
    tags = [element.tag.replace("-", " ") for element in root]
    assert tags == [*POOL_KEYS, "processes", *OWN_KEYS]
    blocks = render_status(FULL, "full").body.decode().split("\n************************\n")
    assert len(blocks) == 1 + len(FULL.processes)
    assert blocks[0].splitlines()[len(POOL_KEYS)].startswith("generation:  ")


def test_openmetrics_is_theirs_alone() -> None:
    assert render_status(FULL, "openmetrics") == render_status(FULL, "openmetrics")


def test_work_after_the_response_is_shown_where_there_is_some() -> None:
    after = replace(slot(Stage.FINISHED), released=201.0, task="shop.mail")
    board = Board(read_header(memoryview(pack_header(PoolNumbers()))), (slot(Stage.ACCEPTING), after))
    both = build_status(pool="www", pm="static", board=board, queue=ListenQueue(0, 0), now=208.0)
    queries = ("full", "full&json", "full&xml", "full&html")
    pages = {query: render_status(both, query, own=False).body.decode() for query in queries}
    assert pages["full"].endswith("background task:      shop.mail\nbackground since:     7\n")
    theirs, ours = json.loads(pages["full&json"])["processes"]
    assert (ours["background task"], ours["background since"]) == ("shop.mail", 7)
    assert "background task" not in theirs
    assert pages["full&xml"].count("<background-task>shop.mail</background-task>") == 1
    assert pages["full&html"].count("<th>background task</th>") == 1
    heads, *rows = pages["full&html"].partition('<table border="1">')[2].split("<tr>")[1:]
    assert [row.count("<td>") for row in rows] == [heads.count("<th>")] * 2


def test_what_is_not_known_is_left_out() -> None:
    unknown = replace(FULL, numbers=replace(ALL, queue_wait=None, memory_pss=None))
    assert b"queue wait" not in render_status(unknown, "").body
    assert "memory pss" not in json.loads(render_status(unknown, "json").body)


def test_extras_are_read_from_the_scoreboard() -> None:
    values = PoolNumbers(
        generation=4,
        max_children=8,
        errors=2,
        failed=True,
        last_reload_failed=True,
        last_death=5.5,
        last_death_status=9,
        background_early=4,
        background_max=6,
    )
    header = read_header(memoryview(pack_header(values)))
    after = replace(slot(Stage.FINISHED, errors=1), released=201.0, background_early=2)
    used = (after, slot(Stage.EXECUTING), slot(Stage.ACCEPTING), None)
    extras = numbers_of(Board(header, used), 205.5)
    assert (extras.generation, extras.max_children, extras.busy_percent, extras.background) == (4, 8, 25, 1)
    assert (extras.background_oldest, extras.background_early, extras.background_max) == (4, 6, 6)
    assert (extras.errors, extras.failed, extras.last_reload_failed) == (3, True, True)
    assert [show_number(extras, name) for name in ("last_death", "last_death_status")] == [5, "on signal 9 (SIGKILL)"]


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (0x300, "with code 3"),
        (139, "on signal 11 (SIGSEGV)"),
        (9, "on signal 9 (SIGKILL)"),
        (40, "on signal 40"),
        (UNKNOWN_STATUS, "in an unknown way"),
    ],
)
def test_deaths_in_words(status: int, text: str) -> None:
    assert describe_death(status) == text


@pytest.mark.parametrize(
    ("exit_", "told", "ended", "counted"),
    [
        (Exit(code=0), "", False, "deaths_by_exit"),
        (Exit(code=4), "", False, "deaths_by_exit"),
        (Exit(), "", False, "deaths_by_exit"),
        (Exit(signal=11, core=True), "", False, "deaths_by_signal"),
        (Exit(signal=9), "", False, "deaths_by_kill"),
        (Exit(signal=9), "reload", True, "deaths_by_timeout"),
        (Exit(signal=15), "stop", True, "deaths_by_timeout"),
        (Exit(signal=11), "idle", False, "deaths_by_signal"),
        (Exit(code=0), "idle", False, ""),
        (Exit(signal=15), "stop", False, ""),
        (Exit(signal=9), "stop", False, ""),
        (Exit(signal=9), "idle", False, "deaths_by_kill"),
        (Exit(code=0), "max_requests", False, "recycled"),
        (Exit(code=0), "max_memory", False, "recycled_memory"),
    ],
)
def test_causes_of_death(files: Files, exit_: Exit, told: str, ended: bool, counted: str) -> None:
    record = Record(files.pool(section("www")), 1.0)
    assert is_death(exit_, told, ended=ended) == counted.startswith("deaths")
    if counted.startswith("deaths"):
        facts = Facts(who="worker", pid=77, exit=exit_, age=2.0, slot=None, told=told, ended=ended)
        record.take(ProcessDied(certify(facts, 50.0), exit_.status, pool="www", pid=77))
        assert record.values.last_death == 50.0
    else:
        record.take(WorkerExited(str(exit_), exit_.code, 2.0, told, pool="www", pid=77))
    names = ("by_exit", "by_signal", "by_kill", "by_timeout", "by_oom")
    every = [*(f"deaths_{name}" for name in names), "recycled", "recycled_memory"]
    assert [name for name in every if getattr(record.values, name)] == ([counted] if counted else [])


def test_out_of_memory_is_a_cause_of_its_own(files: Files) -> None:
    record = Record(files.pool(section("www")), 1.0)
    facts = Facts(who="worker", pid=77, exit=Exit(signal=9), age=2.0, verdict=OomVerdict("yes", "cgroup limit 64 MiB"))
    death = replace(certify(facts, 50.0), next_action="respawned")
    record.take(ProcessDied(death, facts.exit.status, pool="www", pid=77))
    assert (record.values.deaths_by_oom, record.values.deaths_by_kill) == (1, 0)
    assert record.deaths[0].next_action == "respawned"


def test_templates_are_kept_and_not_counted(files: Files) -> None:
    record = Record(files.pool(section("www")), 1.0)
    facts = Facts(who="template", pid=76, exit=Exit(signal=9), age=2.0)
    record.take(ProcessDied(certify(facts, 50.0), 9, pool="www", pid=76))
    assert [death.pid for death in record.deaths] == [76]
    assert (record.values.deaths_by_kill, record.values.last_death) == (0, 0.0)


def test_slow_requests_and_full_pools_are_remembered(files: Files) -> None:
    record = Record(files.pool(section("www")), 1.0)
    for pid in (5, 6):
        record.take(SlowRequestEnded("GET /slow", 2.5, pool="www", pid=pid, time=40.0 + pid))
    assert [(slow.at, slow.pid, slow.seconds) for slow in record.slow] == [(46.0, 6, 2.5), (45.0, 5, 2.5)]
    record.take(MaxChildrenReached(3, pool="www"))
    assert record.values.max_children_reached == 1


def test_failing_and_reloads_are_told(files: Files) -> None:
    record = Record(files.pool(section("www", pm__max_children="7")), 1.0)
    record.reloaded(20.0, ok=False)
    record.failing(Failing(since=10.0, starts=3, next_start=14.0))
    extras = numbers_of(Board(read_header(memoryview(pack_header(record.values))), ()), 0.0)
    assert (extras.failed, extras.failed_since, extras.start_failures, extras.next_start) == (True, 10, 3, 14)
    assert (extras.last_reload, extras.last_reload_failed, extras.max_children) == (20, True, 7)
    record.reloaded(30.0, ok=True)
    record.failing(None)
    assert not record.values.failed
    assert not record.values.last_reload_failed
    assert record.values.failed_since == record.values.next_start == 0.0


def test_what_a_former_release_has_remembered_is_enough(files: Files) -> None:
    config = files.pool(section("www"))
    record = Record(config, 1.0)
    text = 'uncaught exception\nTraceback (most recent call last):\n  File "/srv/x.py", line 1, in f\nKeyError: 7'
    record.take(WorkerLogged("error", text, "GET /", pool="www", pid=5, time=3.0))
    state = json.loads(json.dumps(record.dump()))
    later = Record(config, 2.0)
    later.restore(state, config)
    assert later.exceptions.newest_first == record.exceptions.newest_first
    del state["exceptions"]
    later = Record(config, 2.0)
    later.restore(state, config)
    assert later.exceptions.newest_first == []
    assert later.values == record.values


def test_a_pool_has_failed_since_its_first_failure() -> None:
    failures = StartFailures()
    failures.add(Failure("first", "", 10.0), 1.0)
    failures.add(Failure("second", "", 20.0), 2.0)
    assert failures.failure == Failure("second", "", 10.0)
    failures.clear()
    failures.add(Failure("third", "", 30.0), 3.0)
    assert failures.failure == Failure("third", "", 30.0)


@pytest.fixture
def files(tmp_path) -> Files:  # type: ignore[no-untyped-def]
    return Files(tmp_path)
