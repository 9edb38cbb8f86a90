"""What is concluded from deaths, exceptions, descriptors and starts, from hostile texts as well."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from fpm.explain.facts import CREATING, TEMPLATE, Descriptors, Facts, Place, Sight
from fpm.explain.finding import Finding, Urgency
from fpm.explain.judge_ends import judge_deaths
from fpm.explain.judge_exceptions import is_leaking, judge_descriptors, judge_exceptions
from fpm.explain.judge_starts import judge_imports, judge_reload, judge_start
from fpm.explain.sights import make_sights
from fpm.explain.words import explain_pool
from fpm.scoreboard.stages import DOING, Stage
from fpm.scoreboard.statistics import Statistics
from fpm.stacks.text.entry import Entry
from fpm.stacks.trace import Frame, ThreadStack, Trace
from fpm.status.death_text import NOT_CHECKED, NOT_STARTED
from fpm.status.exceptions import SeenException
from fpm.status.overview import Death, LastReload
from fpm.system.open_files import group_targets, parse_connections
from tests.support import overviews
from tests.support.overviews import DAEMON, DEATH, NASTY, NASTY_DEATH, NOW

LATE = NOW - 60
OOM = replace(overviews.OUT_OF_MEMORY, at=LATE)
CRASH = replace(DEATH, at=LATE)
SEEN = SeenException(
    kind="KeyError",
    message="'tea'",
    place="search (/srv/shop/views.py:41)",
    count=3,
    first=NOW - 600,
    last=LATE,
    pid=2101,
    request="GET /search?q=tea",
    stack=("search (/srv/shop/views.py:41)", "index (/srv/shop/views.py:12)"),
)


def facts(*, daemon: dict[str, Any] | None = None, sights: Sequence[Sight] = (), **pool: Any) -> Facts:
    usual: dict[str, Any] = {"deaths": (), "directory": "/srv", "workers": (overviews.worker(2101),)}
    shown = overviews.pool(**(usual | pool))
    return Facts(shown, replace(DAEMON, **(daemon or {})), sights=tuple(sights))


def only(findings: Any) -> Finding:
    (found,) = findings
    assert isinstance(found, Finding)
    return found


def of_death(*deaths: Death, **pool: Any) -> Finding:
    return only(judge_deaths(facts(deaths=deaths, **pool)))


# -------------------------------------------------------------------------------------------------- deaths


@pytest.mark.parametrize(
    ("death", "kind", "sentence"),
    [
        (
            CRASH,
            "crash",
            "worker 4711 crashed with SIGSEGV in shop.lib.images.scale (shop/lib/images.py:88) while it served "
            "GET /thumbnail/88123?size=large (for 3.2 s) 1 min ago",
        ),
        (
            OOM,
            "out-of-memory",
            "the kernel killed worker 4822 for lack of memory (cgroup limit 256 MiB, by the kernel log), at 310 MiB, "
            "in background work shop.tasks.read_catalogue after POST /import 1 min ago",
        ),
        (
            replace(
                CRASH,
                signal="SIGKILL",
                killed_by_master=True,
                retire_reason="pm.max_memory_hard",
                output=(),
                stack=("grow (/srv/shop/cache.py:5)",),
            ),
            "out-of-memory",
            "worker 4711 was terminated by the master because it used more than pm.max_memory_hard, at 310 MiB, in "
            "shop.cache.grow (shop/cache.py:5) while it served GET /thumbnail/88123?size=large (for 3.2 s) 1 min ago",
        ),
        (
            replace(CRASH, signal="SIGTERM", killed_by_master=True, retire_reason="reload", output=(), request=""),
            "time-limit",
            "worker 4711 was terminated by the master (reload) 1 min ago",
        ),
        (
            replace(CRASH, signal="", code=3, output=("bye",)),
            "exit",
            "worker 4711 exited with code 3, as os._exit() does, while it served GET /thumbnail/88123?size=large "
            "(for 3.2 s) 1 min ago",
        ),
        (
            replace(CRASH, signal="SIGKILL", output=(), request_state="finished", request="GET /"),
            "killed",
            "worker 4711 was killed by SIGKILL, sent by a process (the application itself or another), not for lack of "
            "memory, while it was idle (last request GET /) 1 min ago",
        ),
        (
            replace(CRASH, who="template", signal="", code=None, output=(), request=""),
            "exit",
            "template 4711 ended, nobody knows how, 1 min ago",
        ),
    ],
)
def test_each_end_is_named(death: Death, kind: str, sentence: str) -> None:
    found = of_death(death)
    assert (found.kind, found.sentence) == (kind, sentence)
    assert found.advice
    assert found.evidence[0].startswith(f"pid {death.pid} ended {death.cause}")


def test_the_advice_is_about_the_limit_that_has_ended_it() -> None:
    cut_off = replace(CRASH, signal="SIGTERM", killed_by_master=True, output=(), request="")
    assert "startup_timeout" in of_death(replace(cut_off, retire_reason="startup_timeout")).advice
    assert "request_terminate_timeout" in of_death(replace(cut_off, retire_reason="request_terminate_timeout")).advice


def test_ends_at_the_same_place_are_one_finding() -> None:
    others = replace(CRASH, at=LATE - 30, pid=4000), replace(CRASH, at=LATE - 120, pid=3000)
    found = of_death(CRASH, *others)
    assert "worker 4711 crashed" in found.sentence
    assert found.sentence.endswith(", the last of 3 in 3 min")
    assert found.since == LATE - 120
    elsewhere = replace(CRASH, output=(CRASH.output[0], '  File "/srv/shop/other.py", line 2 in f'))
    assert len(list(judge_deaths(facts(deaths=(CRASH, elsewhere))))) == 2
    killed = replace(CRASH, signal="SIGKILL")
    terminated = replace(CRASH, signal="SIGTERM", at=LATE - 30)
    both = list(judge_deaths(facts(deaths=(killed, terminated))))
    assert len(both) == 2, "a signal is counted with its own kind"
    assert not any("the last of" in one.sentence for one in both)


def test_how_urgent_an_end_is() -> None:
    assert of_death(CRASH).urgency is Urgency.FAILING
    assert of_death(replace(CRASH, request_state="finished")).urgency is Urgency.ATTENTION
    assert of_death(replace(CRASH, at=NOW - 900)).urgency is Urgency.NOTE
    assert not list(judge_deaths(facts(deaths=(replace(CRASH, at=NOW - 7200),))))


def test_the_end_of_an_import_is_told_once() -> None:
    template = replace(CRASH, who="template")
    assert of_death(template).sentence.startswith("template 4711 crashed")
    assert not list(judge_deaths(facts(deaths=(template,), state="failed")))
    refused = LastReload(LATE + 1, False, "pool shop: its template exited")
    assert not list(judge_deaths(facts(deaths=(template,), daemon={"last_reload": refused})))
    long_ago = replace(refused, at=LATE - 500)
    assert list(judge_deaths(facts(deaths=(template,), daemon={"last_reload": long_ago})))


def test_what_a_former_reload_has_tried_is_no_trouble() -> None:
    tried = replace(CRASH, who="template", code=70, signal="", request="", next_action=NOT_STARTED)
    found = of_death(tried, replace(tried, code=1))
    assert (found.urgency, found.is_trouble) == (Urgency.NOTE, False)
    assert found.sentence.endswith(", the last of 2 in 1 min")
    assert found.advice.startswith("A reload had tried the new code and was refused")
    worker = replace(CRASH, next_action=NOT_CHECKED)
    assert [one.is_trouble for one in judge_deaths(facts(deaths=(worker, CRASH)))] == [False, True]


def test_a_worker_that_ends_between_requests_is_not_told_to_return_a_response() -> None:
    found = of_death(replace(CRASH, signal="", code=70, request_state="", output=(), stack=()))
    assert " exited with code 70 while it was idle " in found.sentence
    assert "pyfpm itself has given it up" in found.advice


# -------------------------------------------------------------------------------------------------- exceptions


def of_exception(seen: SeenException, **pool: Any) -> Finding:
    return only(judge_exceptions(facts(exceptions=(seen,), **pool)))


def test_exceptions_that_are_not_told_are_counted() -> None:
    seen = tuple(replace(SEEN, place=f"search (/srv/shop/views.py:{line})") for line in range(8))
    *told, last = judge_exceptions(facts(exceptions=seen))
    assert len(told) == 5
    assert last.sentence == "3 other exceptions are shown by `pyfpm status shop`"
    assert not last.is_trouble


@pytest.mark.parametrize(
    ("seen", "kind", "sentence"),
    [
        (
            SEEN,
            "exception",
            "GET /search?q=tea fails with KeyError: 'tea' in shop.views.search (shop/views.py:41), 3 times",
        ),
        (
            replace(SEEN, kind="SystemExit", message="3", request=""),
            "sys-exit",
            "a request calls sys.exit(3) in shop.views.search (shop/views.py:41), which ends the request, not",
        ),
        (
            replace(SEEN, kind="MemoryError", message=""),
            "out-of-memory",
            "GET /search?q=tea fails with MemoryError in shop.views.search (shop/views.py:41) because the worker ",
        ),
        (
            replace(SEEN, kind="OSError", message="[Errno 24] Too many open files: '/srv/x'"),
            "descriptors",
            "GET /search?q=tea fails with OSError: [Errno 24] Too many open files: '/srv/x' in shop.views.search "
            "(shop/views.py:41) because the worker has no descriptor left",
        ),
        (
            replace(SEEN, printed=True, place=""),
            "exception",
            "GET /search?q=tea logs KeyError: 'tea', 3 times in 10 min, last by pid 2101 1 min ago",
        ),
        (
            replace(SEEN, message="A sentence. Another one."),
            "exception",
            "GET /search?q=tea fails with KeyError: A sentence. Another one in shop.views.search (shop/views.py:41), 3",
        ),
        (
            replace(SEEN, place="_send (/v/lib/python3.11/site-packages/fpm/wsgi/response.py:1)"),
            "exception",
            "GET /search?q=tea fails with KeyError: 'tea', 3 times",
        ),
    ],
)
def test_each_exception_is_named(seen: SeenException, kind: str, sentence: str) -> None:
    found = of_exception(seen)
    assert found.kind == kind
    assert found.sentence.startswith(sentence)
    assert found.sentence.endswith("3 times in 10 min, last by pid 2101 1 min ago")
    assert found.evidence == ("  search (/srv/shop/views.py:41)", "  index (/srv/shop/views.py:12)")


def test_how_urgent_an_exception_is() -> None:
    assert of_exception(SEEN).urgency is Urgency.FAILING
    assert of_exception(replace(SEEN, last=NOW - 900)).urgency is Urgency.NOTE
    # A traceback that is only printed may have been harmless.
    printed = replace(SEEN, printed=True)
    assert of_exception(printed, recent=None).urgency is Urgency.ATTENTION
    answered = Statistics(classes=(0, 0, 0, 0, 7))
    assert of_exception(printed, statistics=answered, recent=None).urgency is Urgency.FAILING
    assert not list(judge_exceptions(facts(exceptions=(replace(SEEN, last=NOW - 7200),))))


# -------------------------------------------------------------------------------------------------- descriptors


@pytest.mark.parametrize(
    ("used", "limit", "leaks"),
    [(47, 64, False), (48, 64, True), (600, 1024, True), (300, 1024, False), (90, 128, False)],
)
def test_from_where_on_it_is_a_leak(used: int, limit: int, leaks: bool) -> None:
    assert is_leaking(Descriptors(used, limit)) == leaks


def test_the_worker_with_the_most_descriptors_is_named() -> None:
    one = Descriptors(900, 1024, ("812 files in /tmp/ (as /tmp/report-88.csv)", "60 connections to 10.0.0.5:5432"))
    known = replace(facts(), descriptors={5: Descriptors(20, 1024), 6: one, 7: Descriptors(600, 1024)})
    found = only(judge_descriptors(known))
    assert found.sentence == (
        "worker 6 has 900 of 1024 descriptors open: 812 files in /tmp/ (as /tmp/report-88.csv), "
        "60 connections to 10.0.0.5:5432, 1 other worker nearly as many"
    )
    assert found.urgency is Urgency.ATTENTION
    assert not list(judge_descriptors(replace(known, descriptors={5: Descriptors(20, 1024)})))


TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:9C0B 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1 0
   1: 0100007F:9C0B 0500000A:1538 01 00000000:00000000 00:00000000 00000000     0        0 12 1 0
   2: 0100007F:9C0B nonsense
"""
TCP6 = """\
  sl  local_address                         remote_address                        st
   0: 00000000000000000000000001000000:1F90 B80D0120000000000000000001000000:0050 01 0:0 0:0 0 0 0 13
   1: 0000000000000000FFFF00000100007F:1F90 0000000000000000FFFF00000500000A:18EB 01 0:0 0:0 0 0 0 14
"""


