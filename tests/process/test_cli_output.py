"""What commands print for programs, and what they say while they wait."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from fpm.cli.main import cli
from tests.support.doctor import QUICK
from tests.support.fpm import Daemon, Start
from tests.support.held import holding, release
from tests.support.interpreter import pyfpm_command
from tests.support.reloads import write_version
from tests.support.terminal import ESCAPES, Terminal
from tests.support.waiting import wait_until

HELD_IMPORT = """
while os.path.exists("hold"):
    time.sleep(0.01)
"""


UWSGI = "[uwsgi]\nmodule = shop.wsgi\nprocesses = 4\nmule = jobs.py\n"


def document_of(fpm: Daemon, *arguments: str, status: int = 0) -> Any:
    done = fpm.cli(*arguments, "--format", "json")
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def fpm(daemon: Start) -> Daemon:
    made = daemon(
        {
            "www": {
                "app": "deployed:application",
                "ping.path": "/ping",
                "access.log": "access.log",
                "slowlog": "slow.log",
                "pm.max_children": 2,
            },
            "calm": {"pm": "ondemand"},
        },
        started=False,
    )
    write_version(made, 1)
    made.start()
    return made


def test_every_result_is_json_for_programs(fpm: Daemon) -> None:
    """Of each command that has a result; `start` is in test_cli_start.py."""
    asked = {"start"}

    def document(fpm: Daemon, *arguments: str, status: int = 0) -> Any:
        asked.add(arguments[0])
        return document_of(fpm, *arguments, status=status)

    assert document(fpm, "ping", "www")["answer"] == "pong"
    unknown = document(fpm, "ping", "nobody", status=1)
    assert (unknown["ok"], "there is no pool" in unknown["error"]) == (False, True)
    answer = document(fpm, "request", "www", "/")
    assert (answer["status"], answer["body"].split()[0]) == (200, "1")
    assert ["Content-Type", "text/plain"] in answer["headers"]
    checked = document(fpm, "test", "--dump")
    assert (checked["ok"], checked["values"]["www"]["pm.max_children"]) == (True, "2")
    assert document(fpm, "slow")["entries"] == 0
    (pool, worker) = document(fpm, "top", "--full", "www")["pools"][0], document(fpm, "top", "www")["workers"][0]
    assert (pool["pool"], pool["max_children"], worker["pid"] in fpm.workers("www")) == ("www", 2, True)
    assert [one["pool"] for one in document(fpm, "status")] == ["www", "calm"]
    assert document(fpm, "trace", str(fpm.workers("www")[0]))["pool"] == "www"
    assert {"ok", "pools", "machine"} <= set(document(fpm, "doctor", *QUICK, "calm"))
    plan = document(fpm, "reload", "--dry-run")["pools"]
    assert [(one["pool"], one["action"]) for one in plan] == [("www", "generation"), ("calm", "wake")]
    fpm.expect_log("there is nothing to go back to", "ZeroDivisionError", "ERROR:")
    assert document(fpm, "rollback", "www", status=78)["ok"] is False
    write_version(fpm, 2, "1/0")
    broken = document(fpm, "reload", "www", status=1)
    assert (broken["ok"], "ZeroDivisionError" in broken["traceback"]) == (False, True)
    assert fpm.cli("reload", "www", "--json").stdout.startswith("{")
    write_version(fpm, 3)
    assert document(fpm, "reload", "www") == {
        "ok": True,
        "status": 0,
        "pools": [
            {
                "pool": "www",
                "action": "generation",
                "checked": True,
                "directory": str(fpm.apps),
                "changed": [],
                "note": "",
            },
            {"pool": "calm", "action": "nothing", "checked": False, "directory": "", "changed": [], "note": ""},
        ],
        "complaints": [],
        "traceback": "",
        "partial": False,
    }
    fpm.config_file.write_text(fpm.config_file.read_text() + "\n[www]\npm = no\n")
    assert document(fpm, "test", status=78)["errors"]
    fpm.config_file.write_text(fpm.config_file.read_text().removesuffix("\n[www]\npm = no\n"))
    look_at_the_others(fpm, document)
    assert document(fpm, "stop")["pid"] == fpm.pid
    context = click.Context(cli)
    commands = {name: cli.get_command(context, name) for name in cli.list_commands(context)}
    assert asked == {name for name, one in commands.items() if one and any("--format" in p.opts for p in one.params)}


def look_at_the_others(fpm: Daemon, document: Callable[..., Any]) -> None:
    """Ask for what no other part of the test has wanted."""
    assert document(fpm, "explain", "calm")["pool"] == "calm"
    assert document(fpm, "reopen-logs") == {"ok": True}
    assert [pool["name"] for pool in document(fpm, "list")["pools"]] == ["www", "calm"]
    assert document(fpm, "config", "calm", "pm")["values"]["pm"]["value"] == "ondemand"
    assert "pyfpm" in document(fpm, "version")
    assert document(fpm, "logs", "-n", "1")["pools"] == ["www"]
    assert document(fpm, "upgrade")["version"]
    planned = document(fpm, "setup", "--dry-run", "--root", str(fpm.directory))
    assert (planned["done"], {step["action"] for step in planned["steps"]}) == (False, {"create"})
    (fpm.directory / "uwsgi.ini").write_text(UWSGI)
    converted = document(fpm, "convert", str(fpm.directory / "uwsgi.ini"), "--output", str(fpm.directory / "shop.ini"))
    (section,) = converted["sections"]
    assert (section["directives"]["app"], section["directives"]["pm.max_children"]) == ("shop.wsgi:application", "4")
    assert (fpm.directory / "shop.ini").read_text() == converted["text"]
    (left,) = section["not_carried_over"]
    assert (left["line"], left["option"]) == (4, "mule = jobs.py")
    given = ("--app", "deployed:application", "--directory", str(fpm.apps), "--server", "none")
    given += ("--listen", str(fpm.directory / "shop.sock"))  # an ordinary user may not write to /run/pyfpm
    made = document(fpm, "init", "shop", *given, "--output", str(fpm.directory / "made"))
    assert (made["app"], made["written"], made["site"]) == ("deployed:application", True, None)
    assert {path: Path(path).read_text() for path in made["files"]} == made["files"]
    assert [step["why"] for step in made["steps"]][-1] == "start the pool"


def test_commands_say_what_they_wait_for(fpm: Daemon) -> None:
    """In a pipe one line after a second, on a terminal a line that is removed at the end."""
    write_version(fpm, 2, HELD_IMPORT)
    (fpm.apps / "hold").touch()
    live = Terminal([pyfpm_command(), "-c", str(fpm.config_file), "reload"], columns=60)
    wait_until(lambda: b"0 of 1 pool checked (www: importing " in live.read())
    release(fpm)
    assert live.wait() == 0
    shown = ESCAPES.sub("", live.received.decode()).splitlines()
    assert shown[-1].endswith("1 pool checked, 2 workers replaced")
    live.close()

    with holding(fpm, "/report?hold", "/other?hold"):
        piped = fpm.begin("stop")
        assert piped.stderr is not None
        line = piped.stderr.readline()
        assert re.fullmatch(r"waiting for 2 requests \(www: GET /report\?hold \d.*s\)\n", line), line
        live = Terminal([pyfpm_command(), "-c", str(fpm.config_file), "stop", "--timeout", "30"], columns=40)
        wait_until(lambda: b"waiting for 2 requests (www: GET /re..." in live.read())
    assert piped.communicate(timeout=60) == ("", "")
    assert (piped.returncode, live.wait()) == (0, 0)
    live.close()


def test_a_start_says_which_pool_is_slow(daemon: Start) -> None:
    fpm = daemon(
        {"www": {"app": "deployed:application"}, "fast": {"pm": "ondemand"}},
        started=False,
        global_={"error_log": "error.log"},
    )
    write_version(fpm, 1, HELD_IMPORT)
    (fpm.apps / "hold").touch()
    starting = fpm.begin("start")
    assert starting.stderr is not None
    assert starting.stderr.readline() == "waiting for 1 of 2 pools (www is starting)\n"
    release(fpm)
    assert starting.communicate(timeout=60) == ("", "")
    assert starting.returncode == 0
    assert subprocess.run([pyfpm_command(), "-c", str(fpm.config_file), "stop"], check=False).returncode == 0
