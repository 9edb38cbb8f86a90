"""Reloads to code that cannot be imported, in every way that we could think of: nothing changes anywhere."""

from __future__ import annotations

import re
import time

from tests.support.fpm import Start
from tests.support.held import release
from tests.support.pools import facts
from tests.support.processes import descendants
from tests.support.reloads import (
    expect_told,
    last_reload,
    refused,
    refused_by_command,
    reload,
    version_of,
    write_version,
)
from tests.support.waiting import wait_until

HANG = """
def wait_for_ever():
    while True:
        time.sleep(0.01)
wait_for_ever()
"""
DEAF = "import signal\nfor number in (15, 3, 2): signal.signal(number, signal.SIG_IGN)\n" + HANG
BROKEN = {
    "exception": ("1/0", "ZeroDivisionError: division by zero"),
    "syntax": ("def broken(:", "SyntaxError"),
    "missing": ("import nowhere_at_all", "No module named 'nowhere_at_all'"),
    "hang": (HANG, "was not imported within 3 s (startup_timeout)"),
    "deaf": (DEAF, "was not imported within 3 s (startup_timeout)"),
    "sys.exit": ("import sys; sys.exit(0)", "called sys.exit(0) while it was imported"),
    "os._exit": ("os._exit(0)", "its template exited with code 0"),
    "kill": ("os.kill(os.getpid(), 9)", "its template exited on signal 9 (SIGKILL)"),
    "segv": ("os.kill(os.getpid(), 11)", "its template exited on signal 11 (SIGSEGV"),
    "fork": ("os.fork()\n1/0", "ZeroDivisionError: division by zero"),
    "descriptors": ("os.closerange(0, 256)\n1/0", "its template exited"),
    "megabytes": ("print('x' * 3_000_000)\nfor n in range(20000): print(n)\n1/0", "ZeroDivisionError"),
    "recursion": ("def f(): f()\nf()", "RecursionError"),
    "interrupt": ("raise KeyboardInterrupt", "KeyboardInterrupt"),
}


def test_broken_code_changes_nothing(daemon: Start) -> None:
    """One daemon withstands all kinds, one after the other."""
    fpm = daemon(pools_for("none"), started=False)
    write_version(fpm, 1)
    write_version(fpm, 1, name="other")
    fpm.start()
    workers = {name: fpm.workers(name) for name in ("good", "www")}
    family = {process.pid for process in descendants(fpm.pid)}
    write_version(fpm, 2, name="other")
    fpm.expect_log("said into", "dropped", "not read in time")
    before = time.time()
    for kind, (more, words) in BROKEN.items():
        write_version(fpm, 2, more)
        fpm.configure(pools_for(kind))
        with fpm.no_descriptor_leak():
            said = refused(fpm)
            assert words in said, f"{kind}: {said}"
            assert said.startswith("pool www: "), f"{kind}: {said}"
            wait_until(
                lambda: {process.pid for process in descendants(fpm.pid)} <= family,
                message=lambda kind=kind: f"{kind}: processes left over: {fpm.processes()}",
            )
        assert {name: fpm.workers(name) for name in workers} == workers, kind
        assert [version_of(fpm, name) for name in workers] == ["1", "1"], kind
        last = last_reload(fpm)
        assert last is not None
        assert not last["ok"], kind
        assert words in last["reason"], f"{kind}: {last}"
        assert before - 1 < last["at"] < time.time() + 1
        before = last["at"]
    assert f"last reload:          failed, {time.strftime('%d/')}" in fpm.cli("status", "--format", "text").stdout
    assert fpm.log().count("reload failed, nothing has changed: pool www: ") == len(BROKEN)


def pools_for(kind: str) -> dict[str, dict[str, object]]:
    """Two pools of which only the second one is broken; who hangs is waited for."""
    limit = "3s" if kind in ("hang", "deaf") else "60s"
    www = {"app": "deployed:application", "pm.max_children": 2, "startup_timeout": limit}
    return {"good": {"app": "other:application"}, "www": www}