def test_what_descriptors_are() -> None:
    # The kernel writes words in the machine's order; these are of a little-endian one.
    peers = parse_connections(TCP.encode()) | parse_connections(TCP6.encode())
    assert peers == {
        12: "connections to 10.0.0.5:5432",
        13: "connections to [2001:db8::1]:80",
        14: "connections to 10.0.0.5:6379",
    }
    links = [
        *(f"/tmp/report-{number}.csv" for number in range(7)),
        *["socket:[12]"] * 6,
        *["/srv/shop/lock"] * 5,
        "socket:[99]",
        "anon_inode:[eventpoll]",
        "pipe:[3]",
    ]
    assert group_targets(links, peers) == (
        "7 files in /tmp/ (as /tmp/report-0.csv)",
        "6 connections to 10.0.0.5:5432",
        "5 times /srv/shop/lock",
    )
    assert group_targets(["/tmp/x (deleted)", "pipe:[3]", "pipe:[4]"], {}) == ("2 pipes", "1 /tmp/x")
    assert group_targets([], {}) == ()
    memory = ["/memfd:pyfpm-index (deleted)", "/memfd:cache1 (deleted)", "/memfd:cache2 (deleted)"]
    assert group_targets(memory, {}) == ("2 files in memory (as /memfd:cache1)",)


