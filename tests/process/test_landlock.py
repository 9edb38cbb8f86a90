"""`landlock`: what a real pool reaches of the file system, as a user and in a chroot; and that all else goes on."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fpm.config.local_abilities import look as look_at
from tests.process.test_master_user import owned, run_as
from tests.process.test_seccomp import USUAL
from tests.support.fpm import IS_ROOT, POOL_USER, Daemon, Start
from tests.support.pools import facts, wait_state, write_app
from tests.support.reloads import reload
from tests.support.traces import functions, look

KERNEL = look_at(is_root=IS_ROOT)
VERSION = KERNEL.landlock
pytestmark = pytest.mark.skipif(not VERSION, reason=KERNEL.missing.get("landlock", ""))

TRY = """
import json, os, shutil, signal, socket, subprocess

def attempt(what, path):
    try:
        if what == "read":
            open(path, "rb").close()
        elif what == "list":
            os.listdir(path)
        elif what == "write":
            with open(path, "ab") as file:
                file.write(b"x")
        elif what == "cut":
            os.truncate(path, 0)
        elif what == "make":
            os.mkdir(path)
            os.rmdir(path)
        elif what == "link":
            os.symlink("x", path)
            os.unlink(path)
        elif what == "move":
            os.rename(path, path + ".moved")
            os.rename(path + ".moved", path)
        elif what == "remove":
            os.unlink(path)
        elif what == "run":
            subprocess.run([path], check=True, capture_output=True)
        elif what == "cat":
            subprocess.run(["/bin/cat", path], check=True, capture_output=True)
        elif what == "signal":
            os.kill(int(path), 0)
        elif what == "abstract":
            with socket.socket(socket.AF_UNIX) as one:
                one.connect(chr(0) + path)
        elif what == "connect":
            with socket.socket(socket.AF_UNIX) as one:
                one.connect(path)
        return "done"
    except OSError as error:
        return os.strerror(error.errno)
    except subprocess.CalledProcessError as error:
        return error.stderr.decode().strip().rpartition(": ")[2]

