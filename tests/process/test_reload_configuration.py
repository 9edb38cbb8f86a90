"""Reloads of configurations that are wrong, and `reload.check`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.fpm import Start
from tests.support.pools import facts, write_app
from tests.support.processes import descendants
from tests.support.reloads import (
    expect_told,
    last_reload,
    refused,
    refused_by_command,
    reload,
    reload_by_command,
    version_of,
    write_version,
)
from tests.support.traces import traced
from tests.support.waiting import wait_until


def replace_by_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def remove_rights(path: Path) -> None:
    path.unlink()
    path.symlink_to("/proc/1/mem")  # not even root can read from its beginning


BAD_FILES = {
    "empty": (lambda path: path.write_bytes(b""), "no pool"),
    "directory": (replace_by_directory, "directory"),
    "missing": (lambda path: path.unlink(), "No such file"),
    "unreadable": (remove_rights, ""),
    "huge": (lambda path: path.write_bytes(b"; padding\n" * 3_000_000), ""),
    "binary": (lambda path: path.write_bytes(bytes(range(256)) * 50), ""),
    "no text": (lambda path: path.write_bytes(b"[www]\napp = \xff\xfe\n"), ""),
    "torn": (lambda path: path.write_text(path.read_text()[:-40]), ""),
}


def test_a_file_that_is_none(daemon: Start) -> None:
    fpm = daemon({"www": {"app": "hello:application"}})
    workers = fpm.workers("www")
    whole = fpm.config_file.read_text()
    for kind, (spoil, words) in BAD_FILES.items():
        spoil(fpm.config_file)
        with fpm.no_descriptor_leak():
            said = refused(fpm, status=78)
            assert words.lower() in said.lower(), f"{kind}: {said}"
            assert "pyfpm.conf" in said, f"{kind}: {said}"
        assert fpm.workers("www") == workers, kind
        assert fpm.get("www").status == 200, kind
        last = last_reload(fpm)
        assert last is not None
        assert not last["ok"], kind
        if kind == "torn":
            # The command reads the file itself to find the control socket, so the master is asked by a copy of it.
            copy = fpm.directory / "copy.conf"
            copy.write_text(whole)
            assert "pyfpm.conf" in refused_by_command(fpm, status=78, config=copy)
        remove(fpm.config_file)
        fpm.config_file.write_text(whole)
        reload(fpm, changed=True)


def remove(path: Path) -> None:
    """Whatever it is."""
    if path.is_dir():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


def test_mistakes_and_addresses_are_told_with_file_and_line(daemon: Start) -> None:
    pools = {"www": {"app": "hello:application"}, "other": {}}
    fpm = daemon(pools)
    pids = [fpm.workers(name) for name in pools]
    fpm.configure({"www": {"app": "hello:application", "pm.max_childen": 3}, "other": {"pm": "statik"}})
    lines = fpm.config_file.read_text().splitlines()
    first = next(number for number, line in enumerate(lines, 1) if "max_childen" in line)
    second = next(number for number, line in enumerate(lines, 1) if "statik" in line)
    said = refused_by_command(fpm, status=78)
    assert f"pyfpm.conf:{first}: [www] pm.max_childen: " in said
    assert "Did you mean 'pm.max_children'?" in said
    assert f"pyfpm.conf:{second}: [other] pm: " in said
    assert f"pyfpm.conf:{first}" in fpm.log()
    assert f"pyfpm.conf:{first}" in last_reload(fpm)["reason"]
    dry = fpm.cli("reload", "--dry-run")
    assert dry.returncode == 78
    assert f"pyfpm.conf:{first}" in dry.stderr
    assert [fpm.workers(name) for name in pools] == pids

    fpm.configure({**pools, "new": {"listen": fpm.directory / "nowhere" / "new.sock"}})
    said = refused(fpm, status=78)
    assert "[new] listen: the directory" in said
    assert "nowhere' does not exist" in said
    fpm.configure({**pools, "www": {"listen": fpm.config_file}, "new": {}})
    with fpm.no_descriptor_leak():
        assert "is not a socket" in refused(fpm, status=78)
    assert not (fpm.directory / "new.sock").exists()
    assert [fpm.workers(name) for name in pools] == pids
    assert fpm.config_file.exists()


def test_a_pool_that_does_not_exist(daemon: Start) -> None:
    fpm = daemon({"www": {}, "shop": {}})
    there_are = "there is no pool 'wwww'; there are: shop, www"
    assert there_are in refused(fpm, "www", "wwww")
    assert there_are in refused_by_command(fpm, "wwww")
    for command, arguments in (("reload", {"pools": ["wwww"], "dry_run": True}), ("rollback", {"pool": "wwww"})):
        done = fpm.ask(command, **arguments)
        assert (done["ok"], done["status"], done["complaints"]) == (False, 1, [there_are])
    expect_told(fpm, there_are)
    assert last_reload(fpm) is None, "no deploy has failed"
    for command in ("status", "top", "trace", "ping", "request"):
        done = fpm.cli(command, "wwww", *(["/"] if command == "request" else []))
        assert done.returncode == 1
        assert "wwww" in done.stderr


CHECKED = """
import time
VERSION = {version!r}

