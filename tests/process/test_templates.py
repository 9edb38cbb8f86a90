"""Templates: what is preloaded and what not, and what happens when a template, a worker or the master is killed."""

from __future__ import annotations

import os
import signal

import pytest

from tests.support.fpm import Daemon, Start
from tests.support.pools import clients, echo, facts, numbers, wait_numbers, wait_state, write_app
from tests.support.processes import is_zombie, lives
from tests.support.waiting import wait_until

WHERE_IMPORTED = """
import os
imported_by = os.getpid()
{more}

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{{imported_by}} {{os.getpid()}}".encode()]
"""
THREAD = "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True, name='poller').start()\n"
CONNECTION = "import socket\na, b = socket.socketpair()\n"


def template_of(fpm: Daemon, pool: str) -> int:
    """The pid of the pool's only template."""
    (template,) = fpm.templates(pool)
    return template


def imported_in(fpm: Daemon, pool: str) -> str:
    """Whether the application was imported in the template or in the worker."""
    importer, worker = map(int, fpm.get(pool).body.split())
    if importer == worker:
        return "worker"
    assert importer == template_of(fpm, pool)
    return "template"


PRELOADED = {
    "plain": ("auto", "", "template"),
    "thread": ("auto", THREAD, "worker"),
    "connection": ("auto", CONNECTION, "worker"),
    "forced": ("yes", THREAD, "template"),
    "never": ("no", "", "worker"),
}
"""preload, what else the application does when it is imported, and where that is."""
HANGING = """
import os, time
from hello import application

def wait():
    while os.path.exists("hang-fork"):
        time.sleep(0.02)

os.register_at_fork(before=wait)
"""
SLOW = {"app": "slow:application", "pm.max_children": 3}
POOLS: dict[str, dict[str, object]] = {
    **{
        name: {"app": f"app_{name}:application", "preload": preload, "pm.max_children": 3}
        for name, (preload, _, _) in PRELOADED.items()
    },
    "beheaded": SLOW,
    "victims": SLOW,
    "family": {**SLOW, "pm.max_children": 2},
    "good": {},
    "bad": {"app": "broken_import:application"},
    "poisoned": {"app": "trouble:application", "pm.max_children": 3},
    "hanging": {"app": "hanging:application", "pm.max_children": 2, "startup_timeout": "5s"},
    "demand": {"app": "slow:application", "pm": "ondemand", "pm.max_children": 8},
}


@pytest.fixture(scope="module")
def fpm(shared_daemon: Start) -> Daemon:
    """One daemon for the deaths that are the business of one pool."""
    made = shared_daemon(POOLS, started=False)
    for name, (_, more, _) in PRELOADED.items():
        write_app(made, f"app_{name}", WHERE_IMPORTED.format(more=more))
    write_app(made, "hanging", HANGING)
    # Python 3.12 and later warn when a process with threads forks; preload = yes says that it is meant.
    made.expect_log("DeprecationWarning", "os.fork", r"\[pool bad\]")
    return made.start()


def test_preload(fpm: Daemon) -> None:
    for name, (_, _, place) in PRELOADED.items():
        assert imported_in(fpm, name) == place, name
    log = fpm.log()
    assert log.count("preload = auto: not safe to fork from") == 2
    assert "[pool thread] preload = auto: not safe to fork from, 1 thread(s) alive after the import (poller)" in log
    assert "[pool connection] preload = auto: not safe to fork from, connected socket(s)" in log


def test_killed_template_leaves_its_workers_serving(fpm: Daemon) -> None:
    pool = "beheaded"
    workers = fpm.wait_workers(pool, 3)
    former = template_of(fpm, pool)
    fpm.expect_log(f"template {former} exited on signal 9")
    with clients(fpm, pool, query="0.01", count=3) as found:
        os.kill(former, signal.SIGKILL)
        wait_until(lambda: [pid for pid in fpm.templates(pool) if pid != former])
        begun = len(found.good)
        wait_until(lambda: len(found.good) > begun + 20)
    assert found.bad == []
    assert fpm.workers(pool) == workers
    # The orphans are the master's now: their ends are learnt and they are replaced by the new template.
    for pid in workers:
        fpm.expect_log(f"child {pid} exited on signal 9")
        os.kill(pid, signal.SIGKILL)
    fpm.wait_log(f"child {workers[-1]} exited on signal 9 .SIGKILL. after")
    wait_until(lambda: len(set(fpm.workers(pool)) - set(workers)) == 3)
    assert facts(fpm, pool)["generation"] == 1