# -------------------------------------------------------------------------------------------------- starts

SETTINGS = Place("connect", "/srv/shop/settings.py", 3, "")
STARTING = Sight(99, "", 12.4, TEMPLATE, places=(SETTINGS,), doing="in connect(5 <10.0.0.5:5432>)")


def test_an_import_that_hangs() -> None:
    found = only(judge_imports(facts(sights=[STARTING], workers=())))
    assert found.sentence == (
        "it has been starting for 12 s, importing shop.settings.connect (shop/settings.py:3), connecting to "
        "10.0.0.5:5432 (pid 99); nothing serves meanwhile"
    )
    assert found.urgency is Urgency.BROKEN
    itself = overviews.worker(99, state="Creating", idle=False)
    found = only(judge_imports(facts(sights=[replace(STARTING, stage=CREATING)], workers=(itself,))))
    assert found.urgency is Urgency.BROKEN
    found = only(judge_imports(facts(sights=[replace(STARTING, places=(), error="it is gone", doing="")])))
    assert found.sentence == "a new generation has been starting for 12 s (pid 99); the former one serves"
    assert found.urgency is Urgency.NOTE
    assert found.evidence == ("pid 99, no stack: it is gone",)
    assert only(judge_imports(facts(sights=[replace(STARTING, seconds=31.0)]))).urgency is Urgency.ATTENTION


