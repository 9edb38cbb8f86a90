"""`pyfpm slow`: from logs as they lie about on a machine to where the time goes."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fpm.stacks.text.format import format_entry
from tests.support.fpm import IS_ROOT, POOL_USER
from tests.support.interpreter import pool_python, pyfpm_command
from tests.support.terminal import ESCAPES, Terminal
from tests.unit.slowlog.entries import CHOOSE, NOON, QUERY, make
from tests.unit.slowlog.test_slowlog_read import PHP

Run = Callable[..., subprocess.CompletedProcess[str]]

PIPE = {**os.environ, "COLUMNS": ""}
"""As from a shell, which does not export it; pytest does."""
CONFIG = """[global]
error_log = error.log
"""
POOL = """
[{name}]
listen = {directory}/{name}.sock
app = hello:application
python = {python}
{user}
pm = static
pm.max_children = 1
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """`pyfpm -p DIRECTORY slow ARGUMENTS`, with the pools www, shop (one log) and quiet (without one)."""
    text = CONFIG
    user = f"user = {POOL_USER}\nlisten.mode = 0666" if IS_ROOT else ""
    for name, log in (("www", "slow.log"), ("shop", "slow.log"), ("api", "api.log"), ("quiet", "")):
        text += POOL.format(name=name, directory=tmp_path, python=pool_python(), user=user)
        text += f"slowlog = {log}\n" if log else ""
    (tmp_path / "pyfpm.conf").write_text(text)
    www = [make(QUERY, CHOOSE, uri=f"/user/{pid}", pid=pid, time=NOON + pid, seconds=2.0) for pid in range(3)]
    shop = make(CHOOSE, pool="shop", uri="/cart?x", seconds=60.0, reason="terminate", time=NOON + 100)
    written = "".join(format_entry(entry, "text", 20) for entry in (*www, shop))
    (tmp_path / "slow.log").write_text("torn\n[0x0000\n" + written)
    (tmp_path / "api.log").write_bytes(format_entry(make(pool="api", time=NOON - 86400), "json", 20).encode() + PHP)

    def run(*arguments: str, stdin: bytes = b"", status: int = 0) -> subprocess.CompletedProcess[str]:
        command = [pyfpm_command(), "-c", str(tmp_path / "pyfpm.conf"), "-p", str(tmp_path), "slow", *arguments]
        done = subprocess.run(
            command, input=stdin, capture_output=True, timeout=60, check=False, cwd=tmp_path, env=PIPE
        )
        assert done.returncode == status, done.stderr.decode()
        return subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())

    return run


def test_all_pools_in_one_picture(run: Run) -> None:
    said = run().stdout
    lines = said.splitlines()
    assert lines[0] == "7 entries of 7 requests, 4 stacks"
    assert lines[2].split() == "# REQUESTS TOTAL LONGEST ENDED LAST SEEN POOL WHERE REQUEST".split()  # noqa: SIM905
    assert [line.split()[:2] for line in lines[3:7]] == [["1", "1"], ["2", "4"], ["3", "1"], ["4", "1"]]
    assert "1. 1 request, total 1 min, longest 1 min, 1 terminated" in lines
    assert "   GET /cart?{query}" in lines
    assert "   pool www (3), api (1); first" in said
    assert "     Shop.query() /srv/shop/db.py:40" in lines
    assert "   no stack: dump failed" in lines
    assert "\x1b" not in said


def test_what_is_asked_for(run: Run) -> None:
    shop = json.loads(run("shop", "--json").stdout)
    assert json.loads(run("--pool", "shop", "--json").stdout) == shop
    assert (shop["entries"], shop["requests"], shop["stacks"]) == (1, 1, 1)
    (group,) = shop["groups"]
    assert group["uris"] == {"GET /cart?{query}": 1}
    assert (group["count"], group["total"], group["longest"], group["ended"]) == (1, 60.0, 60.0, 1)
    assert group["frames"][0] | {"file": ""} == {
        "function": "choose.<locals>.<lambda>",
        "file": "",
        "line": 12,
        "lines": {"12": 1},
        "native": False,
        "library": "",
    }
    first = json.loads(run("--by", "count", "--top", "1", "--json").stdout)
    assert [one["count"] for one in first["groups"]] == [4]
    assert "4 stacks; the first 2 are shown (-n 4 shows all)" in run("-n", "2").stdout
    recent = json.loads(run("--since", "2026-11-21", "--json").stdout)
    assert (recent["entries"], set(recent["groups"][1]["pools"])) == (4, {"www"})
    assert run("--since", "2036-01-01").stdout == "no entries since then\n"
    assert "expected 90m, 1h, 2d, today" in run("--since", "soon", status=64).stderr


