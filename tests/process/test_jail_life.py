"""Looking, limits, deaths and reloads of a pool in a jail: as without one, with the pids of the machine."""

from __future__ import annotations

import os
import re
import signal

import pytest

from tests.support.fpm import Daemon, Start
from tests.support.held import holding
from tests.support.inside import INSIDE, inside, namespace
from tests.support.pools import clients, numbers, wait_numbers, write_app
from tests.support.reloads import version_of, write_version
from tests.support.traces import functions, traced
from tests.support.waiting import wait_until

pytestmark = pytest.mark.root

ALL = "mount pid net ipc uts user cgroup"
JAILS: dict[str, dict[str, object]] = {
    "pid": {"namespaces": "pid"},
    "all": {"namespaces": ALL},
    "root": {"chroot.automount": True},
    "sealed": {"chroot.automount": True, "namespaces": ALL},
}
in_each_jail = pytest.mark.parametrize("jail", JAILS)


def start(daemon: Start, jail: str, **settings: object) -> Daemon:
    """Start one pool, `www`, in a jail."""
    return daemon({"www": {"pm.max_children": 2, **JAILS[jail], **settings}})


@in_each_jail
def test_stacks_and_limits(daemon: Start, jail: str) -> None:
    fpm = start(
        daemon,
        jail,
        app="timeouts:application",
        slowlog="slow.log",
        request_slowlog_timeout="300ms",
        request_terminate_timeout="2s",
    )
    fpm.expect_log("executing too slow", "execution timed out", "exited on signal", "has not exited on SIGTERM")
    with clients(fpm, "www", "/sleep", query="60", count=1):
        (entry,) = wait_until(lambda: [one for one in traced(fpm, "www") if "application" in functions(one)])
        assert entry["pid"] in fpm.workers("www")
        assert entry["error"] is None or not entry["error"], entry
        said = fpm.wait_log(r"child (\d+), script .* execution timed out .*, terminating")
        fpm.wait_log(rf"child {said[1]} exited on signal 15 \(SIGTERM\)")
    log = (fpm.directory / "slow.log").read_text()
    assert re.search(r"\] \w+\(\) .*timeouts.py:\d+", log), log
    assert fpm.get("www", "/ignore", query="60").stdout == b""
    said = fpm.wait_log(r"child (\d+) has not exited on SIGTERM \(request_terminate_timeout\), sending SIGKILL")
    fpm.wait_log(rf"child {said[1]} exited on signal 9 \(SIGKILL\)")
    wait_numbers(fpm, "www", idle_processes=2)


@in_each_jail
def test_death_certificates(daemon: Start, jail: str) -> None:
    fpm = start(daemon, jail, app="dying:application")
    for path, query, how in (
        ("/exit", "3", r"exited with code 3"),
        ("/segfault", "", r"exited on signal 11 \(SIGSEGV"),
        ("/abort", "", r"exited on signal 6 \(SIGABRT"),
    ):
        before = fpm.wait_workers("www", 2)
        fpm.expect_log("said into stderr", "Fatal Python error", "the last words")
        assert fpm.get("www", path, query=query).stdout == b""
        line = fpm.wait_log(rf"\[pool www\] child (\d+) {how}.*$")
        assert int(line[1]) in before
        assert path in line[0], line[0]
        wait_until(lambda pid=int(line[1]): pid not in fpm.workers("www"))
        assert numbers(fpm, "www")["deaths"][0]["pid"] == int(line[1])


@in_each_jail
def test_a_killed_worker_is_replaced(daemon: Start, jail: str) -> None:
    fpm = start(daemon, jail)
    victim = fpm.workers("www")[0]
    fpm.expect_log(f"child {victim} exited on signal 9")
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: victim not in fpm.wait_workers("www", 2))
    assert fpm.get("www").status == 200


@pytest.mark.parametrize("jail", ["pid", "sealed"])
def test_a_killed_template_takes_its_workers_along(daemon: Start, jail: str) -> None:
    """It is the first process of their namespace; the next one begins at once."""
    fpm = start(daemon, jail)
    (template,) = fpm.processes("template www")
    former = fpm.workers("www")
    fpm.expect_log("exited on signal 9", "in an unknown way", "failed to start", "child .* exited")
    template.kill()
    wait_until(lambda: len(set(fpm.workers("www")) - set(former)) == 2)
    assert not set(former) & set(fpm.workers("www"))
    assert fpm.get("www").status == 200
    said = fpm.wait_log(rf"template {template.pid} exited on signal 9 .*")[0]
    assert "its workers end with it (namespaces = pid), and a new template is started" in said
    assert "serve on" not in said
    wait_numbers(fpm, "www", total_processes=2)


