"""`pyfpm init` as a command: in scripts, on a terminal, and what it refuses."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.fpm import IS_ROOT
from tests.support.interpreter import pyfpm_command
from tests.support.terminal import Terminal

USER = "games" if IS_ROOT else "shop"
Init = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def project(directory: Path) -> Path:
    """A Flask application with a virtual environment, beside a configuration."""
    top = directory / "shop"
    (top / "static").mkdir(parents=True)
    (top / "app.py").write_text("from flask import Flask\napp = Flask(__name__)\n")
    (top / "venv" / "bin").mkdir(parents=True)
    (top / "venv" / "bin" / "python").symlink_to("/usr/bin/python3")
    (top / "venv" / "pyvenv.cfg").touch()
    (directory / "pyfpm.conf").write_text("[global]\ninclude = pools.d/*.conf\n")
    return top


@pytest.fixture
def init(project: Path) -> Init:
    """Run `pyfpm init shop` in the project."""

    def run(
        *arguments: str, name: str = "shop", wrapper: tuple[str, ...] = (), environ: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        command = [*wrapper, pyfpm_command(), "-c", str(project.parent / "pyfpm.conf"), "init", name, *arguments]
        return subprocess.run(
            command,
            cwd=project,
            env={"PATH": os.environ["PATH"], **(environ or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def pool_file(project: Path) -> Path:
    return project.parent / "pools.d" / "shop.conf"


def given(project: Path) -> list[str]:
    made = ["--domain", "shop.test", "--user", USER, "--output", str(project.parent / "pools.d")]
    return made if IS_ROOT else [*made, "--listen", str(project.parent / "shop.sock")]  # not /run/pyfpm


def test_a_script_gets_files_or_reasons(project: Path, init: Init) -> None:
    missing = init()
    assert (missing.returncode, missing.stdout) == (64, "")
    assert "--domain is missing, and there is no terminal on which to ask for it" in missing.stderr
    wrong = init(*given(project), "--user", "www-data")
    assert wrong.returncode == 64
    assert "'www-data' is no user for one application" in wrong.stderr
    assert init("--domain", "http://x", name="shop").returncode == 64
    assert init(*given(project), name="a b").returncode == 64
    assert init(*given(project), "--venv", "/nowhere").returncode == 64
    none = init(*given(project), "--directory", str(project / "static"))
    assert none.returncode == 64
    assert "found no application in" in none.stderr
    assert not pool_file(project).exists()
    done = init(*given(project), "--server", "nginx")
    assert (done.returncode, pool_file(project).stat().st_mode & 0o777) == (0, 0o644), done.stderr
    assert f"\nvenv = {project}/venv\n" in pool_file(project).read_text()
    assert f"alias {project}/static/;" in pool_file(project).with_suffix(".nginx.conf").read_text()


def test_nothing_is_overwritten_unless_asked_for(project: Path, init: Init) -> None:
    pool_file(project).parent.mkdir()
    pool_file(project).write_text("; mine\n")
    refused = init(*given(project), "--server", "none")
    assert refused.returncode == 1
    assert f"{pool_file(project)} exists already" in refused.stderr
    pool_file(project).write_text("[shop]\n; mine\n")
    dry = init(*given(project), "--server", "none", "--dry-run")
    assert (dry.returncode, "app = app:app" in dry.stdout) == (0, True), dry.stderr
    assert pool_file(project).read_text() == "[shop]\n; mine\n"
    assert init(*given(project), "--server", "none", "--force").returncode == 0
    assert "app = app:app" in pool_file(project).read_text()
    # The other pools count: two of them cannot have one name.
    pool_file(project).rename(pool_file(project).with_name("other.conf"))
    twice = init(*given(project), "--server", "none")
    assert (twice.returncode, pool_file(project).exists()) == (78, False)
    assert "this pool is described at" in twice.stderr
    # A mistake in another file is told with its place.
    other = pool_file(project).with_name("other.conf")
    other.write_text("[other]\nno_such_directive = 1\n")
    done = init(*given(project), "--server", "none", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert f"so nothing starts: {other}:1: [other]" in done.stderr


def test_it_asks_on_a_terminal(project: Path) -> None:
    terminal = Terminal(
        [pyfpm_command(), "-c", str(project.parent / "pyfpm.conf"), "init", "shop", "--output", str(project.parent)],
        environ={"HOME": "/"},
    )
    try:
        answers = {
            "Directory of the project": str(project),
            "Application [app:app]": "",
            "Web server": "caddy",
            f"Virtual environment [{project}/venv]": "",
            "User of the pool [shop]": "root",
            "'root' is no user for one application": USER,
            "Socket [/run/pyfpm/shop.sock]": "",
            "Domains of the site": "",
            "'' is no domain. Write it as in shop.example.com": "shop.test www.shop.test",
            "Write ": "y",
        }
        for question, answer in answers.items():
            terminal.wait_screen(question)
            terminal.type(f"{answer}\n")
        assert terminal.wait() == 0, terminal.received.decode()
        site = (project.parent / "shop.caddy.conf").read_text()
        assert "shop.test, www.shop.test {" in site
        assert f"\nuser = {USER}\n" in (project.parent / "shop.conf").read_text()
    finally:
        terminal.close()


@pytest.mark.root
def test_what_the_user_cannot_reach_is_an_error(project: Path, init: Init) -> None:
    project.chmod(0o700)
    refused = init(*given(project), "--server", "none")
    assert (refused.returncode, pool_file(project).exists()) == (78, False)
    assert f"user {USER} cannot enter '{project}'" in refused.stderr
    # A user who is still to be made is told as well, and the file is written.
    later = init(*given(project), "--server", "none", "--user", "pyfpm-test-user")
    assert (later.returncode, pool_file(project).exists()) == (0, True)
    assert f"note: {pool_file(project)}:" in later.stderr
    assert f"user pyfpm-test-user cannot enter '{project}'" in later.stderr
    assert "useradd --system" in later.stdout


@pytest.mark.root
def test_root_writes_nothing_into_a_directory_of_others(project: Path, init: Init) -> None:
    theirs = project.parent / "theirs"
    theirs.mkdir()
    shutil.chown(theirs, USER)
    refused = init(*given(project), "--server", "none", "--output", str(theirs))
    assert (refused.returncode, list(theirs.iterdir())) == (1, [])
    assert "belongs to another user" in refused.stderr
    assert "choose another directory by --output" in refused.stderr


@pytest.fixture
def own_etc(directory: Path) -> Iterator[tuple[str, ...]]:
    """What executes a command with a copy of /etc, so that it can make users."""
    copy = directory / "etc"
    shutil.copytree("/etc", copy, symlinks=True)
    yield ("/usr/bin/unshare", "--mount", "/bin/sh", "-ec", 'mount --bind "$0" /etc; exec "$@"', str(copy))
    shutil.rmtree(copy)


@pytest.mark.root
def test_it_makes_the_user(project: Path, init: Init, own_etc: tuple[str, ...]) -> None:
    arguments = [*given(project), "--server", "none", "--user", "pyfpm-test-user", "--create-user"]
    done = init(*arguments, wrapper=own_etc)
    assert done.returncode == 0, done.stderr
    assert "made the user pyfpm-test-user\n" in done.stdout
    assert "useradd" not in done.stdout
    entry = [line for line in (Path(own_etc[-1]) / "passwd").read_text().splitlines() if "pyfpm-test-user" in line]
    assert entry[0].endswith(f":{project}:/usr/sbin/nologin")
    assert "pyfpm-test-user" not in Path("/etc/passwd").read_text()