def application(environ, start_response):
    answer = [attempt(*one) for one in json.loads(environ["QUERY_STRING"])]
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(answer).encode()]
"""
DENIED = "Permission denied"


def attempts(fpm: Daemon, pool: str, *asked: tuple[str, object]) -> list[str]:
    """What a worker gets when it tries."""
    query = json.dumps([(what, str(path)) for what, path in asked], separators=(",", ":"))
    reply = fpm.get(pool, query=query)
    assert reply.status == 200, reply
    found: list[str] = json.loads(reply.body)
    return found


def prepare(fpm: Daemon) -> tuple[Path, Path, Path]:
    """Three directories that everybody may write by their modes: for reading, for writing, outside. Not below /tmp."""
    write_app(fpm, "trying", TRY)
    top = Path("/var/lib") / f"pyfpm-test-{os.getpid()}" if IS_ROOT else Path.home() / f"pyfpm-test-{os.getpid()}"
    shutil.rmtree(top, ignore_errors=True)
    made = top / "read", top / "write", top / "outside"
    for directory in (top, *made):
        directory.mkdir()
        directory.chmod(0o777)
        if directory is not top:
            (directory / "file").write_text("text")
            (directory / "file").chmod(0o777)
            shutil.copy("/bin/true", directory / "program")
            (directory / "program").chmod(0o777)
    return made


@pytest.fixture
def places(request: pytest.FixtureRequest) -> Any:
    made: list[Path] = []

    def make(fpm: Daemon) -> tuple[Path, Path, Path]:
        found = prepare(fpm)
        made.append(found[0].parent)
        return found

    yield make
    for top in made:
        shutil.rmtree(top, ignore_errors=True)


def rules(read: Path, write: Path) -> Mapping[str, object]:
    return {"app": "trying:application", "landlock": f"read {read} write {write}"}


def test_only_what_is_allowed_is_reached(daemon: Start, places: Any) -> None:
    fpm = daemon({"www": {}}, started=False)
    read, write, outside = places(fpm)
    fpm.configure({"www": rules(read, write), "free": {"app": "trying:application"}})
    fpm.start()
    changes = ("write", "cut", "move", "remove")
    everything = [("read", "file"), ("list", ""), ("run", "program"), ("cat", "file"), ("make", "new"), ("link", "new")]
    everything += [(what, "file") for what in changes]
    assert attempts(fpm, "free", *[(what, outside / name) for what, name in everything[:-1]]) == ["done"] * 9
    (outside / "file").write_text("text")
    assert attempts(fpm, "www", *[(what, outside / name) for what, name in everything]) == [DENIED] * 10
    assert (outside / "file").read_text() == "text"
    assert attempts(fpm, "www", *[(what, read / name) for what, name in everything[:4]]) == ["done"] * 4
    assert attempts(fpm, "www", *[(what, read / name) for what, name in everything[4:]]) == [DENIED] * 6
    assert attempts(fpm, "www", *[(what, write / name) for what, name in everything]) == ["done"] * 10
    assert attempts(fpm, "www", ("list", "/"), ("list", "/root"), ("read", "/etc/passwd")) == [DENIED, DENIED, "done"]
    assert attempts(fpm, "www", ("read", fpm.apps / "hello.py")) == ["done"]
    if IS_ROOT:  # else they are the pool's user's own, in /tmp
        assert attempts(fpm, "www", ("write", fpm.apps / "hello.py")) == [DENIED]
    # Neither a link nor /proc leads out.
    (write / "out").symlink_to(outside)
    ways = [write / "out" / "file", f"/proc/self/root{outside}/file", f"/proc/self/cwd/../../../../{outside}/file"]
    assert attempts(fpm, "www", *[("read", path) for path in ways]) == [DENIED] * 3


def test_a_process_sees_signals_and_abstract_sockets_of_its_own_pool_only(daemon: Start, places: Any) -> None:
    fpm = daemon({"www": {}}, started=False)
    read, write, outside = places(fpm)
    fpm.configure({"www": rules(read, write), "free": {"app": "trying:application"}})
    fpm.start()
    with socket.socket(socket.AF_UNIX) as abstract, socket.socket(socket.AF_UNIX) as named:
        abstract.bind(f"\0pyfpm-test-{os.getpid()}")
        abstract.listen()
        named.bind(str(outside / "socket"))
        named.listen()
        (outside / "socket").chmod(0o777)
        asked = [("abstract", f"pyfpm-test-{os.getpid()}"), ("signal", fpm.workers("free")[0])]
        assert attempts(fpm, "free", *asked) == ["done"] * 2
        assert attempts(fpm, "www", *asked) == (["Operation not permitted"] * 2 if VERSION >= 6 else ["done"] * 2)
        (template,) = fpm.processes("template www")
        own = [("signal", fpm.workers("www")[0]), ("signal", template.pid), ("connect", outside / "socket")]
        assert attempts(fpm, "www", *own) == ["done"] * 3


def test_what_applications_do_goes_on(daemon: Start) -> None:
    usual = {"app": "usual:application", "landlock": "read /usr"}
    pools = {seccomp: {**usual, "seccomp": seccomp} for seccomp in ("off", "strict")}
    fpm = daemon(pools, started=False)
    write_app(fpm, "usual", USUAL)
    fpm.start()
    for pool in pools:
        done = json.loads(fpm.get(pool).body)
        assert {name: said for name, said in done.items() if said != "works"} == {}, pool


@pytest.mark.root
def test_paths_are_those_of_the_jail(daemon: Start, places: Any) -> None:
    fpm = daemon({"www": {}}, started=False)
    read, _, _ = places(fpm)
    (read / "app").mkdir()
    (read / "app" / "trying.py").write_text(TRY)
    chroot = {"app": "trying:application", "chroot": read, "chroot.automount": True, "chdir": "/app"}
    if "jail" in KERNEL.missing:
        pytest.skip(KERNEL.missing["jail"])
    fpm.configure({"www": {**chroot, "pythonpath": "/", "landlock": "read /program"}})
    fpm.start()
    asked = [("read", "/app/trying.py"), ("read", "/file"), ("run", "/program"), ("make", "/tmp/x"), ("list", "/usr")]
    assert attempts(fpm, "www", *asked) == ["done", DENIED, "done", "done", "done"]


def test_slow_requests_are_looked_at_and_the_hot_path_is_compiled(daemon: Start) -> None:
    pools = {
        "www": {"app": "held:application", "landlock": "read /usr", "seccomp": "strict"},
        "late": {"landlock": "read /usr", "preload": "no"},
        "free": {},
    }
    fpm = daemon(pools)
    entry = look(fpm, "/nap", place="nap")
    assert entry["how"] == "ptrace"
    assert "nap" in functions(entry)
    assert fpm.get("late").status == 200
    assert len({fpm.figures(pool)["hot path"] for pool in pools}) == 1
    reload(fpm)
    assert fpm.get("late").status == 200


@pytest.mark.root
def test_a_daemon_of_a_user_can_do_it_too(daemon: Start, places: Any) -> None:
    fpm = daemon({"www": {}}, started=False)
    read, write, outside = places(fpm)
    fpm.configure({"www": {**rules(read, write), "user": None}})
    owned(fpm)
    os.chmod(fpm.directory / "notify", 0o666)
    fpm.start(wrapper=run_as(POOL_USER))
    assert attempts(fpm, "www", ("read", outside / "file"), ("write", read / "file")) == [DENIED] * 2
    assert attempts(fpm, "www", ("read", read / "file"), ("write", write / "file")) == ["done"] * 2


def test_a_path_that_is_not_there_is_named(daemon: Start, places: Any) -> None:
    fpm = daemon({"www": {}}, started=False)
    read, write, _ = places(fpm)
    fpm.configure({"www": rules(read, write), "bad": rules(read, write / "gone")})
    tested = fpm.cli("test")
    assert tested.returncode == 78
    assert f"[bad] landlock: there is no '{write}/gone' ({write}/gone is missing)" in tested.stderr
    # It may be gone between the check and the start of a template.
    (write / "gone").mkdir()
    fpm.configure({"www": rules(read, write), "bad": {**rules(read, write / "gone"), "pm": "ondemand"}})
    fpm.expect_log(r"\[pool bad\]")
    fpm.start()
    (write / "gone").rmdir()
    assert fpm.get("bad").status == 503
    failed = wait_state(fpm, "bad", "failed")
    assert failed["error"] == f"cannot apply landlock = write {write}/gone: No such file or directory"
    assert facts(fpm, "www")["state"] == "running"


def test_it_needs_no_new_privs(daemon: Start) -> None:
    fpm = daemon({"www": {"landlock": "read /srv", "no_new_privs": False}}, started=False)
    tested = fpm.cli("test")
    assert tested.returncode == 78
    assert "[www] landlock: needs no_new_privs = yes" in tested.stderr