def test_killed_workers_lose_only_the_request_in_hand(fpm: Daemon) -> None:
    pool = "victims"
    fpm.expect_log(r"child \d+ exited on signal 9")
    killed = 6
    with clients(fpm, pool, query="0.02", count=4) as found:
        for _ in range(killed):
            count = len(found.good)
            victim = wait_until(lambda: fpm.workers(pool))[0]
            os.kill(victim, signal.SIGKILL)
            wait_until(lambda victim=victim: victim not in fpm.workers(pool))
            wait_until(lambda count=count: len(found.good) > count + 3)
        fpm.wait_workers(pool, 3)
    # The one in hand, and a connection whose request had not arrived when the worker accepted the next one.
    assert len(found.bad) <= 2 * killed
    served = len(found.good)
    assert served <= wait_numbers(fpm, pool, idle_processes=3)["accepted conn"] <= served + len(found.bad)


def test_workers_and_templates_killed_together(fpm: Daemon) -> None:
    pool = "family"
    fpm.expect_log("exited on signal 9", "in an unknown way")
    with clients(fpm, "good", count=1) as found:
        family = [template_of(fpm, pool), *fpm.workers(pool)]
        for pid in family:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: len(set(fpm.workers(pool)) - set(family)) == 2)
        assert fpm.get(pool, query="0").status == 200
    assert found.bad == []
    wait_until(lambda: not [p for p in fpm.processes() if is_zombie(p)])
    wait_numbers(fpm, pool, total_processes=2)


def test_template_killed_while_it_imports(daemon: Start) -> None:
    fpm = daemon({"www": {"app": "waiting:application"}}, started=False)
    write_app(
        fpm,
        "waiting",
        """
        import os, time
        while not os.path.exists("go"):
            time.sleep(0.01)
        from hello import application
        """,
    )
    fpm.start(ready=False)
    wait_until(lambda: fpm.templates("www"))
    fpm.expect_log(r"\[pool www\] failed to start: its template exited on signal 9")
    os.kill(template_of(fpm, "www"), signal.SIGKILL)
    fpm.wait_ready()
    assert fpm.get("www").status == 503
    (fpm.apps / "go").touch()
    wait_until(lambda: fpm.get("www").status == 200)


def test_a_template_that_ends_at_its_first_fork_has_not_started(daemon: Start) -> None:
    """It has said that it is ready; the daemon is ready for the other pools all the same."""
    fpm = daemon({"www": {"app": "unforkable:application", "pm.max_children": 2}, "good": {}}, started=False)
    write_app(
        fpm,
        "unforkable",
        """
        import os
        if not os.path.exists("go"):
            os.register_at_fork(before=lambda: os._exit(3))
        from hello import application
        """,
    )
    fpm.expect_log(r"\[pool www\] failed to start: its template exited with code 3 before it had forked a worker")
    fpm.start()
    assert fpm.get("good").status == 200
    assert fpm.get("www").status == 503
    assert facts(fpm, "www")["state"] == "failed"
    assert facts(fpm, "www")["error"] == "its template exited with code 3 before it had forked a worker"
    (fpm.apps / "go").touch()
    wait_until(lambda: fpm.get("www").status == 200)
    wait_state(fpm, "www", "running")
    assert len(fpm.wait_workers("www", 2)) == 2


def test_killed_responder_comes_back(fpm: Daemon) -> None:
    pool = "bad"
    assert fpm.get(pool).status == 503
    # The pauses between the tries for the application must not be those for the answer.
    fpm.wait_log(r"\[pool bad\] .*next try in 4 s")
    (responder,) = fpm.processes("unavailable bad")
    os.kill(responder.pid, signal.SIGKILL)
    fpm.wait_log("the 503 responder exited on signal 9")
    assert fpm.get(pool).status == 503


def test_nobody_outlives_a_killed_master(daemon: Start) -> None:
    pools = {
        "www": {"app": "slow:application", "pm.max_children": 3},
        "broken": {"app": "broken_import:application"},
        "ondemand": {"app": "slow:application", "pm": "ondemand", "pm.process_idle_timeout": "1h"},
    }
    fpm = daemon(pools, started=False)
    fpm.expect_log(r"\[pool broken\]")
    fpm.start()
    assert fpm.get("ondemand", query="0").status == 200
    family = fpm.processes("pyfpm")
    assert len(family) >= 1 + 3 + 1 + 2
    with clients(fpm, "www", query="0.3", count=2) as found:
        wait_numbers(fpm, "www", active_processes=2)
        fpm.signal(signal.SIGKILL)
        # The requests in hand are finished.
        wait_until(lambda: len(found.good) >= 2)
        found.stopped.set()
    wait_until(lambda: not any(map(lives, family)), message="they outlive their master")
    assert fpm.wait() == -signal.SIGKILL
    for path in fpm.directory.glob("*.sock"):
        path.unlink()
    fpm.pid_file.unlink()
    fpm.forget()


