"""Into the background: what the caller of `pyfpm start` sees, with real processes."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.waiting import wait_until

START = "import os, signal, sys\nfrom fpm.system.daemonize import daemonize\nreport = daemonize()\n"


def start(code: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", START + code], stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def run(code: str) -> tuple[int, str, str]:
    process = start(code)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_parent_leaves_with_0_when_ready(tmp_path: Path) -> None:
    facts = tmp_path / "facts"
    code = (
        "print('nobody reads this')\n"
        "report.ready()\n"
        "report.failed(70, 'too late')\n"
        "links = [os.readlink(f'/proc/self/fd/{fd}') for fd in (0, 1)]\n"
        f"open({str(facts)!r} + '.new', 'w').write(f'{{os.getpid()}} {{os.getsid(0)}} {{links}}')\n"
        f"os.rename({str(facts)!r} + '.new', {str(facts)!r})\n"
    )
    assert run(code) == (0, "", "")
    wait_until(facts.exists, message="the daemon has written nothing")
    pid, session, links = facts.read_text().split(" ", 2)
    assert pid == session
    assert links == "['/dev/null', '/dev/null']"


def test_failure_is_told_with_its_status() -> None:
    status, out, err = run("report.failed(78, 'line 1: no such directive\\nline 2: also ä\\n')")
    assert (status, out, err) == (78, "", "line 1: no such directive\nline 2: also ä\n")


def test_long_failure_does_not_hang() -> None:
    status, _, err = run("report.failed(70, 'x' * 1000000)")
    assert status == 70
    assert len(err) > 60000


@pytest.mark.parametrize(
    ("end", "words"),
    [
        ("os._exit(3)", "the daemon exited with code 3 before it was ready"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "killed by signal 9 (SIGKILL) before it was ready"),
    ],
)
def test_daemon_that_dies_is_reported(end: str, words: str) -> None:
    status, _, err = run(end)
    assert status == 70
    assert words in err


def test_errors_before_the_report_are_seen() -> None:
    status, _, err = run("raise SystemError('early')")
    assert status == 70
    assert "SystemError: early" in err


def test_interrupted_parent_stops_the_start() -> None:
    process = start(
        "signal.signal(signal.SIGTERM, lambda *_: (report.failed(1, 'stopped'), os._exit(1)))\n"
        "sys.stderr.write('waiting\\n'); sys.stderr.flush()\nimport time\n[time.sleep(0.05) for _ in range(200)]\n"
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "waiting\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (1, "stopped\n")


def test_parent_that_is_gone_does_not_stop_the_daemon(tmp_path: Path) -> None:
    done = tmp_path / "done"
    process = start(
        "import select\n"
        "parent = os.getppid()\n"
        "sys.stderr.write('up\\n'); sys.stderr.flush()\n"
        "while os.getppid() == parent: select.select([], [], [], 0.01)\n"
        f"report.ready(); open({str(done)!r}, 'w').close()\n"
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "up\n"
    process.kill()
    process.communicate(timeout=60)
    wait_until(done.exists, message="the daemon has died with its parent")
    assert process.returncode == -signal.SIGKILL
