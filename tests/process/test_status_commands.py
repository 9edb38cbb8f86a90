"""`pyfpm status` and `pyfpm top`: for people on a terminal, narrow or wide, and for programs in a pipe."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from tests.support.fpm import Daemon, Start
from tests.support.held import HOLD, holding
from tests.support.interpreter import pyfpm_command
from tests.support.pools import wait_numbers, wait_state
from tests.support.terminal import ALTERNATE_OFF, ALTERNATE_ON, ESCAPES, Terminal
from tests.support.waiting import wait_until

POOLS = {
    "www": {"pm.max_children": 3, "app": "slow:application"},
    "api": {"pm.max_children": 2},
    "quiet": {"pm": "ondemand"},
}
WIDE = {"COLUMNS": "200"}
PIPE = {"COLUMNS": ""}
"""As from a shell, which does not export it; pytest does."""


@pytest.fixture(scope="module")
def fpm(shared_daemon: Start) -> Daemon:
    """One for all tests: they only look, or have a worker busy for a while."""
    made = shared_daemon(POOLS)
    made.wait_workers("www", 3)
    made.wait_workers("api", 2)
    for _ in range(5):
        assert made.get("api").status == 200
    wait_numbers(made, "api", idle_processes=2)
    return made


@pytest.fixture
def terminal(fpm: Daemon) -> Iterator[Callable[..., Terminal]]:
    """Run `pyfpm -c FILE ARGUMENTS` on a terminal."""
    made: list[Terminal] = []

    def run(*arguments: str, **values: int | dict[str, str]) -> Terminal:
        made.append(Terminal([pyfpm_command(), "-c", str(fpm.config_file), *arguments], **values))  # type: ignore[arg-type]
        return made[-1]

    yield run
    for one in made:
        one.close()


def rows(text: str) -> dict[str, list[str]]:
    """The words of each line by the first one."""
    return {words[0]: words[1:] for line in text.splitlines() if (words := line.split())}


# --- status --------------------------------------------------------------------------------------------------------


def test_status_in_a_pipe(fpm: Daemon) -> None:
    done = fpm.cli("status", environ=PIPE)
    assert done.returncode == 0
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    assert not re.search(r" $", done.stdout, re.MULTILINE)
    found = rows(done.stdout)
    heads = ["STATE", "BUSY", "IDLE", "QUEUE", "REQ/S", "P95", "ERRORS", "5XX", "SLOW", "DEATHS", "REQUESTS"]
    assert found["POOL"] == [*heads, "MEMORY", "UP", "GEN", "APPLICATION"]
    count = str(fpm.figures("api")["accepted conn"])
    assert found["api"][:11] == ["running", "0/2", "2", "0", "-", "-", "0", "0", "0", "0", count]
    assert "since the start, as the past is not known" in done.stdout
    assert found["api"][-1] == "hello:application"
    assert found["quiet"][:3] == ["idle", "0/1", "0"]


def test_status_of_one_pool(fpm: Daemon) -> None:
    with holding(fpm, HOLD, HOLD):
        text = fpm.cli("status", "www", "--format", "table", environ=PIPE).stdout
    assert re.search(r"^workers +2 busy, 1 idle$", text, re.MULTILINE)
    assert re.search(r"^application +slow:application$", text, re.MULTILINE)
    assert re.search(rf"^directory +{re.escape(os.path.realpath(fpm.apps))}$", text, re.MULTILINE)
    assert re.search(r"^python +/.*python.* \(3\.\d+\.\d+\)$", text, re.MULTILINE)
    assert re.search(r"^error log +standard error$", text, re.MULTILINE)
    assert len(re.findall(r"^ *\d+  Running +\d.* GET /\?hold$", text, re.MULTILINE)) == 2
    assert len(re.findall(r"^ *\d+  Idle ", text, re.MULTILINE)) == 1
    wait_numbers(fpm, "www", idle_processes=3)
    full = fpm.cli("status", "--full", "--format", "table", environ=PIPE).stdout
    assert len(re.findall(r"^ *\d+  Idle ", full, re.MULTILINE)) + len(re.findall(r" Running ", full)) == 5


def test_status_of_no_pool(fpm: Daemon) -> None:
    done = fpm.cli("status", "wwww")
    assert done.returncode == 1
    assert "there is no pool 'wwww'; there are: www, api, quiet" in done.stderr


def test_formats_for_programs(fpm: Daemon) -> None:
    pages = json.loads(fpm.cli("status", "--format", "json").stdout)
    assert pages[0]["details"].keys() == {"directory", "user", "python", "logs"}
    assert [page["pool"] for page in pages] == ["www", "api", "quiet"]
    page = json.loads(fpm.cli("status", "api", "--format", "json").stdout)
    assert page["accepted conn"] == fpm.figures("api")["accepted conn"] >= 5
    text = fpm.cli("status", "--format", "text").stdout
    assert re.findall(r"(?:\A|\n\n)pool: +(\w+)$", text, re.MULTILINE) == list(POOLS)
    assert fpm.cli("status", "api", "--format", "text").stdout.startswith("pool:                 api\n")
    assert fpm.cli("status", "api", "--format", "xml").stdout.startswith("<?xml")


def test_colours_only_where_they_are_wanted(fpm: Daemon, terminal: Callable[..., Terminal]) -> None:
    def shown(**environ: str) -> str:
        one = terminal("status", columns=100, environ=environ)
        assert one.wait() == 0
        return one.received.decode()

    assert "\x1b[32mrunning" in shown()
    plain = shown(NO_COLOR="1")
    assert not re.search(r"\x1b\[[\d;]*3\d", plain)
    assert "running" in plain
    assert "\x1b" not in shown(TERM="dumb")


@pytest.mark.parametrize("columns", [16, 34, 60, 80])
def test_a_narrow_terminal(terminal: Callable[..., Terminal], columns: int) -> None:
    one = terminal("status", columns=columns)
    assert one.wait() == 0
    lines = ESCAPES.sub("", one.received.decode()).splitlines()
    table = [line for line in lines if re.match(r"POOL|www|api|quiet", line)]
    assert len(table) == 4
    assert all(len(line) <= columns for line in lines)
    assert ("APPLICATION" in table[0]) == (columns > 100)
    assert ("BUSY" in table[0]) == (columns >= 34)


def test_a_hostile_name_does_not_drive_the_terminal(fpm: Daemon, terminal: Callable[..., Terminal]) -> None:
    with holding(fpm, "/[red]x\x1b]0;evil\x07\x9b31m?hold"):
        one = terminal("status", "www", columns=200)
        assert one.wait() == 0
    text = one.received.decode()
    assert "GET /[red]x\\x1b]0;evil\\x07\\x9b31m?hold" in ESCAPES.sub("", text)
    assert "\x1b]" not in text
    assert "\x9b" not in text


# --- top -----------------------------------------------------------------------------------------------------------


def test_top_in_a_pipe(fpm: Daemon) -> None:
    with holding(fpm, HOLD, HOLD, HOLD):
        done = fpm.cli("top", environ=PIPE)
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    found = rows(done.stdout)
    assert found["POOL"] == [
        *("STATE", "BUSY", "QUEUE", "REQ/S", "CPU%", "PSS", "P95", "ERRORS", "5XX", "SLOW", "OLDEST", "REQUEST")
    ]
    assert list(found)[-3:] == ["www", "api", "quiet"], "the busiest first"
    assert found["www"][:4] == ["running", "3/3", "0", "0"]
    assert found["www"][-2:] == ["GET", HOLD]


BURN = """
import os