def test_emergency_restart_is_the_pools_alone(daemon: Start) -> None:
    pools = {"www": {"app": "poison:application", "pm.max_children": 2}, "good": {"app": "echo:application"}}
    fpm = daemon(pools, global_={"emergency_restart_threshold": 3, "emergency_restart_interval": "1m"}, started=False)
    write_app(
        fpm,
        "poison",
        """
        import ctypes

        def application(environ, start_response):
            if environ["QUERY_STRING"] == "die":
                ctypes.string_at(0)
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [b"alive"]
        """,
    )
    fpm.expect_log("exited on signal 11", "failed processes threshold", "said into stderr")
    fpm.start()
    good_worker, good_template = echo(fpm, "good")["pid"], template_of(fpm, "good")
    former = template_of(fpm, "www")
    for number in range(1, 4):
        reply = fpm.get("www", query="die")
        assert reply.stdout == b""
        wait_until(lambda number=number: fpm.log().count("exited on signal 11 (SIGSEGV") == number)
        assert fpm.get("www").status == 200
    fpm.wait_log(r"\[pool www\] failed processes threshold \(3 in 60 sec\) is reached, restarting the template")
    wait_until(lambda: former not in fpm.templates("www"))
    assert facts(fpm, "www")["generation"] == 2
    assert fpm.get("www").body == b"alive"
    assert facts(fpm, "good")["generation"] == 1
    assert (echo(fpm, "good")["pid"], template_of(fpm, "good")) == (good_worker, good_template)


def test_poison_loses_only_its_own_requests(fpm: Daemon) -> None:
    pool = "poisoned"
    fpm.expect_log(r"child \d+ exited on signal 9")
    with clients(fpm, pool, "/", count=1) as found:
        for _ in range(5):
            assert fpm.get(pool, "/kill").stdout == b""
            count = len(found.good)
            wait_until(lambda count=count: len(found.good) > count)
    assert found.bad == []
    fpm.wait_workers(pool, 3)
    assert numbers(fpm, pool)["accepted conn"] >= len(found.good) + 5


def test_template_that_hangs_in_fork_is_replaced(fpm: Daemon) -> None:
    pool = "hanging"
    former, workers = template_of(fpm, pool), fpm.wait_workers(pool, 2)
    (fpm.apps / "hang-fork").touch()
    fpm.expect_log("exited on signal 9", "failed to start")
    os.kill(workers[0], signal.SIGKILL)
    fpm.wait_log(r"its template has not forked a worker within 5 s \(startup_timeout\)")
    assert fpm.get(pool).status == 200
    (fpm.apps / "hang-fork").unlink()
    wait_until(lambda: len(set(fpm.workers(pool)) - {workers[0]}) == 2)
    assert template_of(fpm, pool) != former
    wait_numbers(fpm, pool, idle_processes=2)


def test_worker_that_hangs_before_it_serves(daemon: Start) -> None:
    patient = {"startup_timeout": "0"}  # no limit, neither for the import of a template nor for that of a worker
    pools = {"good": patient, "late": patient | {"preload": "no"}}
    fpm = daemon({"www": {"app": "hanging:application", "startup_timeout": "5s"}, **pools}, started=False)
    write_app(
        fpm,
        "hanging",
        """
        import os, time
        import fpm
        from hello import application

        @fpm.postfork
        def wait():
            while os.path.exists("hang"):
                time.sleep(0.02)
        """,
    )
    (fpm.apps / "hang").touch()
    fpm.expect_log(r"\[pool www\]")
    fpm.start()
    fpm.wait_log(r"its worker was not ready within 5 s \(startup_timeout\)")
    assert [fpm.get(name).status for name in ("www", *pools)] == [503, 200, 200]
    (fpm.apps / "hang").unlink()
    wait_until(lambda: fpm.get("www").status == 200)


def test_forks_asked_of_a_dying_template_are_made_by_the_next(fpm: Daemon) -> None:
    pool = "demand"
    assert fpm.get(pool, query="0").status == 200
    former = template_of(fpm, pool)
    fpm.expect_log(f"template {former} exited on signal 9")
    os.kill(former, signal.SIGSTOP)
    with clients(fpm, pool, query="0.3", count=5) as found:
        # One works, the others are still to be forked.
        wait_until(lambda: numbers(fpm, pool)["active processes"] >= 3)
        os.kill(former, signal.SIGKILL)
        wait_until(lambda: len(fpm.workers(pool)) >= 4)
    assert found.bad == []
