"""Looking, limits, deaths and reloads of a pool in a jail: as without one, with the pids of the machine."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterable
from contextlib import ExitStack

import pytest

from tests.support.fpm import Daemon, Start
from tests.support.held import holding
from tests.support.inside import INSIDE, inside, namespace
from tests.support.pools import clients, end_resting, numbers, together, wait_numbers, write_app
from tests.support.reloads import reload, upgrade, version_of, write_version
from tests.support.traces import functions, traced
from tests.support.waiting import wait_until

pytestmark = pytest.mark.root

ALL = "mount pid net ipc uts user cgroup"
JAILS: dict[str, dict[str, object]] = {
    "none": {},
    "pid": {"namespaces": "pid"},
    "all": {"namespaces": ALL},
    "root": {"chroot.automount": True},
    "sealed": {"chroot.automount": True, "namespaces": ALL},
}
EACH = ("pid", "all", "root", "sealed")


def pools(jails: Iterable[str] = EACH, **settings: object) -> dict[str, dict[str, object]]:
    """A pool in each of these jails, named as it: what one daemon does for four pools costs less than for one each."""
    return {jail: {"pm.max_children": 2, **settings, **JAILS[jail]} for jail in jails}


def deployed(daemon: Start, jails: Iterable[str], name: str, source: str, **settings: object) -> Daemon:
    """Start pools with an application of the test's own."""
    fpm = daemon({"www": {}}, started=False)
    write_app(fpm, name, source)
    fpm.configure(pools(jails, app=f"{name}:application", **settings))
    return fpm


def at_once(jails: Iterable[str], check: Callable[[str], object]) -> None:
    """Check all pools at the same time: most of each check is waiting."""
    results, _ = together(len(names := list(jails)), lambda number: check(names[number]), timeout=120.0)
    assert [result for result in results if result is not None] == []


def test_stacks_and_limits(daemon: Start) -> None:
    fpm = daemon(
        pools(
            app="timeouts:application",
            slowlog="$pool.slow.log",
            request_slowlog_timeout="300ms",
            request_terminate_timeout="2s",
        )
    )
    fpm.expect_log("executing too slow", "execution timed out", "exited on signal", "has not exited on SIGTERM")

    def check(jail: str) -> None:
        here = rf"\[pool {jail}\] "
        with clients(fpm, jail, "/sleep", query="60", count=1):
            (entry,) = wait_until(lambda: [one for one in traced(fpm, jail) if "application" in functions(one)])
            assert entry["error"] is None or not entry["error"], entry
            fpm.wait_log(rf"{here}child {entry['pid']}, script .* execution timed out")
            said = fpm.wait_log(rf"{here}child (\d+), script .* execution timed out .*, terminating")
            fpm.wait_log(rf"{here}child {said[1]} exited on signal 15 \(SIGTERM\)")
        log = (fpm.directory / f"{jail}.slow.log").read_text()
        assert re.search(r"\] \w+\(\) .*timeouts.py:\d+", log), log
        assert fpm.get(jail, "/ignore", query="60").stdout == b""
        said = fpm.wait_log(
            rf"{here}child (\d+) has not exited on SIGTERM \(request_terminate_timeout\), sending SIGKILL"
        )
        fpm.wait_log(rf"{here}child {said[1]} exited on signal 9 \(SIGKILL\)")
        wait_numbers(fpm, jail, idle_processes=2)

    at_once(EACH, check)


def test_death_certificates(daemon: Start) -> None:
    fpm = daemon(pools(app="dying:application"))
    fpm.expect_log("said into stderr", "Fatal Python error", "the last words")

    def check(jail: str) -> None:
        for path, query, how in (
            ("/exit", "3", r"exited with code 3"),
            ("/segfault", "", r"exited on signal 11 \(SIGSEGV"),
            ("/abort", "", r"exited on signal 6 \(SIGABRT"),
        ):
            before = fpm.wait_workers(jail, 2)
            assert fpm.get(jail, path, query=query).stdout == b""
            line = fpm.wait_log(rf"\[pool {jail}\] child (\d+) {how}.*$")
            assert int(line[1]) in before
            assert path in line[0], line[0]
            wait_until(lambda pid=int(line[1]): pid not in fpm.workers(jail))
            assert numbers(fpm, jail)["deaths"][0]["pid"] == int(line[1])

    at_once(EACH, check)


