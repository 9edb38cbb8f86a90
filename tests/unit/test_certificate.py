"""Death certificates: the line, the record, what happens next, the last words, core dumps."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm.log.escape import escape
from fpm.master.pool.death_report import (
    Facts,
    LastWords,
    RestartPlan,
    certify,
    describe_request,
    next_step,
)
from fpm.master.processes.exits import Exit, Usage, locate
from fpm.master.processes.oom_reports import OomVerdict
from fpm.scoreboard.snapshot import Slot
from fpm.scoreboard.stages import Stage
from fpm.stacks.trace import Frame, ThreadStack, Trace
from fpm.status.death_text import LINE_REQUEST_MAX, certificate_line
from fpm.status.overview import Death, read_death

NOW = 1000.0
TEXTS = st.text(max_size=600)
LATIN = st.text(st.characters(max_codepoint=255), max_size=600)
SLOTS = st.builds(
    Slot,
    index=st.just(0),
    stage=st.sampled_from(Stage),
    pid=st.integers(0, 1 << 22),
    start_time=st.floats(0, 253402300799.0),
    requests=st.integers(0, 1 << 53),
    request_start=st.floats(0, 253402300799.0),
    duration=st.integers(0, 1 << 53),
    cpu=st.integers(0, 1 << 53),
    content_length=st.integers(0, 1 << 53),
    memory_peak=st.integers(0, 1 << 53),
    max_active=st.integers(0, 100),
    method=LATIN,
    uri=LATIN,
    query=LATIN,
    script=LATIN,
    user=LATIN,
    released=st.floats(0, 253402300799.0),
    task=LATIN,
)
EXITS = st.one_of(
    st.builds(Exit, code=st.integers(0, 255)),
    st.builds(Exit, signal=st.integers(1, 64), core=st.booleans()),
    st.just(Exit()),
)
FRAMES = st.builds(Frame, function=TEXTS, file=TEXTS, line=st.integers(0, 1 << 31))
THREADS = st.builds(ThreadStack, tid=st.just(1), main=st.just(True), frames=st.lists(FRAMES, max_size=20).map(tuple))
TRACES = st.builds(
    Trace, pid=st.just(1), how=st.just("ptrace"), threads=st.lists(THREADS, max_size=2).map(tuple), error=TEXTS
)


def slot(stage: Stage = Stage.EXECUTING, **values: object) -> Slot:
    plain = Slot(
        index=0,
        stage=stage,
        pid=7,
        start_time=900.0,
        requests=1042,
        request_start=996.8,
        duration=0,
        cpu=0,
        content_length=0,
        memory_peak=5 << 20,
        max_active=1,
        method="GET",
        uri="/x",
        query="y",
        script="app:app",
        user="",
    )
    return replace(plain, **values)  # type: ignore[arg-type]


def facts(exit_: Exit, **values: object) -> Facts:
    return replace(Facts(who="worker", pid=123, exit=exit_, age=12.345678, slot=slot()), **values)  # type: ignore[arg-type]


# --------------------------------------------------------------------------------------------------------- the line


def test_line_says_it_all() -> None:
    frames = (Frame("Shop.thumbnail", "/srv/shop/views.py", 17), Frame("application", "/srv/shop/wsgi.py", 5))
    trace = Trace(123, "ptrace", (ThreadStack(123, True, frames),))
    death = certify(
        facts(
            Exit(signal=9),
            usage=Usage(1.0, 0.5, 310 << 20),
            verdict=OomVerdict("yes", "cgroup limit 256 MiB", "kernel log"),
            trace=trace,
        ),
        NOW,
    )
    assert certificate_line(replace(death, next_action="respawned"), script="app:app") == (
        "child 123 exited on signal 9 (SIGKILL) after 12.345678 seconds from start"
        "; out of memory: killed by the kernel (cgroup limit 256 MiB, by the kernel log)"
        '; request "GET /x?y" for 3.2 s (script app:app)'
        "; 1042 requests served; peak memory 310 MiB"
        "; in Shop.thumbnail (/srv/shop/views.py:17), the stack is in the slow log"
        "; respawned"
    )
    assert death.stack == ("Shop.thumbnail (/srv/shop/views.py:17)", "application (/srv/shop/wsgi.py:5)")
    assert (death.signal, death.code, death.oom) == ("SIGKILL", None, "yes")


def test_beginning_is_php_fpms() -> None:
    """fpm_children_bury: what its log tools look for."""
    theirs = re.compile(
        r"child (\d+) exited (with code \d+|on signal \d+ \(\S+( - core dumped)?\)) after (\d+)\.\d{6} sec"
    )
    for exit_ in (Exit(code=3), Exit(signal=11, core=True), Exit(signal=9)):
        assert theirs.match(certificate_line(replace(certify(facts(exit_), NOW), next_action="respawned")))


@pytest.mark.parametrize(
    ("values", "part"),
    [
        (
            {"verdict": OomVerdict("no", source="kernel log")},
            "; not out of memory: sent by a process, the application itself or another; ",
        ),
        ({"verdict": OomVerdict("unknown", "why")}, "; out of memory or not is unknown (why); "),
        ({"told": "stop", "ended": True}, "; terminated by the master (stop); "),
        ({"told": "stop", "ended": True}, "; no stack: it has not come in time; "),
        ({"told": "idle"}, "; it had been told to exit (idle); "),
        ({"slot": slot(Stage.ACCEPTING, duration=1_000_000)}, '; idle, last request "GET /x?y" ended 2.2 s before; '),
        ({"slot": slot(Stage.END, duration=1_000_000)}, '; idle, last request "GET /x?y" ended 2.2 s before; '),
        (
            {"slot": slot(Stage.FINISHED, duration=5, released=998.0, task="tasks.mail")},
            '; in background work in tasks.mail for 2.0 s after request "GET /x?y"; ',
        ),
        ({"slot": slot(requests=1)}, "; 1 request served; "),
        ({"usage": Usage()}, "; peak memory 5.0 MiB; "),
        ({"trace": Trace(1, "", error="it is gone")}, "; no stack: it is gone; "),
        (
            {"words": ("Fatal Python error: Aborted", '  File "/a.py", line 3 in f', '  File "/b.py", line 4 in g')},
            '; "Fatal Python error: Aborted" in f (/a.py:3), called by g (/b.py:4); ',
        ),
        ({"words": ("one", 'the "last"')}, r'; last output "the \x22last\x22"; '),
    ],
)
def test_parts_of_the_line(values: dict[str, object], part: str) -> None:
    assert part in certificate_line(replace(certify(facts(Exit(signal=9), **values), NOW), next_action="respawned"))


def test_others_than_workers() -> None:
    template = replace(certify(facts(Exit(signal=9), who="template", slot=None), NOW), next_action="next")
    assert certificate_line(template).startswith("template 123 exited on signal 9 (SIGKILL) after 12.345678 ")
    assert "served" not in certificate_line(template)
    responder = certify(facts(Exit(code=1), who="503 responder", slot=None), NOW)
    assert certificate_line(replace(responder, next_action="next")) == (
        "the 503 responder exited with code 1 after 12.345678 seconds from start; next"
    )


@given(EXITS, SLOTS, TRACES, st.lists(TEXTS, max_size=20).map(tuple), TEXTS, TEXTS)
def test_whatever_a_pool_says_is_one_line_of_bounded_size(
    exit_: Exit, slot: Slot, trace: Trace, words: tuple[str, ...], told: str, script: str
) -> None:
    known = facts(exit_, slot=slot, trace=trace, words=words, told=told[:40])
    death = certify(known, NOW)
    line = certificate_line(replace(death, next_action="the end"), script=script)
    assert line.endswith("; the end")
    assert escape(line.replace(death.retire_reason, "")) == line.replace(death.retire_reason, "")
    assert len(line.encode()) <= 924
    assert read_death(json.loads(json.dumps(asdict(death)))) == death
    assert len(json.dumps(asdict(death))) < 60_000
    assert death.request_age >= 0.0


def test_long_requests_leave_room_for_the_end() -> None:
    death = certify(facts(Exit(code=1), slot=slot(uri="/" + "\x1b" * 500, query="q" * 500)), NOW)
    line = certificate_line(replace(death, next_action="respawned"), script="app:app")
    assert len(line) < 400 + LINE_REQUEST_MAX
    assert "\\x1b" in line
    assert line.endswith("; respawned")
    assert len(death.request) > 900


def test_no_request_at_all() -> None:
    assert describe_request(slot(Stage.ACCEPTING, request_start=0.0, method=""), NOW) == ("", "", 0.0)
    assert describe_request(slot(Stage.READING_HEADERS, duration=5), NOW)[1] == "finished"


def test_an_older_record_is_read() -> None:
    old = {"at": 1.0, "pid": 2, "cause": "with code 3", "age": 4.0, "requests": 5, "request": "GET /", "newer": [1]}
    assert read_death(old) == Death(1.0, 2, "with code 3", 4.0, 5, "GET /")


# -------------------------------------------------------------------------------------------------- what happens next


@pytest.mark.parametrize(
    ("plan", "text"),
    [
        (RestartPlan(made=True), "respawned"),
        (RestartPlan(made=True, stopping=True), "not replaced, the pool stops"),
        (RestartPlan(made=False, on_trial=True), "its generation has failed the check"),
        (RestartPlan(made=False, told="idle", is_missing=False), "not replaced, there are enough"),
        (RestartPlan(made=False, told="max_memory", is_missing=False), "already replaced"),
        (RestartPlan(made=False, told="max_memory", has_template=False), "respawned when the template is ready"),
        (RestartPlan(made=False, failed_for=3.6), "the pool has failed, next try in 4 s"),
        (RestartPlan(made=False, pause=0.4, failures=4), "respawned in 0.4 s (backoff, 4 died early in a row)"),
        (RestartPlan(made=False, ondemand=True, is_missing=False), "the next request starts a new one (ondemand)"),
        (
            RestartPlan(made=False, ondemand=True, is_missing=False, pause=0.1),
            "the next request starts a new one in 0.1 s at the earliest (ondemand, backoff)",
        ),
        (RestartPlan(made=False, is_missing=False), "not replaced, there are enough"),
        (RestartPlan(made=False, has_template=False), "respawned when the template is ready"),
        (RestartPlan(made=False, has_room=False), "not respawned before process.max allows it"),
        (RestartPlan(made=False), "respawned soon"),
    ],
)
def test_what_happens_next(plan: RestartPlan, text: str) -> None:
    assert next_step(plan) == text


# ----------------------------------------------------------------------------------------------------- the last words

CRASH = """\
Fatal Python error: Segmentation fault

