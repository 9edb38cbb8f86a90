"""What the documents say is what the program has: commands, options, directives."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from fpm.cli.main import cli
from fpm.config import directives
from fpm.stacks.text.entry_parser import OWN

TOP = Path(__file__).parent.parent.parent
PAGE = (TOP / "man" / "pyfpm.8").read_text()
GUIDES = ["docs/tour.md", "docs/deploying.md", "docs/monitoring.md", "docs/slow-requests.md"]
CALL = re.compile(r"(?:^|[\s`/])pyfpm (?:-c \S+ )?([a-z][a-z-]*)([^`|;&>#\n]*)", re.MULTILINE)
"""A call of the command in a line of code or between backquotes: command, arguments."""
CONTEXT = click.Context(cli)
COMMANDS = {name: command for name in cli.list_commands(CONTEXT) if (command := cli.get_command(CONTEXT, name))}
STATEMENT = re.compile(r"^ *;?([a-z][a-z_.]*)(?:\[\w+\])? = (?!\[|.*\{$)", re.MULTILINE)


def options() -> Iterator[tuple[str, str]]:
    """(command, option) of the whole command line; the group, whose options each command takes, is the command ''."""
    commands: dict[str, click.Command] = {"": cli, **COMMANDS}
    for name, command in commands.items():
        for parameter in command.params:
            of_all = name and not parameter.expose_value
            if isinstance(parameter, click.Option) and not (parameter.hidden or command.hidden or of_all):
                yield from ((name, option) for option in parameter.opts)


def section_of(command: str) -> str:
    """The part of the manual page about one command, or about the options before it."""
    if not command:
        return PAGE[PAGE.index(".Sh OPTIONS") : PAGE.index(".Sh COMMANDS")]
    found = re.search(rf"^\.It (?:Xo )?Ic {command}\b.*?(?=^\.It (?:Xo )?Ic |^\.El)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, f"man/pyfpm.8 says nothing about {command}"
    return found[0]


@pytest.mark.parametrize(("command", "option"), sorted(options()))
def test_the_manual_page_has_every_option(command: str, option: str) -> None:
    flag = option[1:]
    assert re.search(rf"\bFl (?:\S+ , Fl )*{re.escape(flag)}(?!\w)", section_of(command)), f"{command} {option}"


def test_the_manual_page_has_every_command_and_no_other() -> None:
    described = set(re.findall(r"^\.It (?:Xo )?Ic ([a-z-]+)", PAGE, re.MULTILINE))
    assert described == {name for name, command in COMMANDS.items() if not command.hidden}


@pytest.mark.parametrize(
    "name", [*GUIDES, "docs/background-work.md", "docs/flup.md", "docs/scaling.md", "examples/hello/pool.conf"]
)
def test_directives_in_documents_exist(name: str) -> None:
    assert_directives((TOP / name).read_text())


def assert_directives(text: str) -> None:
    names = set(STATEMENT.findall(text)) - {"include"} - OWN  # an entry of the slow log has lines of the same form
    assert len(names) > 5
    unknown = [name for name in names if not directives.find("pool", name) and not directives.find("global", name)]
    assert unknown == []


def calls(text: str) -> list[tuple[str, list[str]]]:
    """(command, options) of the calls of pyfpm in the code of a document: fenced or between backquotes."""
    fenced = "".join(re.findall(r"^ *```[a-z]+\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL))
    code = [*fenced.splitlines(), *re.findall(r"`[^`\n]+`", text)]
    return [(name, re.findall(r"--[a-z-]+", rest)) for line in code for name, rest in CALL.findall(line)]


def assert_calls(found: list[tuple[str, list[str]]]) -> None:
    known = {
        name: {opt for parameter in command.params for opt in parameter.opts} for name, command in COMMANDS.items()
    }
    assert [call for call in found if not set(call[1]) <= known.get(call[0], set())] == []
    assert {name for name, _ in found} <= set(known)


@pytest.mark.parametrize("name", GUIDES)
def test_commands_in_guides_exist(name: str) -> None:
    found = calls((TOP / name).read_text())
    assert len(found) > 10
    assert_calls(found)


def test_the_unit_calls_commands_that_exist() -> None:
    unit = (TOP / "contrib" / "systemd" / "pyfpm.service").read_text()
    lines = re.findall(r"^Exec\w+=/opt/pyfpm/bin/(pyfpm .*)$", unit, re.MULTILINE)
    assert len(lines) == 2
    assert_calls([call for line in lines for call in calls(f"`{line}`")])


def test_the_unit_of_one_pool_differs_from_that_of_all_by_its_file() -> None:
    units = TOP / "contrib" / "systemd"
    of_all, of_one = (settings((units / name).read_text()) for name in ("pyfpm.service", "pyfpm@.service"))
    assert of_one - of_all == {
        "Description=pyfpm, FastCGI process manager for Python, pool %i",
        "Conflicts=pyfpm.service",
        "ExecStart=/opt/pyfpm/bin/pyfpm -c /etc/pyfpm/pools.d/%i.conf run",
        "ExecReload=/opt/pyfpm/bin/pyfpm -c /etc/pyfpm/pools.d/%i.conf reload --timeout 270",
    }
    assert {line.partition("=")[0] for line in of_all - of_one} == {"Description", "ExecStart", "ExecReload"}


def settings(unit: str) -> set[str]:
    return {line for line in unit.splitlines() if re.match(r"[A-Z]\w*=", line)}


def test_systemd_does_not_repeat_what_cannot_become_right() -> None:
    """A failed ExecStartPre= would be repeated whatever its status: RestartPreventExitStatus= speaks of ExecStart=."""
    unit = (TOP / "contrib" / "systemd" / "pyfpm.service").read_text()
    assert "\nExecStartPre=" not in unit
    assert "\nRestartPreventExitStatus=64 78\n" in unit


def test_the_deploy_script_of_the_guide(tmp_path: Path) -> None:
    """The first deploy, the second, and one that the reload refuses."""
    (script,) = re.findall(
        r"^```sh\n(#!/bin/sh\n.*?)^```$", (TOP / "docs" / "deploying.md").read_text(), re.MULTILINE | re.DOTALL
    )
    site, stubs = tmp_path / "shop", tmp_path / "bin"
    site.mkdir()
    stubs.mkdir()
    text = script.replace("/srv/shop", str(site))
    commands = {
        "git": 'for last; do :; done; mkdir -p "$last"',
        "python3": 'mkdir -p "$3/bin"; printf "#!/bin/sh\\n" > "$3/bin/pip"; chmod +x "$3/bin/pip"',
        "pyfpm": '[ ! -e "$REFUSE" ]',
    }
    for name, body in commands.items():
        (stubs / name).write_text(f"#!/bin/sh\n{body}\n")
        (stubs / name).chmod(0o755)
    environ = {"PATH": f"{stubs}:{os.environ['PATH']}", "REFUSE": str(tmp_path / "refuse")}

    def deploy(tag: str) -> int:
        return subprocess.run(["sh", "-c", text, "deploy", tag], env=environ, timeout=60, check=False).returncode

    (tmp_path / "refuse").touch()
    assert (deploy("40"), os.path.lexists(site / "current")) == (1, False)
    (tmp_path / "refuse").unlink()
    for tag in ("41", "42"):
        assert (deploy(tag), os.readlink(site / "current")) == (0, f"releases/{tag}")
    (tmp_path / "refuse").touch()
    assert (deploy("43"), os.readlink(site / "current")) == (1, "releases/42")


def test_systemd_waits_longer_for_a_reload_than_the_reload_itself() -> None:
    unit = (TOP / "contrib" / "systemd" / "pyfpm.service").read_text()
    ours = re.search(r"^ExecReload=.* --timeout (\d+)$", unit, re.MULTILINE)
    theirs = re.search(r"^TimeoutStartSec=(\d+)$", unit, re.MULTILINE)
    assert ours
    assert theirs
    assert int(ours[1]) < int(theirs[1])


def test_what_the_document_on_security_names_exists() -> None:
    text = (TOP / "docs/security.md").read_text()
    sources: dict[str, str] = {}
    for path in (TOP / "tests").rglob("*.py"):
        sources[path.name] = sources.get(path.name, "") + path.read_text()
    for named in set(re.findall(r"tests/[\w/]+(?:\.py)?", text)):
        assert (TOP / named).exists(), named
    for file, function in re.findall(r"(test_\w+\.py)(?:::(test_\w+))?", text):
        assert file in sources, file
        assert not function or f"def {function}(" in sources[file], f"{file}::{function}"
    rows = "".join(source for name, source in sources.items() if name in ("attacks.py", "reaches.py", "exhausting.py"))
    for row in re.findall(r'"([^"\n-]+)"', text):
        assert f'"{row}"' in rows, f"no attack is called {row!r}"