def test_a_killed_template_takes_its_workers_along(daemon: Start) -> None:
    """It is the first process of their namespace; the next one begins at once."""
    fpm = daemon(pools(["pid", "sealed"]))
    fpm.expect_log("exited on signal 9", "in an unknown way", "failed to start", "child .* exited")
    for jail in ("pid", "sealed"):
        (template,) = fpm.processes(f"template {jail}")
        former = fpm.workers(jail)
        template.kill()
        wait_until(lambda jail=jail, former=former: len(set(fpm.workers(jail)) - set(former)) == 2)
        assert not set(former) & set(fpm.workers(jail))
        assert fpm.get(jail).status == 200
        said = fpm.wait_log(rf"template {template.pid} exited on signal 9 .*")[0]
        assert "its workers end with it (namespaces = pid), and a new template is started" in said
        assert "serve on" not in said
        wait_numbers(fpm, jail, total_processes=2)


def test_reloads(daemon: Start) -> None:
    """With a worker that is busy: it finishes in the former namespaces, where it has the pid of another one."""
    fpm = daemon({"www": {}}, started=False)
    write_version(fpm, "one")
    fpm.configure(pools(app="deployed:application", **{"reload.check": "GET /"}))
    fpm.start()
    former = {jail: set(fpm.wait_workers(jail, 2)) for jail in EACH}
    with ExitStack() as held:
        replies = {jail: held.enter_context(holding(fpm, "/?hold", pool=jail))[0] for jail in EACH}
        write_version(fpm, "two")
        command = fpm.begin("reload")
        for jail in EACH:
            wait_until(lambda jail=jail: len(fpm.processes(f"template {jail}")) == 2)
            wait_until(lambda jail=jail: fpm.get(jail).body.split()[0] == b"two")
            places = {namespace(one.pid, "mnt") for one in fpm.processes(f"template {jail}")}
            assert len(places) == 2
        for jail in EACH:
            for victim in wait_until(lambda jail=jail: set(fpm.workers(jail)) - former[jail]):
                os.kill(victim, signal.SIGKILL)
                fpm.wait_log(rf"child {victim} exited on signal 9")
    assert {reply.result().body.split()[0] for reply in replies.values()} == {b"one"}
    said, complaints = command.communicate(timeout=60)
    assert command.returncode == 0, said + complaints
    wait_until(lambda: len(fpm.processes("template ")) == len(EACH))
    write_version(fpm, "three", "raise ValueError('not this one')")
    fpm.expect_log("ERROR:   ", "reload failed, nothing has changed")
    assert fpm.cli("reload").returncode != 0
    for jail in EACH:
        assert version_of(fpm, jail) == "two"
        wait_until(lambda jail=jail: len(fpm.processes(f"template {jail}")) == 1)


def test_an_upgrade_keeps_the_jail(daemon: Start) -> None:
    """And what a worker has written to its own /tmp; the former workers serve, and one that is killed is replaced."""
    fpm = daemon(pools(**INSIDE))
    before = {jail: fpm.wait_workers(jail, 2) for jail in EACH}
    temporary = [jail for jail in EACH if "mount" in str(JAILS[jail])]
    assert temporary == ["all", "root", "sealed"]
    for jail in temporary:
        inside(fpm, jail, "open('/tmp/kept', 'w').write('x')")
    for _ in range(2):
        upgrade(fpm)
        fpm.wait_notify("READY=1")
    for jail, (victim, _) in before.items():
        assert fpm.workers(jail) == before[jail]
        kill(fpm, jail, victim)
    reload(fpm)
    for jail in EACH:
        wait_until(lambda jail=jail: not set(before[jail]) & set(fpm.wait_workers(jail, 2)))
        # Without an upgrade it is as well.
        kill(fpm, jail, fpm.workers(jail)[0])
        assert inside(fpm, jail, "answer = 1") == 1
    for jail in temporary:
        assert inside(fpm, jail, "import os; answer = os.path.exists('/tmp/kept')") is True


