"""The compiled hot path in pools: which one is in force, who says so, and that plain Python serves without it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

import fpm as package
from fpm.worker import hot_path
from tests.support.directories import opened_directory
from tests.support.fpm import Daemon, Start
from tests.support.interpreter import pool_python
from tests.support.jail import build_jail
from tests.support.waiting import wait_until

BUILT = hot_path.load()[0] is not None
needs_binary = pytest.mark.skipif(not BUILT, reason=f"the compiled part is not here: {hot_path.load()[1]}")
STATUS = {"pm.status_path": "/status"}


def in_force(fpm: Daemon, pool: str) -> str:
    """What the status says; the same in each place."""
    word = fpm.figures(pool)["hot path"]
    assert json.loads(fpm.get(pool, "/status", query="json&full").body)["hot path"] == word
    assert f"hot path:             {word}\n" in fpm.get(pool, "/status").body.decode()
    assert f"<hot-path>{word}</hot-path>" in fpm.get(pool, "/status", query="xml").body.decode()
    assert f"<tr><th>hot path</th><td>{word}</td></tr>" in fpm.get(pool, "/status", query="html").body.decode()
    assert f"hot path:             {word}\n" in fpm.cli("status", pool, "--format", "text").stdout
    return str(word)


def said(fpm: Daemon) -> list[str]:
    return [line for line in fpm.log().splitlines() if "hot path" in line]


@needs_binary
def test_compiled_is_not_worth_a_word_in_the_log_nor_is_python_that_was_asked_for(daemon: Start) -> None:
    pools: dict[str, dict[str, object]] = {
        "yes": {"preload": "yes", **STATUS},
        "no": {"preload": "no", **STATUS},
        "asked": {"hotpath": "no", **STATUS},
    }
    fpm = daemon(pools)
    words = {"yes": "compiled", "no": "compiled", "asked": "python"}
    assert {pool: fpm.get(pool).status for pool in pools} == dict.fromkeys(pools, 200)
    assert {pool: in_force(fpm, pool) for pool in pools} == words
    assert fpm.cli("upgrade").returncode == 0
    assert {pool: in_force(fpm, pool) for pool in pools} == words
    assert said(fpm) == []
    fpm.configure({**pools, "asked": {"hotpath": "yes", **STATUS}})
    assert fpm.cli("reload", "asked").returncode == 0
    wait_until(lambda: fpm.figures("asked")["hot path"] == "compiled")
    wait_until(lambda: fpm.get("asked").status == 200)
    assert in_force(fpm, "asked") == "compiled"


def other_installation(directory: Path) -> None:
    """Make a program that starts a pyfpm of its own in place of the one named after it."""
    venv = directory / "other"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True, timeout=60)
    (packages,) = venv.glob("lib/python3.*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    shutil.copytree(Path(package.__file__).parent, packages / "fpm")
    program = directory / "other-pyfpm"
    program.write_text(f'#!/bin/sh\nshift\nexec {venv}/bin/python -I -m fpm "$@"\n')
    program.chmod(0o755)


CASES: dict[str, tuple[Callable[[Path], object], str]] = {
    "absent": (lambda binary: binary.unlink(missing_ok=True), "the installation has no compiled part"),
    "cut off": (lambda binary: os.truncate(binary, 5000), "the compiled part is damaged"),
    "no library": (lambda binary: binary.write_bytes(bytes(9000)), "invalid ELF header"),
}


@pytest.fixture(scope="module")
def other() -> Iterator[Path]:
    """The directory of another installation; each test spoils its binary in its own way."""
    with opened_directory() as directory:
        other_installation(directory)
        yield directory


@pytest.mark.parametrize("case", [pytest.param(name, marks=() if name == "absent" else needs_binary) for name in CASES])
def test_why_plain_python_serves_is_said_once(daemon: Start, other: Path, case: str) -> None:
    spoil, reason = CASES[case]
    (installed,) = other.glob("other/lib/python3.*/site-packages/fpm")
    fpm = daemon({"www": {"pm.max_children": 3, **STATUS}, "no": {"hotpath": "no"}}, started=False)
    binary = installed / "_hotpath.abi3.so"
    if BUILT:
        shutil.copy(Path(package.__file__).with_name(binary.name), binary)
    spoil(binary)
    fpm.start(wrapper=[str(other / "other-pyfpm")])
    fpm.wait_workers("www", 3)
    assert fpm.get("www").status == 200
    assert in_force(fpm, "www") == "python"
    (line,) = wait_until(lambda: said(fpm))
    assert "NOTICE: [pool www] hot path: python, because " in line
    assert reason in line


@pytest.mark.root
def test_a_jail_without_proc_has_plain_python(daemon: Start) -> None:
    fpm = daemon({"www": {}}, started=False)
    jail = fpm.directory / "jail"
    build_jail(jail, pool_python())
    shutil.copy(fpm.apps / "hello.py", jail / "hello.py")
    (jail / "hello.py").chmod(0o755)
    fpm.configure({"www": {"chroot": jail, "chdir": "/", "pm.max_children": 2, **STATUS}})
    fpm.start()
    wait_until(lambda: len(parents(fpm)) == 2)
    assert fpm.get("www").status == 200
    assert in_force(fpm, "www") == "python"
    because = "/proc is not mounted" if BUILT else "the installation has no compiled part"
    assert [line.partition("because ")[2] for line in wait_until(lambda: said(fpm))] == [because]
    # Another template of the same generation has nothing new to say.
    (worker, template), *_ = parents(fpm).items()
    fpm.expect_log(rf"(template|child) ({template}|{worker}) exited on signal 9")
    for pid in (template, worker):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: len(set(parents(fpm).values()) - {template, 1, fpm.pid}) == 1)
    assert len(said(fpm)) == 1
    assert fpm.cli("reload").returncode == 0
    wait_until(lambda: len(said(fpm)) == 2)
    assert in_force(fpm, "www") == "python"


def parents(fpm: Daemon) -> dict[int, int]:
    """The parent of each worker, which is its template while that lives; titles are not to be seen in the jail."""
    found = {}
    for one in fpm.figures("www")["processes"]:
        with suppress(psutil.NoSuchProcess):
            found[one["pid"]] = psutil.Process(one["pid"]).ppid()
    return found
