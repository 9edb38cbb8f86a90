"""The help of every command: short texts that are not cut, an example, the same options everywhere."""

from __future__ import annotations

import shlex
import subprocess
import sys

import click
import pytest

from fpm.cli.main import COMMANDS, cli

WIDTH = 80
SHORT = {name: short for group in COMMANDS.values() for name, (_, short) in group.items()}
SHOWN = [name for group, commands in COMMANDS.items() if group for name in commands]
WITHOUT_RESULT = {"run": "what it prints is the log", "serve": "for somebody at a terminal, until Ctrl-C"}
"""Commands that print no result, which a program could want as JSON."""
CONTEXT = click.Context(cli, info_name="pyfpm")


def command_of(name: str) -> click.Command:
    found = cli.get_command(CONTEXT, name)
    assert found is not None
    return found


def help_of(name: str) -> str:
    return command_of(name).get_help(click.Context(command_of(name), parent=CONTEXT, info_name=name))


def test_the_help_shows_every_command_in_its_group() -> None:
    lines = cli.get_help(CONTEXT).splitlines()
    assert all(len(line) <= WIDTH for line in lines)
    for group, commands in COMMANDS.items():
        if not group:
            continue
        at = lines.index(f"{group}:") + 1
        assert [line.split(None, 1) for line in lines[at : at + len(commands)]] == [
            [name, short] for name, (_, short) in commands.items()
        ]
        assert not lines[at + len(commands)]


def test_the_help_imports_no_command() -> None:
    code = (
        "import sys; from fpm.cli.main import COMMANDS, cli; cli.main(['--help'], standalone_mode=False);"
        "print([where for group in COMMANDS.values() for where, _ in group.values() if where in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", sorted(SHORT))
def test_the_help_of_a_command_begins_with_its_short_text(name: str) -> None:
    text = command_of(name).help or ""
    assert text.split("\n\n")[0] == SHORT[name]


@pytest.mark.parametrize("name", SHOWN)
def test_the_help_of_a_command_has_an_example(name: str) -> None:
    shown = help_of(name).splitlines()
    assert [line for line in shown if len(line) > WIDTH] == []
    at = next(at for at, line in enumerate(shown) if line.strip() in ("Example:", "Examples:"))
    calls = [line for line in shown[at + 1 :] if f"pyfpm {name}" in line or f" {name} " in line]
    assert calls, "no line calls the command"
    for line in shown[at + 1 :]:
        words = shlex.split(line.split("    #")[0].partition("|")[0].partition("&&")[0], comments=True)
        if words[:2] == ["pyfpm", name]:
            command_of(name).make_context(name, words[2:], parent=CONTEXT, resilient_parsing=False)


@pytest.mark.parametrize("name", ["", *SHOWN])
def test_every_option_has_a_text(name: str) -> None:
    command = command_of(name) if name else cli
    without = [one.opts for one in command.params if isinstance(one, click.Option) and not (one.hidden or one.help)]
    assert without == []


def test_the_same_option_means_the_same_everywhere() -> None:
    """One kind of value for each name, whatever the command; what has another name today is not shown."""
    kinds: dict[str, set[tuple[bool, bool]]] = {}
    values: dict[str, set[str]] = {}
    for name in SHOWN:
        for one in command_of(name).params:
            if isinstance(one, click.Option) and not one.hidden:
                for flag in one.opts:
                    kinds.setdefault(flag, set()).add((one.is_flag, one.multiple))
                    values.setdefault(flag, set()).update([one.metavar] if one.metavar else [])
    assert {flag: found for flag, found in kinds.items() if len(found) > 1} == {}
    assert values.pop("--output") == {"DIR", "FILE"}, "one writes one file, the other several"
    assert {flag: found for flag, found in values.items() if len(found) > 1} == {}


@pytest.mark.parametrize("name", SHOWN)
def test_formats_and_limits_are_named_alike(name: str) -> None:
    options = {flag: one for one in command_of(name).params if isinstance(one, click.Option) for flag in one.opts}
    assert ("--format" in options) == ("--json" in options) == (name not in WITHOUT_RESULT)
    if "--format" in options:
        assert options["--json"].hidden
        choice = options["--format"].type
        assert isinstance(choice, click.Choice)
        assert {"json", "text"} <= set(choice.choices)
    if "--timeout" in options:
        assert (options["--timeout"].help or "").endswith("; 0: no limit.")