def test_only_the_paths_of_the_logs_count(run: Run, tmp_path: Path) -> None:
    """Whoever may read a log may look: no other mistake, and no path that only the daemon uses, is in the way."""
    config = tmp_path / "pyfpm.conf"
    config.write_text(
        config.read_text().replace(f"listen = {tmp_path}", "no.such = 1\nuser = nosuchuser\nlisten = /no")
    )
    assert json.loads(run("--json").stdout)["entries"] == 7
    assert "there is no pool 'shoop'; there are: www, shop, api, quiet" in run("--pool", "shoop", status=1).stderr
    with config.open("a") as file:
        file.write("slowlog = ${NO_SUCH_VARIABLE}\n")
    done = run("--json", status=1)
    assert json.loads(done.stdout)["entries"] == 7
    assert "[quiet] slowlog: the environment variable NO_SUCH_VARIABLE is not set" in done.stderr


def test_files_by_name_also_compressed_and_by_a_pipe(run: Run, tmp_path: Path) -> None:
    (tmp_path / "pyfpm.conf").unlink()
    data = (tmp_path / "slow.log").read_bytes()
    (tmp_path / "old.gz").write_bytes(gzip.compress(data))
    assert run("old.gz", "api.log").stdout.startswith("7 entries of 7 requests, 4 stacks\n")
    assert run("-", stdin=data).stdout == run("old.gz").stdout
    assert json.loads(run("-", "--json", "--pool", "shop", stdin=gzip.compress(data)).stdout)["entries"] == 1
    (tmp_path / "empty.log").touch()
    assert run("empty.log").stdout == "no entries\n"
    (tmp_path / "torn.gz").write_bytes(gzip.compress(os.urandom(5000) + data)[:-20])
    torn = run("torn.gz", "api.log", status=1)
    assert torn.stderr.startswith("pyfpm: torn.gz: damaged, only the readable part is counted: ")
    assert "3 stacks" in torn.stdout or "4 stacks" in torn.stdout


def test_what_cannot_be_read(run: Run, tmp_path: Path) -> None:
    missing = run("missing.log", str(tmp_path), "slow.log", status=1)
    assert missing.stderr.splitlines() == [
        "pyfpm: missing.log: No such file or directory",
        f"pyfpm: {tmp_path}: Is a directory",
    ]
    assert missing.stdout.startswith("4 entries of 4 requests")
    pools = "there are: www, shop, api, quiet"
    nobody = f"pyfpm: nope: No such file or directory. There is no pool of this name either; {pools}\n"
    assert run("nope", status=1).stderr == nobody
    assert f"there is no pool 'nope'; {pools}" in run("--pool", "nope", status=1).stderr
    assert "slowlog is not set for pool quiet in" in run("--pool", "quiet", status=1).stderr
    (tmp_path / "api.log").unlink()
    os.mkfifo(tmp_path / "api.log")
    fifo = run("--pool", "api", status=1)
    assert (
        fifo.stderr
        == f"pyfpm: {tmp_path}/api.log: this slow log is not a regular file; give the FILE in which it is saved\n"
    )
    assert fifo.stdout == ""


def test_a_narrow_terminal(run: Run, tmp_path: Path) -> None:
    run()
    command = [pyfpm_command(), "slow", str(tmp_path / "slow.log")]
    terminal = Terminal(command, columns=60, lines=40)
    assert terminal.wait() == 0
    shown = ESCAPES.sub("", terminal.received.decode())
    raw = terminal.received
    terminal.close()
    table = shown.splitlines()[2:5]
    assert "LONGEST" in table[0]
    assert "POOL" not in table[0]
    assert max(map(len, table)) <= 60
    assert b"\x1b[1m" in raw