def test_the_message_shows_where(daemon: Start) -> None:
    fpm = daemon(pools_for("none"), started=False)
    write_version(fpm, 1)
    write_version(fpm, 1, name="other")
    fpm.start()
    family = {process.pid for process in descendants(fpm.pid)}
    write_version(fpm, 2, "def compute():\n    return 1/0\ncompute()")
    said = refused_by_command(fpm)
    assert "pyfpm: pool www: ZeroDivisionError" in said
    assert said.rstrip().endswith("pyfpm: reload failed, nothing has changed")
    assert "deployed.py" in said
    assert "in compute" in said
    assert not re.search("fpm/(template|worker)", said), "frames of pyfpm itself tell nothing"
    write_version(fpm, 3, HANG)
    fpm.configure(pools_for("hang"))
    fpm.expect_log("said into")
    said = refused(fpm)
    assert "in wait_for_ever" in said, "the stack of the import that hangs"
    assert "in wait_for_ever" in fpm.log()
    assert "not checked within 0.5 s" in refused_by_command(fpm, "--timeout", "0.5"), "of the whole reload"
    wait_until(lambda: {process.pid for process in descendants(fpm.pid)} <= family)
    assert version_of(fpm, "www") == "1"
    write_version(fpm, 4)
    fpm.configure(pools_for("none"))
    reload(fpm)
    assert version_of(fpm, "www") == "4"
    last = last_reload(fpm)
    assert last is not None
    assert last["ok"]


def test_the_new_code_serves_nothing_before_the_commit(daemon: Start) -> None:
    pools = {
        "a": {"app": "deployed:application", "pm.max_children": 2},
        "b": {"app": "late:application"},
    }
    fpm = daemon(pools, started=False)
    write_version(fpm, 1)
    write_version(fpm, 1, name="late")
    fpm.start()
    write_version(fpm, 2)
    write_version(fpm, 2, "while os.path.exists('hold'): time.sleep(0.01)\n1/0", name="late")
    (fpm.apps / "hold").touch()
    answers = []
    process = fpm.begin("reload", "--verbose")
    wait_until(lambda: len(fpm.workers("a")) == 3, message="the worker of the proof")
    while process.poll() is None:
        answers.append(version_of(fpm, "a"))
        if len(answers) == 30:
            release(fpm)
    said = process.communicate()[1]
    assert process.returncode == 1, said
    expect_told(fpm, said)
    assert len(answers) > 20
    assert set(answers) == {"1"}
    assert "pool a: checked" in said
    fpm.wait_workers("a", 2)
    assert facts(fpm, "a")["generation"] == 1


def test_a_worker_that_cannot_start(daemon: Start) -> None:
    """With preload = no it is the worker that imports."""
    www = {"app": "deployed:application", "preload": "no"}
    fpm = daemon({"www": www}, started=False)
    write_version(fpm, 1)
    fpm.start()
    workers = fpm.workers("www")
    fpm.expect_log("said into", "exited on signal", "exited with code 70")
    for more, words in (
        ("1/0", "ZeroDivisionError"),
        ("os._exit(3)", "its first worker exited with code 3"),
        (HANG, "its worker was not ready within 3 s (startup_timeout)"),
        ("os.kill(os.getpid(), 9)", "its first worker exited on signal 9"),
    ):
        fpm.expect_log("exited with code 3")
        write_version(fpm, 2, more)
        fpm.configure({"www": {**www, "startup_timeout": "3s"} if more is HANG else www})
        said = refused(fpm)
        assert words in said, said
        assert ("in wait_for_ever" in said) is (more is HANG)
        assert fpm.wait_workers("www", 1) == workers
    assert "in wait_for_ever" in fpm.log()
    write_version(fpm, 3)
    reload(fpm)
    assert version_of(fpm, "www") == "3"
