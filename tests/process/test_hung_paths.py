"""A pool whose directory lies on a file system that does not answer: the master does, and its other pools change."""

from __future__ import annotations

import psutil
import pytest

from fpm.protocol.spec import FD_LISTEN
from tests.support.fpm import Start, title_of
from tests.support.hung import hung
from tests.support.pools import facts, wait_state, write_app
from tests.support.waiting import hold_for, wait_until

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
    "a source of mount[]": {"mount[]": "bind SITE /mnt"},
    "a target of mount[]": {"mount[]": "tmpfs SITE"},
    "landlock": {"landlock": "read SITE"},
}


@pytest.mark.parametrize("use", USES)
def test_a_dead_file_system_holds_up_its_own_pool(daemon: Start, use: str) -> None:
    fpm = daemon({"www": {}, "good": {}}, started=False)
    site = fpm.directory / "site"
    site.mkdir(mode=0o755)
    uses = {name: text.replace("SITE", str(site)) for name, text in USES[use].items()}
    fpm.configure({"www": {"pythonpath": fpm.apps, **uses}, "good": {}})
    fpm.expect_log(r"does not answer", r"pool www is left as it is", r"\[pool www\]")
    fpm.start()
    generations = {name: facts(fpm, name)["generation"] for name in ("www", "good")}
    with hung(site):
        done = fpm.cli("reload", "good", timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        fpm.wait_log(f"the file system of {site} does not answer")
        fpm.cli("reload", "--no-wait", timeout=60)
        hold_for(lambda: fpm.get("good").status == fpm.get("www").status == 200, 1.0)
        assert facts(fpm, "good")["generation"] > generations["good"]
        assert facts(fpm, "www")["generation"] == generations["www"]
    done = fpm.cli("reload", "www", timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert facts(fpm, "www")["generation"] > generations["www"]


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
        reload = fpm.begin("reload", "www")
        wait_until(lambda: any("path_looker" in title_of(one) for one in psutil.Process(fpm.pid).children()))
        assert fpm.get("www", "/shut").status == 200
        wait_until(lambda: len(fpm.processes("template www")) == 2)
        hold_for(lambda: reload.poll() is None, 1.5)
    go.touch()
    out, error = reload.communicate(timeout=60)
    assert reload.returncode == 0, out + error
    wait_until(lambda: fpm.get("www").status == 200)
    wait_state(fpm, "www", "running")
