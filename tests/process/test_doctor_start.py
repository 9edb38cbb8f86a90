"""`pyfpm doctor` starts applications to see whether they can be: what stops one is found, and the way out is right.

All of it is found by one examination of all pools, and gone in another when everything has been done: two that take
seconds, in the place of two for each pool.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.directories import opened_directory
from tests.support.doctor import WEB, Found, examine, mend
from tests.support.fpm import IS_ROOT, POOL_USER, Daemon
from tests.support.interpreter import pool_python
from tests.support.pools import write_app

READING = """
    import os, resource
    assert os.environ["WHO"] == "x" and resource.getrlimit(resource.RLIMIT_NOFILE) == (100, 100)
    open({secret!r})
    from hello import application
"""
OUTSIDE = """
    open({machine!r})
    from hello import application
"""
GOOD = "from hello import application"


class Broken:
    """Pools that do not start, and what `pyfpm doctor` finds. `found`: at first, by pool."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.secret = place / "secret"
        self.log = place / "pools" / "access.log"
        self.fpm = Daemon(self.pools())
        self.write()
        self.found: dict[str, list[Found]] = {name: [] for name in self.pools()}
        for one in examine(self.fpm, *WEB, status=1):
            self.found[one["pool"]].append(one)

    def pools(self) -> dict[str, dict[str, object]]:
        """The last four need other users, or namespaces."""
        pools: dict[str, dict[str, object]] = {
            "quoted": {"app": "broken:application"},
            "never": {"app": "sleeping:application", "startup_timeout": "1s"},
            "nowhere": {"chdir": "/nowhere/at/all"},
            "gone": {"venv": self.place / "gone"},
            "older": {"venv": self.place / "older"},
        }
        of_root: dict[str, dict[str, object]] = {
            "limited": {"app": "reading:application", "rlimit_files": 100, "env[WHO]": "x"},
            "jailed": {"app": "outside:application", "isolation": "strong"},
            "free": {"app": "outside:application", "isolation": "none"},
            "logging": {"access.log": self.log},
        }
        return {**pools, **(of_root if IS_ROOT else {})}

    def write(self) -> None:
        """Applications, virtual environments and files, each with its fault."""
        machine = self.place / "of_the_machine"
        for path, mode in ((self.secret, 0o600), (machine, 0o644)):
            path.write_text("")
            path.chmod(mode)
        write_app(self.fpm, "broken", "raise RuntimeError('no \\x1b[31msettings')")
        write_app(self.fpm, "sleeping", "import time\ntime.sleep(3600)")
        write_app(self.fpm, "reading", READING.format(secret=str(self.secret)))
        write_app(self.fpm, "outside", OUTSIDE.format(machine=str(machine)))
        for name in ("gone", "older"):
            command = [pool_python(), "-m", "venv", "--without-pip", self.place / name]
            subprocess.run(command, check=True, timeout=120)
        python = self.place / "gone" / "bin" / "python"
        python.unlink()
        python.symlink_to("/opt/gone/bin/python3.9")
        (library,) = (self.place / "older" / "lib").iterdir()
        library.rename(library.with_name("python3.9"))
        self.log.parent.mkdir()
        self.log.write_text("of root")
        self.log.chmod(0o600)
        if IS_ROOT:
            os.chown(self.log.parent, 65534, -1)

    def problem(self, pool: str) -> Found:
        """The only thing that is wrong with a pool."""
        (found,) = self.found[pool]
        assert found["level"] == "problem"
        return found


@pytest.fixture(scope="module")
def broken(command_server: None) -> Iterator[Broken]:
    with opened_directory() as place:
        made = Broken(place)
        yield made
        made.fpm.finish()


def test_what_an_import_says_is_quoted_and_escaped(broken: Broken) -> None:
    found = broken.problem("quoted")
    assert "the application does not start: RuntimeError: no" in found["text"]
    assert 'broken.py", line 1, in <module>' in found["quoted"]
    text = broken.fpm.cli("doctor", "quoted", *WEB).stdout
    assert "\x1b" not in text
    assert r"    | RuntimeError: no \x1b[31msettings" in text


def test_an_application_that_is_never_ready_has_its_time(broken: Broken) -> None:
    assert re.search("the application does not start: .*1 s", broken.problem("never")["text"])


def test_an_application_need_not_be_started(broken: Broken) -> None:
    assert examine(broken.fpm, "never", "quoted", "--no-import", *WEB) == []


def test_what_the_test_says_is_not_tried(broken: Broken) -> None:
    found = broken.problem("nowhere")
    assert found["check"] == "test"
    assert "[nowhere] chdir: the chdir path '/nowhere/at/all' does not exist" in found["text"]


@pytest.mark.parametrize(
    ("pool", "said"), [("gone", "/opt/gone/bin/python3.9"), ("older", "has packages for Python 3.9")]
)
def test_a_virtual_environment_that_does_not_match_is_made_anew(broken: Broken, pool: str, said: str) -> None:
    found = broken.problem(pool)
    assert found["check"] == "venv"
    assert said in found["text"]
    (command,) = found["commands"]
    assert re.fullmatch(rf"\S+ -m venv --clear {broken.place / pool}", command)


@pytest.mark.root
def test_the_application_is_imported_as_its_user_with_its_limits(broken: Broken) -> None:
    said = f"PermissionError: [Errno 13] Permission denied: '{broken.secret}'"
    assert said in broken.problem("limited")["text"]


@pytest.mark.root
def test_the_application_is_imported_in_its_jail(broken: Broken) -> None:
    """Other directories in /tmp are not there with isolation = strong."""
    assert "FileNotFoundError" in broken.problem("jailed")["text"]
    assert broken.found["free"] == []


@pytest.mark.root
def test_a_log_that_the_pool_cannot_write_is_moved_away_by_its_user(broken: Broken) -> None:
    found = broken.found["logging"][0]
    assert found["check"] == "logs"
    assert f"{POOL_USER}, as whom the pool runs, cannot write access.log {broken.log}" in found["text"]
    assert found["commands"][0] == f"runuser -u {POOL_USER} -- mv -- {broken.log} {broken.log}.old"


def test_nothing_is_wrong_when_everything_is_done(broken: Broken) -> None:
    """With a log that lies in a directory of the pool's user there is something to say even then."""
    fpm = broken.fpm
    write_app(fpm, "broken", GOOD)
    mend(fpm, broken.problem("gone"))
    if not IS_ROOT:
        assert examine(fpm, "quoted", "gone", *WEB) == []
        return
    os.chown(broken.secret, 65534, -1)
    write_app(fpm, "outside", f"import json, ssl\n{GOOD}")  # Python works in a jail
    log = broken.found["logging"][0]
    mend(fpm, {**log, "commands": log["commands"][:1]})
    (warning,) = examine(fpm, "quoted", "gone", "limited", "jailed", "logging", *WEB)
    assert (warning["level"], warning["pool"]) == ("warning", "logging")
    assert "an attacker who breaks into the application can change or remove the log" in warning["text"]
    assert "access.log = /var/log/pyfpm/logging.access.log" in warning["lines"]