def application(environ, start_response):
    while os.path.exists("hold"):
        pass
    start_response("200 OK", [])
    return [b"warm"]
"""


def test_a_failed_pool_is_exit_status_1_and_one_that_burns_is_seen(daemon: Start) -> None:
    pools = {"www": {"app": "burn:application"}, "bad": {"app": "broken_import:application"}}
    fpm = daemon(pools, started=False)
    (fpm.apps / "burn.py").write_text(BURN)
    fpm.expect_log("pool bad")
    fpm.start()
    wait_state(fpm, "bad", "failed")
    done = fpm.cli("status", "--format", "table")
    assert done.returncode == 1
    assert rows(done.stdout)["bad"][0] == "failed"
    assert [line.split()[0] for line in done.stdout.splitlines()[3:5]] == ["bad", "www"], "failed ones first"
    assert "pyfpm: pool bad has failed: ModuleNotFoundError" in done.stderr
    assert "Traceback" in done.stderr
    assert fpm.cli("status", "--format", "json").returncode == 1
    assert fpm.cli("status", "www").returncode == 0
    with holding(fpm, "/"):
        text = fpm.cli("top", "--count", "2", "--interval", "1", "--workers", environ=PIPE).stdout
    shares = [float(words[3]) for line in text.splitlines() if (words := line.split())[1:2] == ["www"]]
    assert len(shares) == 2
    assert 0 < shares[0] < 200, "one worker that burns all it can get"  # the two clocks are not read at one moment


def test_top_once_with_a_choice(fpm: Daemon) -> None:
    text = fpm.cli("top", "--once", "--workers", "--sort", "name", environ=WIDE).stdout
    workers = [words[1] for line in text.splitlines() if re.match(r" *\d+  ", line) and (words := line.split())]
    assert workers == ["api", "api", "www", "www", "www"]
    only = fpm.cli("top", "api", "--once", environ=PIPE).stdout
    assert "www" not in only.replace("pool api", "")
    assert fpm.cli("top", "nobody").returncode == 1


def test_top_live(fpm: Daemon, terminal: Callable[..., Terminal]) -> None:
    one = terminal("top", "--interval", "0.2", columns=100, lines=14)
    screen = one.wait_screen("quiet")
    assert len(screen) == 14
    assert one.received.count(ALTERNATE_ON) == 1
    assert not one.is_restored()
    assert "b busy*" in screen[-1]
    one.type("n")
    assert [line.split()[0] for line in one.wait_screen("n name*")[4:7]] == ["api", "quiet", "www"]
    one.type("o")
    assert [line.split()[0] for line in one.wait_screen("n name^")[4:7]] == ["www", "quiet", "api"]
    one.type("w")
    one.wait_screen("PID")
    with holding(fpm, "/live?hold"):
        one.wait_screen("GET /live?hold")
        one.type("/held")
        one.wait_screen("/held_")
        one.type("\x7f\x7f\x7f\x7fLIVE?HOLD\r")
        one.wait_screen("filter 'LIVE?HOLD': 1 (Esc: all)")
        wait_until(lambda: ["GET /live?hold" in line for line in one.screen()[4:-1] if line] == [True])
        wait_until(lambda: shows_stack(one, "application() "), message="no stack")
        one.type("x")
        one.wait_screen("filter 'LIVE?HOLD'")
    one.type("\x1b")
    wait_until(lambda: "filter '" not in "".join(one.screen()) and "quit" in one.screen()[-1])
    one.type("w")
    one.wait_screen("BUSY")
    fpm.get("api")
    wait_until(lambda: re.search(r"^api +running +0/2 +0 +[1-9]", "\n".join(one.screen()), re.MULTILINE))
    one.type("q")
    assert one.wait() == 0
    assert one.is_restored()
    assert one.received.rstrip().endswith(ALTERNATE_OFF)


def shows_stack(one: Terminal, words: str) -> bool:
    """Have the selected worker's stack shown, which stays as it is; another one if these words are not in it."""
    if "any key: back" in one.screen()[-1]:
        one.type("x")
        one.wait_screen("h help")
    one.type("t")
    return words in "\n".join(one.wait_screen("any key: back"))


