"""env_file: read with the rights of the pool's user when a template starts, shown nowhere, noticed by a reload."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from tests.support.fpm import IS_ROOT, POOL_USER, Daemon, Start
from tests.support.pools import echo, wait_state
from tests.support.reloads import reload_by_command

ECHO: dict[str, object] = {"app": "echo:application"}


def write(fpm: Daemon, text: str, *, mode: int = 0o640) -> Path:
    """The file, for the pool's group alone."""
    path = fpm.directory / "secrets.env"
    path.write_text(text)
    path.chmod(mode)
    if IS_ROOT:
        os.chown(path, 0, pwd.getpwnam(POOL_USER).pw_gid)
    return path


def variables(fpm: Daemon, pool: str = "www") -> dict[str, str]:
    found: dict[str, str] = echo(fpm, pool)["os.environ"]
    return found


def test_its_life(daemon: Start) -> None:
    pools = {"www": {**ECHO, "env_file": "secrets.env", "env[A]": "from the pool", "env[B]": "b"}, "other": ECHO}
    fpm = daemon(pools, started=False)
    write(fpm, "# comment\nA='from $the file'\nexport SECRET=hunter2\n")
    fpm.start()
    found = variables(fpm)
    assert (found["A"], found["B"], found["SECRET"]) == ("from $the file", "b", "hunter2")
    assert "SECRET" not in variables(fpm, "other")
    # It is shown nowhere.
    shown = fpm.cli("test", "--dump")
    assert "secrets.env" in shown.stdout
    assert "hunter2" not in shown.stdout + shown.stderr + fpm.cli("status", "--full", "www").stdout + fpm.log()
    # A reload of what has changed notices it.
    others = fpm.workers("other")
    write(fpm, "SECRET=hunter3\n")
    assert "pool www: new generation" in (said := reload_by_command(fpm, "--changed"))
    assert "env_file" in said
    assert (variables(fpm)["SECRET"], variables(fpm)["A"], fpm.workers("other")) == ("hunter3", "from the pool", others)
    assert "pool www: unchanged" in fpm.cli("reload", "--changed", "--dry-run").stdout
    # One with a mistake is refused with file and line, and not with the value; the old one serves on.
    write(fpm, "A=1\n\nSECRET='hunter4\n")
    done = fpm.cli("reload", "www")
    assert done.returncode == 1
    assert f"{fpm.directory}/secrets.env:3: the quote (') of SECRET is not closed" in done.stderr
    assert "hunter4" not in done.stderr + fpm.log()
    assert variables(fpm)["SECRET"] == "hunter3"
    fpm.expect_log("secrets.env:3", "reload", "failed")


@pytest.mark.root
def test_the_file_is_opened_as_the_pools_user_and_outside_of_its_jail(daemon: Start) -> None:
    """Root could read both files; what it opens for a pool, the pool's user must be able to open."""
    jailed = {**ECHO, "env_file": "secrets.env", "chroot.automount": True, "namespaces": "mount pid"}
    fpm = daemon({"jailed": jailed, "curious": {**ECHO, "env_file": "of-root.env", "pm": "ondemand"}}, started=False)
    write(fpm, "SECRET=hunter2\n")
    closed = fpm.directory / "of-root.env"
    closed.write_text("SECRET=hunter2\n")
    closed.chmod(0o600)
    done = fpm.cli("test")
    assert done.returncode == 78
    assert f"[curious] env_file: user {POOL_USER} cannot read '{closed}'" in done.stderr
    closed.chmod(0o644)
    fpm.start()
    assert variables(fpm, "jailed")["SECRET"] == "hunter2"
    # After the check it is closed again: the first request begins the pool, and the launcher is refused.
    closed.chmod(0o600)
    assert fpm.get("curious").status == 503
    fpm.wait_log(r"cannot read env_file .*of-root\.env: Permission denied; user \w+ must be able to read it")
    assert "hunter2" not in fpm.log()
    fpm.expect_log("curious", "of-root.env")
    # What the jail hides is hidden: the file itself is not in it.
    assert not any("secrets.env" in part for part in echo(fpm, "jailed")["os.environ"].values())


@pytest.mark.root
def test_a_pool_that_begins_with_a_bad_file_fails_alone(daemon: Start) -> None:
    fpm = daemon({"www": {**ECHO, "env_file": "secrets.env"}, "other": ECHO}, started=False)
    write(fpm, "A=1\n=hunter2\n")
    fpm.start()
    wait_state(fpm, "www", "failed")
    fpm.wait_log(r"secrets\.env:2: expected NAME=VALUE")
    assert "hunter2" not in fpm.log()
    assert fpm.get("www").status == 503
    assert fpm.get("other").status == 200
    fpm.expect_log("secrets.env", "www")