def test_a_worker_that_imports_for_itself_is_seen_before_it_has_a_number() -> None:
    frames = (Frame("connect", "/srv/shop/settings.py", 3), Frame("exec_module", "<frozen importlib._bootstrap>", 9))
    trace = Trace(77, "ptrace", (ThreadStack(77, True, frames, "in clock_nanosleep()"),))
    look = Entry(NOW, "shop", 77, "trace", "shop.wsgi", "", "", 8.0, DOING[Stage.CREATING], 1, trace)
    itself = overviews.worker(0, state="Creating", idle=False, generation=0)
    known = facts(workers=(itself,))
    (sight,) = make_sights(known.pool, [look])
    assert (sight.pid, sight.stage, sight.seconds) == (77, CREATING, 8.0)
    found = only(judge_imports(replace(known, sights=(sight,))))
    assert found.sentence.startswith(
        "it has been starting for 8 s, importing shop.settings.connect (shop/settings.py:3)"
    )
    assert found.evidence[1:] == ("  connect (shop/settings.py:3)",)
    assert make_sights(known.pool, []) == ()


def test_a_short_import_is_no_trouble() -> None:
    short = replace(STARTING, seconds=2.0)
    assert only(judge_imports(facts(sights=[short], workers=()))).urgency is Urgency.NOTE
    assert not list(judge_imports(facts(sights=[short])))
    assert not list(judge_imports(facts(sights=[short], workers=(), state="failed")))
    assert not list(judge_imports(facts()))