def kill(fpm: Daemon, pool: str, victim: int) -> None:
    """Kill a worker of two; another one takes its place."""
    fpm.expect_log(f"child {victim} exited on signal 9")
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: victim not in fpm.wait_workers(pool, 2))


BACKGROUND = """
import fpm, os, time

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    if environ["PATH_INFO"] == "/later":
        fpm.after_response(lambda: environ["wsgi.errors"].write("later\\n"))
        yield b"x"
        return
    yield b"the answer"
    fpm.finish_request()
    environ["wsgi.errors"].write("finished\\n")
"""


def test_work_after_the_response(daemon: Start) -> None:
    fpm = deployed(daemon, EACH, "background", BACKGROUND)
    fpm.start()
    for jail in EACH:
        assert fpm.get(jail).body == b"the answer"
        fpm.wait_log(rf"\[pool {jail}\] .*finished")
        assert fpm.get(jail, "/later").body == b"x"
        fpm.wait_log(rf"\[pool {jail}\] .*later")


HANGING = """
import os, time
while os.path.exists("hang"):
    time.sleep(0.02)
from hello import application
"""


@pytest.mark.parametrize("preload", ["yes", "no"])
def test_an_import_that_hangs(daemon: Start, preload: str) -> None:
    """With `preload = no` it is a worker that hangs, whose pid is known by its first message alone."""
    settings = {"preload": preload, "startup_timeout": "4s", "pm.max_children": 1}
    fpm = deployed(daemon, EACH, "hanging", HANGING, **settings)
    (fpm.apps / "hang").touch()
    fpm.expect_log(r"\[pool (pid|all|root|sealed)\]")
    fpm.expect_descriptors(anon_inode=len(EACH))  # all have failed when it is ready
    fpm.start()
    for jail in EACH:
        fpm.wait_log(rf"\[pool {jail}\] .*within 4 s \(startup_timeout\)")
        assert fpm.get(jail).status == 503
    (fpm.apps / "hang").unlink()
    for jail in EACH:
        wait_until(lambda jail=jail: fpm.get(jail).status == 200)
        wait_until(lambda jail=jail: len(fpm.processes(f"template {jail}")) == 1)
        fpm.wait_workers(jail, 1)


def test_temporary_files_stay_while_an_ondemand_pool_rests(daemon: Start) -> None:
    fpm = daemon(pools(["root", "sealed"], **INSIDE, **{"pm": "ondemand", "pm.process_idle_timeout": "1s"}))
    for jail in ("root", "sealed"):
        for place in ("/tmp", "/var/tmp", "/dev/shm"):
            inside(fpm, jail, f"open('{place}/kept', 'w').write('x')")
        end_resting(fpm, jail)
        fpm.expect_log("template .* exited", "failed to start")
        for place in ("/tmp", "/var/tmp", "/dev/shm"):
            assert inside(fpm, jail, f"answer = open('{place}/kept').read()") == "x"


FORGING = """
import os, socket
from fpm.protocol.messages import Entered, pack
from hello import application

with socket.socket(fileno=os.dup(3)) as channel:
    channel.send(pack(Entered()))
    if (child := os.fork()) == 0:
        channel.send(pack(Entered()))
        os._exit(0)
    os.waitpid(child, 0)
"""


def test_an_application_cannot_say_who_its_template_is(daemon: Start) -> None:
    """The launcher has said it, or it never changes; the end of the template is learnt in any case."""
    jails = ("none", "pid")
    fpm = deployed(daemon, jails, "forging", FORGING, **{"preload": "yes", "pm.max_children": 1})
    fpm.start()
    fpm.expect_log(r"exited on signal 9", "in an unknown way", "failed to start")
    for jail in jails:
        (template,) = fpm.processes(f"template {jail}")
        template.kill()
        wait_until(
            lambda jail=jail, former=template.pid: [
                one for one in fpm.processes(f"template {jail}") if one.pid != former
            ]
        )
        fpm.wait_workers(jail, 1)
        assert fpm.get(jail).status == 200
