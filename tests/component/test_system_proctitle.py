"""Process titles of real processes, as ps and /proc show them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

START = "import os, sys\nfrom fpm.system.proctitle import set_title\n"
WAIT = "\nsys.stdout.write('up\\n'); sys.stdout.flush(); sys.stdin.read()\n"


@pytest.fixture
def run() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Run Python code and wait until it has said that it is up."""
    running: list[subprocess.Popen[str]] = []

    def start(code: str, *arguments: str, environ: dict[str, str] | None = None) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", START + code + WAIT, *arguments]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environ)
        running.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        return process

    yield start
    for process in running:
        process.communicate(timeout=60)
        assert process.returncode == 0


def title(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode()


def name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().rstrip("\n")


def test_title_and_name(run: Callable[..., subprocess.Popen[str]]) -> None:
    process = run("set_title('pyfpm: pool www')")
    assert title(process.pid) == "pyfpm: pool www"
    assert name(process.pid) == "pyfpm"
    shown = subprocess.run(["ps", "-o", "args=", "-p", str(process.pid)], capture_output=True, text=True, check=True)
    assert shown.stdout.rstrip() == "pyfpm: pool www"


def test_a_later_title_replaces_a_longer_one(run: Callable[..., subprocess.Popen[str]]) -> None:
    process = run("set_title('pyfpm: template a-long-name'); set_title('pyfpm: pool b')")
    assert title(process.pid) == "pyfpm: pool b"


def test_long_title_keeps_the_environment(run: Callable[..., subprocess.Popen[str]]) -> None:
    long = "pyfpm: master process (" + "/a" * 400 + ")"
    code = (
        f"set_title({long!r})\nimport subprocess\n"
        "assert os.environ['KEPT'] == 'value', os.environ\n"
        "shown = subprocess.run(['/usr/bin/env'], capture_output=True, text=True, check=True).stdout.splitlines()\n"
        "assert 'KEPT=value' in shown and 'ANOTHER=x' + 'y' * 900 in shown, shown\n"
    )
    process = run(code, environ={"KEPT": "value", "ANOTHER": "x" + "y" * 900})
    assert title(process.pid) == long


def test_title_that_fits_nowhere_is_cut(run: Callable[..., subprocess.Popen[str]]) -> None:
    process = run("set_title('pyfpm: ' + 'z' * 100000); set_title('pyfpm: ' + 'z' * 100000)", environ={})
    assert title(process.pid).startswith("pyfpm: zzz")


def test_forked_process_has_its_own(run: Callable[..., subprocess.Popen[str]]) -> None:
    code = (
        "set_title('pyfpm: template www')\n"
        "pid = os.fork()\n"
        "if not pid:\n"
        "    set_title('pyfpm: pool www')\n"
        "    shown = open('/proc/self/cmdline').read().rstrip('\\0')\n"
        "    os._exit(0 if shown == 'pyfpm: pool www' else 1)\n"
        "assert os.waitpid(pid, 0)[1] == 0\n"
    )
    process = run(code)
    assert title(process.pid) == "pyfpm: template www"


def test_control_characters_and_any_text(run: Callable[..., subprocess.Popen[str]]) -> None:
    process = run("set_title('pyfpm: \\udc80 ä \\0 b')")
    assert title(process.pid) == "pyfpm: \\udc80 ä   b"


@pytest.mark.parametrize("arguments", [(), ("with", "more arguments", "ä")])
@pytest.mark.root
def test_without_proc(run: Callable[..., subprocess.Popen[str]], tmp_path: Path, arguments: tuple[str, ...]) -> None:
    code = (
        "import ctypes\n"  # as in a chroot that has an interpreter, but no /proc
        f"os.chroot({str(tmp_path)!r}); os.chdir('/')\n"
        "set_title('pyfpm: pool jailed')\n"
    )
    process = run(code, *arguments)
    assert title(process.pid) == "pyfpm: pool jailed"
    assert name(process.pid) == "pyfpm"


@pytest.mark.root
def test_without_proc_and_ctypes_nothing_breaks(run: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    process = run(f"sys.modules['ctypes'] = None; os.chroot({str(tmp_path)!r}); set_title('pyfpm: pool x')")
    assert title(process.pid).startswith(sys.executable)


@pytest.mark.root
def test_a_process_that_may_not_be_dumped_still_gets_its_title(run: Callable[..., subprocess.Popen[str]]) -> None:
    code = "import ctypes\nctypes.CDLL(None).prctl(4, 0)\nos.setuid(65534)\nset_title('pyfpm: pool secret')\n"
    process = run(code)
    assert title(process.pid) == "pyfpm: pool secret"
    assert name(process.pid) == "pyfpm"


def test_ctypes_is_not_loaded_for_it(run: Callable[..., subprocess.Popen[str]]) -> None:
    run("set_title('pyfpm: pool www'); assert 'ctypes' not in sys.modules, os.getpid()")
