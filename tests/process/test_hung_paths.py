"""A pool whose directory lies on a file system that does not answer: the master does, and its other pools change."""

from __future__ import annotations

import re
from functools import partial

import psutil
import pytest

from fpm.protocol.spec import FD_LISTEN
from tests.support.fpm import Start, title_of
from tests.support.hung import hung
from tests.support.pools import facts, wait_state, write_app
from tests.support.reloads import reload
from tests.support.waiting import hold_for, side_by_side, wait_until

pytestmark = pytest.mark.root
SHUTS = """
import os, socket, threading

while not os.path.exists({go!r}):
    threading.Event().wait(0.01)

def application(environ, start_response):
    if environ["PATH_INFO"] == "/shut":
        socket.socket(fileno=os.dup({fd})).shutdown(socket.SHUT_RDWR)
    start_response("200 OK", [])
    return [b""]
"""


USES: dict[str, dict[str, str]] = {
    "chdir": {"chdir": "SITE"},
    "source": {"mount[]": "bind SITE /mnt"},
    "target": {"mount[]": "tmpfs SITE"},
    "landlock": {"landlock": "read SITE"},
}
"""Pools, and what each of them does with a directory that will not answer."""


def test_a_dead_file_system_holds_up_its_own_pool(daemon: Start) -> None:
    """A daemon for each use: one looks at one path after the other, and waits at each that hangs."""
    side_by_side(*(partial(holds_up_its_own_pool, daemon, use) for use in USES))


def holds_up_its_own_pool(daemon: Start, use: str) -> None:
    fpm = daemon({}, started=False)
    site = fpm.directory / "site"
    site.mkdir(mode=0o755)
    uses = {name: text.replace("SITE", str(site)) for name, text in USES[use].items()}
    fpm.configure({"good": {}, "dead": {"pythonpath": fpm.apps, **uses}})
    fpm.expect_log(r"does not answer", r"pool dead is left as it is", r"\[pool dead\]")
    fpm.start()
    pools = ("good", "dead")
    before = {pool: facts(fpm, pool)["generation"] for pool in pools}
    with hung(site):
        reload(fpm, "good")
        fpm.wait_log(f"the file system of {site} does not answer")
        fpm.cli("reload", "--no-wait", timeout=60)
        hold_for(lambda: {fpm.get(pool).status for pool in pools} == {200}, 1.0)
        after = {pool: facts(fpm, pool)["generation"] for pool in pools}
        assert after["good"] > before["good"]
        assert after["dead"] == before["dead"]
    reload(fpm, "dead")
    assert facts(fpm, "dead")["generation"] > before["dead"]


def test_a_socket_that_is_replaced_does_not_end_a_reload(daemon: Start) -> None:
    """The pool's own new generation is wanted while a reload waits for a file system, and must not take its place."""
    fpm = daemon({"www": {}, "dead": {}}, started=False)
    site, go = fpm.directory / "site", fpm.apps / "go"
    site.mkdir(mode=0o755)
    go.touch()
    fpm.configure({"www": {"app": "shuts:application"}, "dead": {"chdir": site, "pythonpath": fpm.apps}})
    write_app(fpm, "shuts", SHUTS.format(go=str(go), fd=FD_LISTEN))
    fpm.expect_log(r"does not answer", r"has shut down the listening socket")
    fpm.start()
    with hung(site):
        go.unlink()
        command = fpm.begin("reload", "www")
        wait_until(lambda: any(re.search("path.looker", title_of(one)) for one in psutil.Process(fpm.pid).children()))
        assert fpm.get("www", "/shut").status == 200
        wait_until(lambda: len(fpm.processes("template www")) == 2)
        hold_for(lambda: command.poll() is None, 1.5)
    go.touch()
    out, error = command.communicate(timeout=60)
    assert command.returncode == 0, out + error
    wait_until(lambda: fpm.get("www").status == 200)
    wait_state(fpm, "www", "running")