def test_top_at_sixty_columns(terminal: Callable[..., Terminal]) -> None:
    one = terminal("top", "--interval", "60", "--sort", "name", columns=60, lines=20)
    one.wait_screen("quiet")
    one.wait_screen("h help  q quit  / filter  Enter open  t trace  n name*")
    one.type("h")
    assert [line for line in one.wait_screen("any key: back") if len(line) > 60] == []
    one.type("q")
    one.wait_screen("BUSY")
    one.type("j\r")
    one.wait_screen("pool quiet (Esc: all pools)")
    one.type("t")
    one.type("\x1b")
    wait_until(lambda: "(Esc" not in "".join(one.screen()) and "quit" in one.screen()[-1])
    one.type("k\r")
    assert len([line for line in one.wait_screen("pool api (Esc: all pools)") if "Idle" in line]) == 2
    one.type("\r")
    one.wait_screen("reason = trace")
    one.type("q")
    one.wait_screen("pool api (Esc: all pools)")
    one.type("\x7f")
    wait_until(lambda: "(Esc" not in "".join(one.screen()) and "quit" in one.screen()[-1])
    one.type("t")
    one.wait_screen("pool api: no worker is busy")
    one.type("qq")
    assert one.wait() == 0


def test_top_follows_the_size_of_its_window(terminal: Callable[..., Terminal]) -> None:
    one = terminal("top", "--interval", "60", columns=100, lines=14)
    one.wait_screen("REQUEST")
    one.resize(40, 8)
    wait_until(lambda: len(one.screen()) == 8 and "REQUEST" not in "\n".join(one.screen()))
    assert [line for line in one.screen() if len(line) > 40] == []
    one.resize(100, 6)
    wait_until(lambda: len(one.screen()) == 6)
    first = one.screen()[4]
    one.type("\x1b[B")
    wait_until(lambda: one.screen()[4] != first, message="the arrow does not scroll")
    one.type("\x1b[A\x1b[A")
    wait_until(lambda: one.screen()[4] == first)
    one.type("\x03")
    assert one.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_top_gives_the_terminal_back(terminal: Callable[..., Terminal], number: int) -> None:
    one = terminal("top")
    one.wait_screen("quiet")
    one.process.signal(number)
    assert one.wait() == 0
    assert one.is_restored()
    assert ALTERNATE_OFF in one.received


def test_top_outlives_the_daemon(daemon: Start) -> None:
    fpm = daemon({"www": {}})
    one = Terminal([pyfpm_command(), "-c", str(fpm.config_file), "top", "--interval", "0.2"])
    try:
        one.wait_screen("www")
        fpm.signal(signal.SIGQUIT)
        assert fpm.wait() == 0
        assert any("www" in line for line in one.wait_screen("pyfpm is not running")), "the last figures stay"
        one.type("q")
        assert one.wait() == 0
    finally:
        one.close()


def test_a_reader_who_goes_away_early(fpm: Daemon) -> None:
    command = f"'{pyfpm_command()}' -c '{fpm.config_file}' status --format table | head -n 1"
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.startswith("pyfpm ")
    assert done.stderr == ""


def test_the_daemon_does_not_load_what_only_looking_needs() -> None:
    code = "import sys, fpm.cli.main, fpm.cli.daemon, fpm.master.master; print([m for m in sys.modules if 'rich' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"
