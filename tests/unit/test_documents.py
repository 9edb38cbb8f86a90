"""What the documents say is what the program has: commands, options, directives."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from fpm.cli.main import cli
from fpm.cli.serve import TEXT
from fpm.config import directives

TOP = Path(__file__).parent.parent.parent
PAGE = (TOP / "man" / "pyfpm.8").read_text()
STATEMENT = re.compile(r"^ *;?([a-z][a-z_.]*)(?:\[\w+\])? = (?!.*\{$)", re.MULTILINE)


def options() -> Iterator[tuple[str, str]]:
    """(command, option) of the whole command line; the group itself is the command ''."""
    commands: dict[str, click.Command] = {"": cli, **cli.commands}
    for name, command in commands.items():
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
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
    assert described == set(cli.commands)


@pytest.mark.parametrize("name", ["README.md", "examples/hello/pool.conf"])
def test_directives_in_documents_exist(name: str) -> None:
    assert_directives((TOP / name).read_text())


def test_directives_in_the_introduction_of_serve_exist() -> None:
    assert_directives(TEXT)


def assert_directives(text: str) -> None:
    names = set(STATEMENT.findall(text)) - {"include"}
    assert len(names) > 5
    unknown = [name for name in names if not directives.find("pool", name) and not directives.find("global", name)]
    assert unknown == []