def test_an_application_that_does_not_start() -> None:
    pool = replace(overviews.broken(), directory="/srv/blog")
    found = only(judge_start(Facts(pool, DAEMON)))
    assert found.sentence == (
        "its application does not start (4 failed starts, next try in 24 s), clients get 503: ModuleNotFoundError: "
        "No module named 'djnago' in blog.wsgi.<module> (blog/wsgi.py:3)"
    )
    assert (found.urgency, found.since) == (Urgency.BROKEN, NOW - 90)
    hung = replace(pool, error="not imported within 3 s; its stack is in the slow log", traceback="")
    dump = ("Fatal Python error: Segmentation fault", '  File "/srv/blog/blog/settings.py", line 7 in connect')
    hung = replace(hung, deaths=(replace(CRASH, who="template", output=dump),))
    found = only(judge_start(Facts(hung, DAEMON)))
    assert found.sentence.endswith("503: not imported within 3 s in blog.settings.connect (blog/settings.py:7)")
    serving = only(judge_start(Facts(replace(pool, workers=(overviews.worker(3),)), DAEMON)))
    assert "its former workers serve on" in serving.sentence
    assert serving.urgency is Urgency.ATTENTION
    lost = only(judge_start(facts(error="its socket has been removed")))
    assert (lost.kind, lost.sentence) == ("unreachable", "it cannot be reached: its socket has been removed")


def test_a_deploy_that_was_refused() -> None:
    stack = ("compute (/srv/shop/settings.py:3)", "<module> (/srv/shop/wsgi.py:1)")
    refused = LastReload(LATE, False, "pool shop: ZeroDivisionError: division by zero", stack)
    found = only(judge_reload(facts(daemon={"last_reload": refused})))
    assert found.sentence == (
        "the last reload has failed 1 min ago: ZeroDivisionError: division by zero in shop.settings.compute "
        "(shop/settings.py:3); generation 7 serves on"
    )
    assert (found.urgency, found.since) == (Urgency.ATTENTION, LATE)
    other = replace(refused, reason="pool blog: SyntaxError")
    found = only(judge_reload(facts(daemon={"last_reload": other})))
    assert found.sentence == (
        "the last reload has failed 1 min ago, because of another pool: pool blog: SyntaxError; generation 7 serves on"
    )
    assert found.urgency is Urgency.NOTE
    hidden = replace(refused, reason="see the error log", stack=())
    found = only(judge_reload(facts(daemon={"last_reload": hidden})))
    assert found.sentence == "the last reload has failed 1 min ago: see the error log; generation 7 serves on"
    assert not list(judge_reload(facts()))


# -------------------------------------------------------------------------------------------------- all together


def test_whatever_a_pool_says_makes_nothing_fail() -> None:
    nasty = replace(SEEN, kind=NASTY, message=NASTY, place=NASTY, request=NASTY * 100, stack=(NASTY,))
    sight = Sight(1, NASTY, 99.0, TEMPLATE, places=(Place(NASTY, NASTY, 1, ""),), doing=NASTY, error=NASTY)
    refused = LastReload(LATE, False, NASTY, (NASTY,))
    known = facts(
        deaths=(replace(NASTY_DEATH, at=LATE),),
        exceptions=(nasty,),
        sights=[sight],
        state="failed",
        error=NASTY,
        traceback=NASTY,
        daemon={"last_reload": refused},
    )
    known = replace(known, descriptors={1: Descriptors(9, 9, (NASTY,))})
    found = explain_pool(known)
    assert {"does-not-start", "killed", "exception", "import", "descriptors"} <= {one.kind for one in found.findings}
    assert len(found.paragraph) < 6000


def test_a_pool_that_is_down_says_why_first() -> None:
    pool = replace(overviews.broken(), directory="/srv/blog")
    found = explain_pool(Facts(pool, DAEMON, sights=(replace(STARTING, seconds=40.0),)))
    assert re.match(r"blog is down: its application does not start \(4 failed starts", found.paragraph)