def application(environ, start_response):
    if environ["PATH_INFO"] == "/healthz":
        {health}
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [VERSION.encode()]
"""
FINE = "pass"
WRONG = {
    "status": (
        "start_response('503 Not now', []); return [b'']",
        "reload.check GET /healthz: answered 503, expected 200",
    ),
    "crash": ("raise ValueError('not ready')", "reload.check GET /healthz: answered 500, expected 200"),
    "exit": ("import os; os._exit(4)", "reload.check GET /healthz"),  # its client or the template is first to say it
    "hang": ("time.sleep(30)", "reload.check GET /healthz"),
    "nonsense": ("start_response('200 OK', []); return 7", "reload.check GET /healthz"),
}


def test_a_check_that_fails(daemon: Start) -> None:
    settings: dict[str, object] = {"app": "checked:application", "pm.max_children": 2}
    settings["reload.check"] = "GET /healthz 200 20s"
    patience = {"process_control_timeout": "1s"}
    fpm = daemon({"www": settings}, started=False, global_=patience)
    write_app(fpm, "checked", CHECKED.format(version="1", health=FINE))
    fpm.start()
    workers = fpm.wait_workers("www", 2)
    fpm.expect_log("exited with code 4", "has not exited in time", "exited on signal 15", r"ERROR: \[pool www\] ")
    for kind, (health, words) in WRONG.items():
        if kind == "hang":
            traced(fpm, "www", idle=True)  # its worker is looked at when it is ended; the tracer runs from now on
        family = {process.pid for process in descendants(fpm.pid)}
        limit = "1s" if kind == "hang" else "20s"
        fpm.configure({"www": {**settings, "reload.check": f"GET /healthz 200 {limit}"}}, global_=patience)
        write_app(fpm, "checked", CHECKED.format(version="2", health=health))
        with fpm.no_descriptor_leak():
            said = refused(fpm)
            assert words in said, f"{kind}: {said}"
            wait_until(lambda: fpm.workers("www") == workers)
            wait_until(
                lambda family=family: {process.pid for process in descendants(fpm.pid)} <= family,
                message=lambda kind=kind: f"{kind}: processes left over: {fpm.processes()}",
            )
        assert fpm.workers("www") == workers, kind
        assert {fpm.get("www").body for _ in range(4)} == {b"1"}, kind
    assert "pool www: checking GET /healthz" in refused_by_command(fpm, "--verbose")
    write_app(fpm, "checked", CHECKED.format(version="3", health=FINE))
    reload(fpm)
    assert fpm.get("www").body == b"3"
    # The check may want another status.
    fpm.configure({"www": {**settings, "reload.check": "HEAD /healthz 204 20s"}}, global_=patience)
    health = "start_response('204 No Content', []); return []"
    write_app(fpm, "checked", CHECKED.format(version="4", health=health))
    said = reload_by_command(fpm)
    assert "pool www: checking HEAD /healthz" in said
    assert "pool www: checked" in said
    assert fpm.get("www").body == b"4"


def test_a_pool_that_is_broken_at_the_start_is_mended_by_a_reload(daemon: Start) -> None:
    fpm = daemon({"good": {}, "bad": {"app": "deployed:application"}}, started=False)
    fpm.expect_log(r"\[pool bad\]")
    write_version(fpm, 1, "1/0")
    fpm.start()
    workers = fpm.workers("good")
    assert fpm.get("good").status == 200
    assert fpm.get("bad").status == 503
    assert facts(fpm, "bad")["state"] == "failed"
    done = fpm.cli("status")
    assert done.returncode == 1
    assert "pool bad has failed: " in done.stderr
    assert "(failed pools: bad)" in fpm.log()
    write_version(fpm, 2)
    reload(fpm, "bad")
    assert version_of(fpm, "bad") == "2"
    wait_until(lambda: facts(fpm, "bad")["state"] == "running")
    assert fpm.workers("good") == workers
    wait_until(lambda: not fpm.processes("unavailable bad"))


@pytest.mark.parametrize("command", ["run", "start"])
def test_strict_start_refuses(daemon: Start, command: str) -> None:
    fpm = daemon(
        {"good": {}, "bad": {"app": "broken_import:application"}},
        started=False,
        global_={"error_log": "error.log"},
    )
    fpm.expect_log(r"\[pool bad\]", "started with --strict, and these pools have failed: bad")
    done = fpm.cli(command, "--strict")
    assert done.returncode == 70, done
    if command == "start":
        assert "not started, these pools have failed: bad" in done.stderr
    assert "No module named" in fpm.log() or "broken" in fpm.log()
    assert not [path for path in fpm.directory.iterdir() if path.is_socket() and path.name != "notify"]
    assert not fpm.pid_file.exists()


def test_background_start_tells_of_a_broken_pool(daemon: Start) -> None:
    pools = {"good": {}, "bad": {"app": "broken_import:application"}}
    fpm = daemon(pools, started=False, global_={"error_log": "error.log"})
    fpm.expect_log(r"\[pool bad\]")
    done = fpm.start_background()
    assert done.returncode == 1
    assert "started, but these pools have failed (see the log): bad" in done.stderr
    assert fpm.get("good").status == 200
    assert fpm.get("bad").status == 503