Thread 0x00007f0001 (most recent call first):
  File "/srv/other.py", line 1 in wait

Current thread 0x00007f0002 (most recent call first):
  File "/srv/app.py", line 12 in crash
  File "/srv/app.py", line 20 in application
  File "/usr/lib/fpm/wsgi/response.py", line 275 in run_application
  File "/usr/lib/fpm/worker/service.py", line 143 in _answer

Extension modules: a, b (total: 2)"""


def spoken(text: str, at: float = 10.0) -> LastWords:
    words = LastWords()
    for line in text.splitlines():
        words.add(line, at)
    return words


def test_a_crash_shows_the_thread_that_has_crashed() -> None:
    expected = (
        "Fatal Python error: Segmentation fault",
        '  File "/srv/app.py", line 12 in crash',
        '  File "/srv/app.py", line 20 in application',
    )
    assert spoken("before\n" + CRASH).of_end(10.2, by_exit=False) == expected


def test_words_long_before_the_end_are_none_of_it() -> None:
    assert spoken(CRASH).of_end(20.0, by_exit=False) == ()
    assert spoken("GET /").of_end(10.0, by_exit=False) == ()
    assert spoken("a\nb\nc\nd").of_end(10.5, by_exit=True) == ("b", "c", "d")


@given(st.lists(st.one_of(TEXTS, st.sampled_from(CRASH.splitlines())), max_size=200), st.booleans())
def test_any_words_are_bounded(lines: list[str], by_exit: bool) -> None:
    words = LastWords()
    for line in lines:
        words.add(line, 1.0)
    assert len(words.of_end(1.0, by_exit=by_exit)) <= 12
    assert len(words.lines) <= 60


# --------------------------------------------------------------------------------------------------------- core dumps


@pytest.mark.parametrize(
    ("pattern", "uses_pid", "root", "place"),
    [
        ("core", False, "/", "/srv/app/core"),
        ("core", True, "/", "/srv/app/core.77"),
        ("/var/crash/%e-%p.%s", True, "/", "/var/crash/*-77.11"),
        ("/cores/core.%P%%", False, "/srv/jail/", "/srv/jail/cores/core.77%"),
        ("core", False, "/srv/jail", "/srv/jail/srv/app/core"),
        ("|/lib/systemd/systemd-coredump %P %u", False, "/", "coredumpctl info 77"),
        ("|/usr/share/apport/apport -p%p", False, "/", "given to apport"),
        ("", False, "/", "where kernel.core_pattern says"),
    ],
)
def test_where_core_dumps_go(pattern: str, uses_pid: bool, root: str, place: str) -> None:
    assert locate(pattern, uses_pid=uses_pid, pid=77, signal=11, directory="/srv/app", root=root) == place
