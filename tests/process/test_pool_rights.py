"""What the processes of a pool can do to others, and who can come to them: as little as can be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.fpm import Start
from tests.support.pools import wait_state, write_app
from tests.support.processes import status_of

SEALED = """
import json, mmap, os

def attempts(fd):
    size = os.fstat(fd).st_size
    yield "write", lambda: os.pwrite(fd, b"x", 0)
    yield "append", lambda: os.pwrite(fd, b"x", size)
    yield "cut", lambda: os.ftruncate(fd, 1)
    yield "grow", lambda: os.ftruncate(fd, size + 1)
    yield "map", lambda: mmap.mmap(fd, size)
    yield "open", lambda: os.pwrite(os.open(f"/proc/self/fd/{fd}", os.O_RDWR), b"x", 0)

def application(environ, start_response):
    done = {}
    for fd in range(3, 64):
        try:
            name = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            continue
        if name.startswith(("/memfd:pyfpm-spec", "/memfd:pyfpm-bundle")):
            done[name.split()[0]] = found = []
            for what, attempt in attempts(fd):
                try:
                    attempt()
                    found.append(what)
                except OSError:
                    pass
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(done).encode()]
"""


def test_what_is_executed_with_more_rights_cannot_be_written(daemon: Start) -> None:
    """The bundle is the code of every launcher, which is root; the specification says as which user it goes on."""
    fpm = daemon({"www": {"app": "sealed:application"}}, started=False)
    write_app(fpm, "sealed", SEALED)
    fpm.start()
    assert json.loads(fpm.get("www").body) == {"/memfd:pyfpm-spec": [], "/memfd:pyfpm-bundle": []}


@pytest.mark.root
def test_the_503_responder_has_less_rights_than_its_pool(daemon: Start) -> None:
    """It runs code of ours alone, so what is granted to the application is not granted to it."""
    pool = {"app": "broken_import:application", "process.dumpable": True, "no_new_privs": False}
    fpm = daemon({"www": pool}, started=False)
    fpm.expect_log(r"\[pool www\]")
    fpm.start(environ={"SECRET": "of the master"})
    wait_state(fpm, "www", "failed")
    assert fpm.get("www").status == 503
    (responder,) = fpm.processes("unavailable www")
    status = status_of(responder.pid)
    assert status["NoNewPrivs"] == "1"
    assert status["Uid"].split() == ["65534"] * 4
    assert set(status["CapEff"]) == {"0"}
    # Of a process that is not dumpable the files in /proc belong to root (PR_SET_DUMPABLE, prctl(2)).
    environ = Path(f"/proc/{responder.pid}/environ")
    assert environ.stat().st_uid == 0
    assert environ.read_bytes() == b""


CHECKED = """
import os

def status(pid):
    return dict(line.split(":", 1) for line in open(f"/proc/{pid}/status").read().splitlines())

def application(environ, start_response):
    found = []
    master = status(os.getppid())["PPid"]  # others check beside this one
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            lines = status(pid)
            if b"fpm.client.check" in open(f"/proc/{pid}/cmdline", "rb").read() and lines["PPid"] == master:
                found.append([set(lines[key].split()) for key in ("Uid", "Gid", "Groups", "NoNewPrivs")])
        except OSError:
            pass
    right = found == [[{str(os.getuid())}, {str(os.getgid())}, set(), {"1"}]]
    start_response("200 OK" if right else "500 Wrong", [])
    return [b""]
"""


@pytest.mark.root
def test_the_check_of_a_reload_has_no_rights(daemon: Start) -> None:
    """It reads what a worker answers, and whoever answers may be hostile."""
    fpm = daemon({"www": {}}, started=False)
    fpm.configure({"www": {"app": "checked:application", "reload.check": "GET /"}})
    write_app(fpm, "checked", CHECKED)
    fpm.start()
    done = fpm.cli("reload", "www")
    assert done.returncode == 0, done.stderr