@in_each_jail
def test_reloads(daemon: Start, jail: str) -> None:
    """With a worker that is busy: it finishes, in the former generation's namespaces."""
    fpm = daemon({"www": {}}, started=False)
    write_version(fpm, "one")
    pool = {"app": "deployed:application", "pm.max_children": 2, "reload.check": "GET /", **JAILS[jail]}
    fpm.configure({"www": pool})
    fpm.start()
    with holding(fpm, "/?hold") as replies:
        write_version(fpm, "two")
        command = fpm.begin("reload", "www")
        wait_until(lambda: len(fpm.processes("template www")) == 2)
        wait_until(lambda: fpm.get("www").body.split()[0] == b"two")
        places = {namespace(one.pid, "mnt") for one in fpm.processes("template www")}
        assert len(places) == 2
    assert replies[0].result().body.split()[0] == b"one"
    said, complaints = command.communicate(timeout=60)
    assert command.returncode == 0, said + complaints
    wait_until(lambda: len(fpm.processes("template www")) == 1)
    write_version(fpm, "three", "raise ValueError('not this one')")
    fpm.expect_log("ERROR:   ", "reload failed, nothing has changed")
    assert fpm.cli("reload").returncode != 0
    assert version_of(fpm, "www") == "two"
    assert len(fpm.processes("template www")) == 1


@in_each_jail
def test_an_upgrade_keeps_the_jail(daemon: Start, jail: str) -> None:
    fpm = start(daemon, jail, **INSIDE)
    before = fpm.wait_workers("www", 2)
    temporary = "mount" in str(JAILS[jail]) or "automount" in str(JAILS[jail])
    inside(fpm, "www", "open('/tmp/kept', 'w').write('x')") if temporary else None
    for _ in range(2):
        assert fpm.cli("upgrade").returncode == 0
        fpm.wait_notify("READY=1")
    assert fpm.workers("www") == before
    victim = before[0]
    fpm.expect_log(f"child {victim} exited on signal 9")
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: victim not in fpm.wait_workers("www", 2))
    assert fpm.cli("reload").returncode == 0
    wait_until(lambda: not set(before) & set(fpm.wait_workers("www", 2)))
    if temporary:
        assert inside(fpm, "www", "import os; answer = os.path.exists('/tmp/kept')") is True


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


@in_each_jail
def test_work_after_the_response(daemon: Start, jail: str) -> None:
    fpm = daemon({"www": {}}, started=False)
    write_app(fpm, "background", BACKGROUND)
    fpm.configure({"www": {"app": "background:application", **JAILS[jail]}})
    fpm.start()
    assert fpm.get("www").body == b"the answer"
    fpm.wait_log("finished")
    assert fpm.get("www", "/later").body == b"x"
    fpm.wait_log("later")


@in_each_jail
@pytest.mark.parametrize("preload", ["yes", "no"])
def test_an_import_that_hangs(daemon: Start, jail: str, preload: str) -> None:
    """With `preload = no` it is a worker that hangs, whose pid is known by its first message alone."""
    fpm = daemon({"www": {}}, started=False)
    write_app(
        fpm,
        "hanging",
        """
        import os, time
        while os.path.exists("hang"):
            time.sleep(0.02)
        from hello import application
        """,
    )
    (fpm.apps / "hang").touch()
    settings = {"app": "hanging:application", "preload": preload, "startup_timeout": "1s", **JAILS[jail]}
    fpm.configure({"www": settings})
    fpm.expect_log(r"\[pool www\]")
    fpm.start()
    fpm.wait_log(r"within 1 s \(startup_timeout\)")
    assert fpm.get("www").status == 503
    (fpm.apps / "hang").unlink()
    wait_until(lambda: fpm.get("www").status == 200)
    wait_until(lambda: len(fpm.processes("template www")) == 1)
    assert len(fpm.workers("www")) == 1


@pytest.mark.parametrize("jail", ["root", "sealed"])
def test_temporary_files_stay_while_an_ondemand_pool_rests(daemon: Start, jail: str) -> None:
    settings = {"pm": "ondemand", "pm.process_idle_timeout": "1s", **INSIDE}
    fpm = start(daemon, jail, **settings)
    for place in ("/tmp", "/var/tmp", "/dev/shm"):
        inside(fpm, "www", f"open('{place}/kept', 'w').write('x')")
    wait_until(lambda: not fpm.workers("www"))
    for template in fpm.processes("template www"):
        template.terminate()  # as it does by itself when the pool has rested for long
    wait_until(lambda: not fpm.processes("template www"))
    fpm.expect_log("template .* exited", "failed to start")
    for place in ("/tmp", "/var/tmp", "/dev/shm"):
        assert inside(fpm, "www", f"answer = open('{place}/kept').read()") == "x"


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


@pytest.mark.parametrize("jail", ["none", "pid"])
def test_an_application_cannot_say_who_its_template_is(daemon: Start, jail: str) -> None:
    """The launcher has said it, or it never changes; the end of the template is learnt in any case."""
    fpm = daemon({"www": {}}, started=False)
    write_app(fpm, "forging", FORGING)
    fpm.configure({"www": {"app": "forging:application", "preload": "yes", **JAILS.get(jail, {})}})
    fpm.start()
    (template,) = fpm.processes("template www")
    fpm.expect_log(r"exited on signal 9", "in an unknown way", "failed to start")
    template.kill()
    wait_until(lambda: [one for one in fpm.processes("template www") if one.pid != template.pid])
    fpm.wait_workers("www", 1)
    assert fpm.get("www").status == 200
