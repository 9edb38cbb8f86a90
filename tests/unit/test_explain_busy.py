"""What `pyfpm explain` concludes from made-up facts about busy workers."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from typing import Any

import pytest

from fpm.explain.facts import Facts, Place, Sight
from fpm.explain.finding import Urgency
from fpm.explain.places import find_recursion, place_words, stack_words
from fpm.explain.sights import choose_looks, make_sights
from fpm.explain.waits import wait_of
from fpm.explain.words import as_document, clock, explain_pool
from fpm.scoreboard.buckets import BUCKETS, Histogram
from fpm.scoreboard.statistics import Statistics
from fpm.stacks.text.entry import Entry
from fpm.stacks.trace import Frame, ThreadStack, Trace
from fpm.status.model import ProcessStatus
from fpm.status.overview import Death, Pool, Route, SlowRequest
from fpm.status.past.recent import Mark, MarkKind, Recent, Window
from tests.support.overviews import DAEMON, DEATH, NASTY, NOW, busy, pool, worker

DIRECTORY = "/srv/shop"
VIEWS = f"{DIRECTORY}/shop/views.py"
DATABASE = "in poll(9 <10.0.0.5:5432>)"
DRIVER = Frame("connection.wait", "/srv/venv/lib/python3.13/site-packages/psycopg/connection.py", 88)
SEARCH, SERVE = Frame("search", VIEWS, 41), Frame("handle", "/usr/lib/python3/dist-packages/fpm/worker/loop.py", 96)
P95_BUCKET = 30
"""The bucket of 80 to 100 milliseconds."""


def look(pid: int, *frames: Frame, doing: str = DATABASE, stage: str = "running", **values: Any) -> Entry:
    trace = Trace(pid, "ptrace", (ThreadStack(pid, True, frames, doing), *values.pop("others", ())))
    return Entry(NOW, "shop", pid, "trace", "shop.wsgi", "GET", "/search", 10.0, stage, 1, values.pop("trace", trace))


def make_pool(*workers: Any, busy_ones: int | None = None, **values: Any) -> Pool:
    count = len([one for one in workers if not one.idle]) if busy_ones is None else busy_ones
    usual = {"directory": DIRECTORY, "workers": workers, "deaths": (), "active": count, "idle": 1, "last_reload": 0}
    return pool(**(usual | {"slow_requests": 0, "rate": None} | values))


def recent(**values: Any) -> Recent:
    counts = [0] * BUCKETS
    counts[P95_BUCKET] = 400
    statistics = Statistics((0, 400 - values.get("failures", 0), 0, 0, values.pop("failures", 0)))
    statistics = replace(statistics, response=Histogram(1, tuple(counts)))
    since = values.pop("since", None)
    usual = {"seconds": 300, "covered": 300.0, "requests": 400, "errors": 0, "slow": 0, "deaths": 0}
    return Recent(1.5, (Window(statistics=statistics, **(usual | values)),), since)


def explain(one: Pool, *looks: Entry) -> str:
    return explain_pool(Facts(one, DAEMON, looks)).paragraph


def test_a_healthy_pool_gets_one_calm_sentence() -> None:
    one = make_pool(busy(1, "/", 0.2), worker(2), recent=recent(), rate=1.5)
    said = explain_pool(Facts(one, DAEMON))
    assert said.paragraph == (
        "shop is fine: 1 of 20 workers busy, queue 0, 1.5 requests a second, p95 99 ms in the last 5 min."
    )
    assert (said.is_trouble, said.findings) == (False, ())


def test_saturation_is_told_with_its_cause_its_time_and_the_last_deploy() -> None:
    workers = [busy(pid, "/search?q=tea", 100.0 + pid) for pid in range(1, 4)] + [busy(4, "/other", 1.0)]
    looks = [look(one.pid, DRIVER, SEARCH, SERVE) for one in workers[:3]]
    deploy = Mark(NOW - 480, MarkKind.DEPLOY)
    values = {"max_children": 4, "idle": 0, "listen_queue": 37, "marks": (deploy, Mark(NOW - 9, MarkKind.DEATH))}
    one = make_pool(*workers, recent=recent(since=NOW - 240), **values)
    said = explain_pool(Facts(one, DAEMON, tuple(looks)))
    assert said.paragraph == (
        f"shop has been saturated for 4 min (since {clock(NOW - 240, NOW)}): 4 of 4 workers busy, 3 of them in "
        "shop.views.search (shop/views.py:41) waiting for 10.0.0.5:5432 for up to 1 min 43 s "
        "(pid 3, GET /search?q=tea), 1 of them for 1.0 s (pid 4, GET /other), queue 37, p95 99 ms in the last 5 min; "
        f"last deploy {clock(NOW - 480, NOW)}."
    )
    waiting, unknown, saturated = said.findings
    assert [one.kind for one in said.findings] == ["waiting", "busy", "saturated"]
    assert {one.urgency for one in said.findings} == {Urgency.SATURATED}
    assert waiting.advice.startswith("Check 10.0.0.5:5432 (PostgreSQL).")
    assert waiting.evidence[0] == f"pid 3 GET /search?q=tea, running for 1 min 43 s: {DATABASE}"
    assert saturated.since == NOW - 240
    assert unknown.evidence == ("pid 4 GET /other, running for 1.0 s",)


def test_only_long_requests_are_trouble_while_there_is_room() -> None:
    short, long = busy(1, "/", 4.9), busy(2, "/", 5.1)
    assert not explain_pool(Facts(make_pool(short, worker(9)), DAEMON)).is_trouble
    assert explain_pool(Facts(make_pool(long, worker(9)), DAEMON)).is_trouble
    assert explain_pool(Facts(make_pool(short, worker(9), slow_limit=2_000_000), DAEMON)).is_trouble
    assert not explain_pool(Facts(make_pool(long, worker(9), slow_limit=9_000_000), DAEMON)).is_trouble


@pytest.mark.parametrize(
    ("doing", "words", "kind"),
    [
        ("running", "computing", "computing"),
        ("waiting for a lock", "waiting for a lock", "lock"),
        ("in recvfrom(7 <unix:/run/db.sock>)", "waiting for unix:/run/db.sock", "waiting"),
        ("in connect(7 <[2001:db8::1]:80>)", "connecting to [2001:db8::1]:80", "waiting"),
        ("in sendto(7 <10.0.0.5:80>)", "sending to 10.0.0.5:80", "waiting"),
        ("in epoll_wait(7 <10.0.0.5:80>, 9 <socket:[4]>)", "waiting for 10.0.0.5:80", "waiting"),
        ("in epoll_wait(7 <socket:[4]>, 9 <10.0.0.5:80>)", "waiting for 10.0.0.5:80", "waiting"),
        ("in epoll_wait(7 <socket:[4]>)", "in its event loop, waiting for no connection", "busy"),
        ("in poll(7 <socket:[81]>)", "waiting in poll() for a socket", "waiting"),
        ("in flock(4 </srv/shop/lock>)", "waiting for the lock on /srv/shop/lock", "lock"),
        ("in read(4 </srv/shop/data>)", "in read() on /srv/shop/data", "file"),
        ("in read(4 <pipe:[17]>)", "waiting for data from a pipe", "child"),
        ("in write(4 <pipe:[17]>)", "waiting for room in a pipe", "child"),
        ("in wait4(812)", "waiting for a child process (process 812)", "child"),
        ("in wait4()", "waiting for a child process", "child"),
        ("in openat(/srv/shop/data/fifo)", "opening /srv/shop/data/fifo", "file"),
        ("in newfstatat(/mnt/nfs/x (y))", "in newfstatat() on /mnt/nfs/x (y)", "file"),
        ("in clock_nanosleep()", "asleep", "asleep"),
        (
            "in uninterruptible sleep (wchan nfs_wait)",
            "in the kernel, uninterruptible sleep (wchan nfs_wait)",
            "kernel",
        ),
        ("in getrandom()", "in getrandom()", "busy"),
        ("sleeping", "waiting (for what is not known without ptrace)", "busy"),
        ("", "", "busy"),
        ("in read(4 <10.0.0.5:80> (x)\n)", "waiting for 10.0.0.5:80", "waiting"),
    ],
)
def test_what_is_waited_for_is_read_out_of_the_tracers_phrase(doing: str, words: str, kind: str) -> None:
    found = wait_of(Sight(1, "", 1.0, "running", doing=doing))
    assert (found.whole, found.kind) == (words, kind)


def test_c_code_is_told_by_the_library_that_calls_it() -> None:
    regex = Place("match", "/usr/lib/python3.11/re/__init__.py", 166, "re")
    computing = Sight(
        1, "", 1.0, "running", doing="running", places=(regex,), native=("sre_ucs1_match", "PyObject_Call")
    )
    assert wait_of(computing).whole == "computing in C code called by re.match"
    assert wait_of(replace(computing, places=(replace(regex, library=""),))).whole == "computing in C code"
    assert wait_of(replace(computing, native=("_PyEval_EvalFrameDefault",))).words == "computing"
    assert wait_of(replace(computing, native=())).words == "computing"


def test_the_interpreters_lock_is_not_one_of_the_application() -> None:
    hog = ThreadStack(8, False, (Frame("crunch", VIEWS, 7),), "running")
    waiting = (Frame("take_gil", "/usr/bin/python3", 0, native=True), SEARCH)
    one = make_pool(busy(1, "/", 9.0), worker(2))
    assert (
        "waiting for the interpreter's lock (GIL) while another thread of it is in shop.views.crunch (shop/views.py:7)"
        in (explain(one, look(1, *waiting, doing="waiting for a lock", others=(hog,))))
    )
    acquire = Frame("PyThread_acquire_lock_timed", "/usr/bin/python3", 0, native=True)
    assert "(GIL)" in explain(one, look(1, waiting[0], acquire, SEARCH, doing="waiting for a lock"))
    lock = (acquire, *waiting)
    said = explain(one, look(1, *lock, doing="waiting for a lock"))
    assert "in shop.views.search (shop/views.py:41) waiting for a lock for 9.0 s (pid 1, GET /)" in said


def test_sqlite_sleeps_between_its_tries_for_a_lock() -> None:
    sleeping = Sight(1, "", 1.0, "running", doing="in clock_nanosleep()", native=("clock_nanosleep", "PyObject_Call"))
    assert wait_of(sleeping).kind == "asleep"
    for name in ("libsqlite3.so.0.8.6", "sqlite3_step", "_sqlite3.cpython-311-x86_64-linux-gnu.so", "_pysqlite3.so"):
        tried = replace(sleeping, native=("clock_nanosleep", "usleep", name))
        assert (wait_of(tried).kind, wait_of(tried).words) == ("sqlite-lock", "waiting for the lock of SQLite")
        assert wait_of(replace(tried, doing="in pread64(5 </srv/shop.db>)")).kind == "file"
        found = wait_of(replace(tried, database="/srv/shop.db"))
        assert (found.words, found.target) == ("waiting for the lock of SQLite's database /srv/shop.db", "/srv/shop.db")


def test_the_thread_that_computes_is_named_before_one_that_waits() -> None:
    threads = [ThreadStack(tid, False, (Frame(name, VIEWS, tid),), doing) for tid, name, doing in (
        (7, "also_waits", "waiting for a lock"), (8, "reads", DATABASE), (9, "computes", "running"))]  # fmt: skip
    one = make_pool(busy(1, "/", 9.0), worker(2))
    for others in itertools.permutations(threads):
        assert "another thread of it is in shop.views.computes" in explain(
            one, look(1, SEARCH, doing="waiting for a lock", others=others)
        )
    library = ThreadStack(7, False, (DRIVER,), "running")
    assert "another thread" not in explain(one, look(1, SEARCH, doing="waiting for a lock", others=(library,)))


def test_a_recursion_is_named_by_the_line_that_calls_again() -> None:
    again, last = Frame("walk", VIEWS, 12), Frame("walk", VIEWS, 14)
    frames = (Frame("leaf", VIEWS, 20), last, *[again, Frame("copy", DRIVER.file, 3)] * 300, SEARCH)
    one = make_pool(busy(1, "/tree", 9.0), worker(2))
    said = explain_pool(Facts(one, DAEMON, (look(1, *frames, doing="running"),)))
    assert (
        "in shop.views.walk (shop/views.py:12) in a recursion of 301 calls for 9.0 s (pid 1, GET /tree)"
        in said.paragraph
    )
    few = tuple(Place("walk", VIEWS, 12, "") for _ in range(49))
    assert find_recursion(Sight(1, "", 1.0, "running", places=few)) is None
    assert find_recursion(Sight(1, "", 1.0, "running")) is None
    assert stack_words([Place("walk", VIEWS, 12, "")] * 9 + [Place("leaf", VIEWS, 1, "")] * 2, DIRECTORY, 1) == [
        "walk (shop/views.py:12), 9 times",
        "... 2 older calls",
    ]


def test_uploads_and_slow_clients_are_the_web_servers() -> None:
    upload, client = (
        busy(1, "/up", 9.0, state="Reading body", request_method="POST"),
        busy(2, "/down", 8.0, state="Sending"),
    )
    one = make_pool(upload, client, worker(3))
    process = ProcessStatus(1, "Running", 0, 0, 1, 1, "POST", "/up", 5 << 20, "-", "-", 0.0, 0)
    one = replace(one, status=replace(one.status, processes=(process,)))
    ours = Frame("wait", "/opt/pyfpm/lib/python3.11/site-packages/fpm/worker/socket_io.py", 155)
    boot = (Frame("<module>", "<pyfpm boot>", 138), Frame("<module>", "<string>", 1))
    looks = (look(1, SEARCH, stage="reading the request's body"), look(2, ours, *boot, stage="sending the response"))
    said = explain_pool(Facts(one, DAEMON, looks))
    assert [(one.kind, one.sentence) for one in said.findings] == [
        (
            "slow-upload",
            "1 worker is in shop.views.search (shop/views.py:41) reading the request's body of 5.0 MiB from the web "
            "server for 9.0 s (pid 1, POST /up)",
        ),
        ("slow-client", "1 worker is sending the response to the web server for 8.0 s (pid 2, GET /down)"),
    ]


def test_background_work_may_take_longer_unless_it_takes_the_workers() -> None:
    task = busy(1, "/order", 70.0, state="Finishing", task="shop.tasks.mail", task_age=59.0)
    few, many = {"max_children": 3}, {"max_children": 2}
    assert not explain_pool(Facts(make_pool(task, worker(2), **few), DAEMON)).is_trouble
    late = replace(task, task_age=61.0)
    said = explain(make_pool(late, worker(2), **few))
    assert said.startswith(
        "shop has background work that does not end: 1 of 3 workers busy, 1 of them in the background work "
        "shop.tasks.mail for 1 min 1 s (pid 1, GET /order), queue 0"
    )
    mail = Frame("mail", f"{DIRECTORY}/shop/tasks.py", 7)
    (found,) = explain_pool(
        Facts(make_pool(late, worker(2), **few), DAEMON, (look(1, mail, stage="after the response"),))
    ).findings
    assert found.sentence.startswith(
        "1 worker is in the background work shop.tasks.mail (shop/tasks.py:7) waiting for 10.0.0.5:5432 for 1 min 1 s "
    )
    assert explain_pool(Facts(make_pool(task, worker(2), **many), DAEMON)).is_trouble
    assert not explain_pool(Facts(make_pool(replace(task, task_age=4.0), worker(2), **many), DAEMON)).is_trouble


def test_without_a_look_the_slow_log_says_where_a_request_is() -> None:
    slow = SlowRequest(NOW, 1, 9.0, "GET /search", True, (f"search ({VIEWS}:41)", "what is this?", f"main ({VIEWS}:3)"))
    old = SlowRequest(NOW - 9, 2, 9.0, "GET /", False, (f"other ({VIEWS}:1)",))
    one = make_pool(busy(1, "/search", 9.0), busy(2, "/", 8.0), slow=(slow, old))
    assert "1 of them in shop.views.search (shop/views.py:41) for 9.0 s (pid 1, GET /search), " in explain(one)
    assert "1 of them for 8.0 s (pid 2, GET /)" in explain(one)
    (first, second) = make_sights(one, ())
    assert [place.line for place in first.places] == [41, 3]
    assert (second.places, second.is_live) == ((), False)


def test_few_looks_are_taken_where_they_tell_most() -> None:
    def slow(pid: int, place: str) -> SlowRequest:
        return SlowRequest(NOW, pid, 9.0, "GET /", True, (f"{place} ({VIEWS}:41)",))

    workers = [busy(pid, "/", 20.0 - pid) for pid in range(1, 7)]
    known = (slow(1, "search"), slow(2, "search"), slow(3, "search"), slow(4, "pay"), slow(5, "pay"))
    assert choose_looks(make_pool(*workers, worker(9), slow=known)) == [1, 4, 6, 2, 5, 3]
    assert choose_looks(make_pool(*workers, worker(9))) == [1, 2, 3, 4, 5, 6]


def test_workers_that_were_not_looked_at_are_where_the_others_are() -> None:
    def slow(pid: int, place: str) -> SlowRequest:
        return SlowRequest(NOW, pid, 9.0, "GET /search", True, (f"{place} ({VIEWS}:41)",))

    workers = [busy(pid, "/search", 9.0 + pid) for pid in range(1, 6)]
    one = make_pool(*workers, worker(9), slow=(slow(3, "search"), slow(4, "search"), slow(5, "other")))
    looks = [look(1, SEARCH), look(2, SEARCH, doing="running"), look(3, SEARCH)]
    found = explain_pool(Facts(one, DAEMON, tuple(looks), unseen=2)).findings
    assert [(one.kind, one.sentence.partition(" ")[0]) for one in found] == [
        ("waiting", "3"),
        ("busy", "1"),
        ("computing", "1"),
    ]
    assert found[0].sentence.endswith("waiting for 10.0.0.5:5432 for up to 13 s (pid 4, GET /search)")


def test_a_stack_that_could_not_be_taken_is_told_why() -> None:
    one = make_pool(busy(1, "/", 9.0), worker(2))
    failed = look(1, trace=Trace(1, "", error="the process has ended"))
    (finding,) = explain_pool(Facts(one, DAEMON, (failed,))).findings
    assert (finding.kind, finding.evidence) == (
        "busy",
        ("pid 1 GET /, running for 9.0 s: no stack: the process has ended",),
    )


def test_modules_are_named_by_the_path_from_the_pools_directory() -> None:
    def words(file: str, library: str = "", directory: str = DIRECTORY) -> str:
        return place_words(Place("f", file, 1, library), directory)

    assert words(VIEWS) == "shop.views.f (shop/views.py:1)"
    assert words("/srv/shop/shop/__init__.py") == "shop.f (shop/__init__.py:1)"
    assert words("/srv/shopping/a.py") == "a.f (/srv/shopping/a.py:1)"
    assert words(VIEWS, directory="") == f"views.f ({VIEWS}:1)"
    assert words(DRIVER.file, "psycopg") == f"f ({DRIVER.file}:1)"
    assert words("<string>") == "f (<string>:1)"
    assert words("") == "f (:1)"


def test_errors_and_slow_requests_of_late_are_told() -> None:
    said = explain(make_pool(worker(1), recent=recent(failures=3, errors=1, slow=2), slow_limit=1_000_000))
    assert said.startswith("shop is failing requests: 0 of 20 workers busy, queue 0, p95 99 ms in the last 5 min.")
    assert " 3 of 400 responses in the last 5 min were 5xx (1 uncaught exception). " in said
    assert said.endswith("2 requests took longer than 1.0 s in the last 5 min.")
    silent = make_pool(worker(1), recent=recent(failures=1), routes=(Route("/cart/<n>", 9, 1, 1.0, 1.0, None, 0),))
    (found,) = explain_pool(Facts(silent, DAEMON)).findings
    assert found.sentence == "1 of 400 responses in the last 5 min was 5xx"
    assert found.evidence == ("/cart/<n>: 1 of 9 requests since the start",)
    assert "no exception has reached pyfpm" in found.advice
    running = SlowRequest(NOW, 1, 9.0, "GET /", True)
    late = {"recent": recent(slow=1), "slow": (running,), "slow_limit": 1_000_000}
    kinds = [one.kind for one in explain_pool(Facts(make_pool(busy(1, "/", 9.0), worker(2), **late), DAEMON)).findings]
    assert kinds == ["busy"], "the only slow one still runs"
    assert not explain_pool(Facts(make_pool(worker(1), recent=recent(deaths=0)), DAEMON)).is_trouble


def test_requests_that_died_with_their_worker_are_told_once() -> None:
    """By the findings of their ends; a response that had begun was no 5xx; deaths that are not listed count, too."""
    lost = replace(DEATH, at=NOW - 60, request_state="running")

    def errors(count: int, *deaths: Death, **late: int) -> list[str]:
        pool = make_pool(worker(1), recent=recent(failures=count, **late), deaths=deaths)
        return [one.sentence for one in explain_pool(Facts(pool, DAEMON)).findings if one.kind == "errors"]

    of = "of 400 responses in the last 5 min were 5xx"
    assert errors(2, lost, lost, deaths=2) == []
    assert errors(2, lost, replace(lost, has_answered=True), deaths=2) == [f"2 {of} (1 by the end of the worker)"]
    assert errors(2, replace(lost, request_state="finished"), deaths=1) == [f"2 {of}"]
    assert errors(30, *[lost] * 20, deaths=30) == []
    assert errors(3, lost, deaths=1, errors=2) == [f"3 {of} (2 uncaught exceptions, 1 by the end of the worker)"]
    assert errors(2, replace(lost, at=NOW - 900)) == [f"2 {of}"]


def test_what_does_not_fit_is_counted() -> None:
    workers = [busy(pid, "/", 9.0) for pid in range(1, 7)]
    looks = [look(one.pid, Frame(f"view{one.pid}", VIEWS, one.pid), doing="running") for one in workers]
    said = explain_pool(Facts(make_pool(*workers, worker(9)), DAEMON, tuple(looks)))
    assert len(said.findings) == 6
    assert said.paragraph.endswith(" 3 more findings below.")


def test_what_applications_say_of_themselves_breaks_nothing() -> None:
    states = ("Reading body", "Sending", "Finishing", "Running", NASTY)
    workers = [busy(pid, NASTY * 9, 9.0, state=state, task=NASTY, task_age=99.0) for pid, state in enumerate(states, 1)]
    frame = Frame(NASTY, NASTY, (1 << 31) - 1)
    doings = ("running", f"in read(4 <{NASTY}>)", "waiting for a lock", f"in connect(1 <unix:{NASTY}>)", NASTY)
    looks = [
        look(one.pid, replace(frame, native=True), *[frame] * 99, doing=doing, stage=NASTY)
        for one, doing in zip(workers, doings, strict=True)
    ]
    slow = tuple(
        SlowRequest(NOW, one.pid, 9.0, NASTY, True, (NASTY, f"{NASTY} ({NASTY}:999999999)")) for one in workers
    )
    for seen in (looks, looks[:2], ()):
        facts = Facts(make_pool(*workers, slow=slow, directory=NASTY), DAEMON, tuple(seen))
        document = as_document(explain_pool(facts), facts)
        assert json.loads(json.dumps(document))["findings"]
        assert len(document["paragraph"]) < 5000


def test_the_document_has_what_programs_read() -> None:
    one = make_pool(busy(1, "/", 9.0), worker(2), recent=recent(), last_reload=int(NOW) - 60)
    facts = Facts(one, DAEMON, (look(1, SEARCH),), unseen=2)
    document = as_document(explain_pool(facts), facts)
    assert (document["pool"], document["ok"], document["active"], document["queue"]) == ("shop", False, 1, 0)
    assert (document["last_deploy"], document["looked_at"], document["not_looked_at"]) == (NOW - 60, 1, 2)
    (finding,) = document["findings"]
    assert (finding["kind"], finding["urgency"], finding["since"]) == ("waiting", "slow", NOW - 9.0)


def test_a_reload_of_other_pools_is_no_deploy() -> None:
    mark = (Mark(NOW - 480, MarkKind.DEPLOY),)
    given: dict[str, tuple[dict[str, Any], float | None]] = {
        "another pool's": ({"last_reload": NOW - 3, "generation": 1}, None),
        "before the history": ({"last_reload": NOW - 600, "generation": 2}, NOW - 600),
        "not marked yet": ({"last_reload": NOW - 3, "generation": 3, "marks": mark}, NOW - 3),
        "its own, then another's": ({"last_reload": NOW - 60, "generation": 2, "marks": mark}, NOW - 480),
    }
    for case, (values, expected) in given.items():
        facts = Facts(make_pool(worker(1), **values, recent=recent()), DAEMON)
        assert as_document(explain_pool(facts), facts)["last_deploy"] == expected, case


def test_a_pool_whose_last_minutes_nobody_tells_is_not_simply_fine() -> None:
    said = explain_pool(Facts(make_pool(worker(1), recent=None, start_time=NOW - 60), DAEMON))
    assert said.paragraph.endswith("Errors and response times of the last minutes are not known.")
    assert not said.is_trouble


def test_a_time_of_another_day_has_its_date() -> None:
    assert len(clock(NOW, NOW)) == len("13:58")
    assert len(clock(NOW - 90_000, NOW)) == len("2026-11-30 13:58")


def test_workers_at_one_place_are_one_finding_whatever_differs_in_detail() -> None:
    workers = [busy(pid, "/export", 30.0 + pid) for pid in (1, 2, 3)]
    looks = [look(pid, SEARCH, doing=f"in wait4({800 + pid})") for pid in (1, 2, 3)]
    (found, saturated) = explain_pool(
        Facts(make_pool(*workers, max_children=3, idle=0, listen_queue=4), DAEMON, tuple(looks))
    ).findings
    assert "3 workers are in shop.views.search (shop/views.py:41) waiting for a child process (process 803)" in (
        found.sentence
    )
    assert "Mend first what the workers are at" in saturated.advice


def test_more_workers_are_advised_only_where_they_help() -> None:
    workers = [busy(pid, "/", 0.2) for pid in (1, 2, 3)]
    said = explain_pool(Facts(make_pool(*workers, max_children=3, idle=0, listen_queue=4), DAEMON))
    assert "raise pm.max_children" in said.findings[-1].advice


@pytest.mark.parametrize(
    ("called", "words"),
    [
        (["threading.Condition.wait", "queue.Queue.get"], "waiting for an item of a queue"),
        (["threading.Thread._wait_for_tstate_lock", "threading.Thread.join"], "waiting for the end of a thread"),
        (["threading.Condition.wait", "wsgi.View.get"], "waiting to be notified by another thread"),
        (["cache.get"], "waiting for a lock"),
    ],
)
def test_the_call_by_which_a_thread_waits_for_another_is_told(called: list[str], words: str) -> None:
    libraries = [
        Place(function, f"/usr/lib/python3.11/{library}.py", 9, library)
        for library, _, function in (name.partition(".") for name in called)
    ]
    own = Place("search", "/srv/shop/views.py", 41, "")
    sight = Sight(1, "", 1.0, "running", doing="waiting for a lock", places=(*libraries, own))
    assert wait_of(sight).words == words
