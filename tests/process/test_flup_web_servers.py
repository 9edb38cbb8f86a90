"""A .fcgi script of flup's, with one import changed, started by lighttpd and by Apache's mod_fcgid."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from tests.support.processes import is_zombie
from tests.support.starting_servers import APACHE_MODULES, IS_ROOT, WEB_USER, StartingServer, find_program
from tests.support.waiting import wait_until

needs_lighttpd = pytest.mark.skipif(find_program("lighttpd") is None, reason="lighttpd is not installed")
needs_apache = pytest.mark.skipif(
    find_program("apache2") is None or not (APACHE_MODULES / "mod_fcgid.so").exists(),
    reason="Apache or its mod_fcgid is not installed",
)
UPLOAD = os.urandom(3_000_000)


@pytest.fixture
def starting_server() -> Iterator[Callable[[str], StartingServer]]:
    running: list[StartingServer] = []

    def start(server: str) -> StartingServer:
        running.append(StartingServer(server))
        return running[-1]

    yield start
    for server in running:
        family = server.family()
        server.finish()
        wait_gone(family)


def wait_gone(family: list[psutil.Process]) -> None:
    """Wait until they have ended; the web server may leave their zombies for some seconds."""
    wait_until(
        lambda: not [one for one in family if one.is_running() and not is_zombie(one)],
        message=f"left behind: {family}",
    )


def check_answers(server: StartingServer, *, at_once: int) -> psutil.Process:
    """All kinds of requests; returns the script's own process."""
    shown = json.loads(server.request("GET", "/some/thing?a=b%20c", headers={"X-Colour": "blue"}).body)
    assert (shown["PATH_INFO"], shown["QUERY_STRING"]) == ("/some/thing", "a=b%20c"), shown
    assert (shown["SCRIPT_NAME"], shown["HTTP_X_COLOUR"]) == ("", "blue"), shown
    uploaded = server.request("POST", "/upload", body=UPLOAD)
    assert (uploaded.status, uploaded.body.decode()) == (201, hashlib.sha256(UPLOAD).hexdigest())
    assert server.request("GET", "/missing").status == 404
    who = json.loads(server.request("GET", "/who").body)
    assert who["variables"] == {"COLOUR": "red", "PYTHONPATH": str(server.directory / "lib")}
    assert (who["multithread"], who["multiprocess"], who["main"]) == (False, True, "__main__")
    assert server.request("GET", "/say").status == 200
    wait_until(lambda: "said by the application" in server.log(), message=server.log())
    with ThreadPoolExecutor(at_once) as pool:
        replies = list(pool.map(lambda _: server.request("GET", "/slow?0.05"), range(at_once)))
    assert {(reply.status, reply.body) for reply in replies} == {(200, b"slept")}
    worker = psutil.Process(who["pid"])
    if IS_ROOT:
        assert {one.username() for one in [worker, *worker.parents()[:3]]} == {WEB_USER}
    assert "NOTICE" not in server.log().replace(":notice]", ""), server.log()
    # worker, template, master, script
    return worker.parents()[2]


@needs_lighttpd
def test_lighttpd_starts_it_by_bin_path(starting_server: Callable[[str], StartingServer]) -> None:
    server = starting_server("lighttpd")
    script = check_answers(server, at_once=20)
    family = [script, *script.children(recursive=True)]
    script.terminate()
    wait_gone(family)
    wait_until(lambda: "run() returned False" in server.log(), message=server.log())
    # lighttpd starts it again. Killed, it leaves nothing behind.
    reply = wait_until(
        lambda: (found := server.request("GET", "/who")).status == 200 and found, every=0.2, message=server.log()
    )
    who = reply.body
    script = psutil.Process(json.loads(who)["pid"]).parents()[2]
    family = [script, *script.children(recursive=True)]
    assert len(family) >= 4
    script.kill()
    wait_gone(family)


@needs_apache
def test_apache_starts_it_by_mod_fcgid(starting_server: Callable[[str], StartingServer]) -> None:
    server = starting_server("apache2")
    # It gives each script one request at a time, and lets the others wait for whole seconds.
    script = check_answers(server, at_once=3)
    family = [script, *script.children(recursive=True)]
    # As mod_fcgid does when the script has been idle for long.
    script.terminate()
    wait_gone(family)
    assert server.request("GET", "/").status == 200
    wait_until(lambda: "run() returned False" in server.log(), message=server.log())
