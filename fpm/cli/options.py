"""The options of every command, before or after its name: the configuration file and some of php-fpm's flags."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from importlib import import_module
from typing import Any

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from fpm.cli.completion import add_completion
from fpm.client.control import ask, unreadable
from fpm.config.addresses import parse_address
from fpm.config.build import refuse_obstacles
from fpm.config.load import find_control, load, load_with_sections
from fpm.config.local_system import DEFAULT_FILE, default_control, foreign_controls
from fpm.config.model import Config, ListenAddress
from fpm.config.options_values import control_variable
from fpm.config.read import Sections
from fpm.errors import ConfigError, ControlError
from fpm.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says for all commands; `CommandGroup` adds the options."""

    file: str = DEFAULT_FILE
    prefix: str | None = None
    pid: str | None = None
    allow_root: bool = False
    force_stderr: bool = False
    has_file: bool = False
    """The file was given, not left to its default."""

    def arguments(self) -> list[str]:
        """Return the same options as command line arguments, for an upgrade."""
        given = ["-c", os.path.abspath(self.file)]
        for flag, value in (("-p", self.prefix), ("-g", self.pid)):
            given += [flag, os.path.abspath(value)] if value else []
        return given + ["-R"] * self.allow_root + ["-O"] * self.force_stderr

    @property
    def title(self) -> str:
        """Name the configuration in a sentence."""
        return f"configuration file {self.file}"

    def command_arguments(self) -> list[str]:
        """Return what follows the name of a command: nothing."""
        return []

    def check(self) -> Config:
        """Read the configuration, and check both its text and what this machine has for it.

        Raises:
            ConfigError: with every error, and all that a pool lacks.
        """
        return refuse_obstacles(self.load())

    def load(self) -> Config:
        """Read the configuration; what a pool lacks on this machine is told in the result.

        Raises:
            ConfigError: with every error.
        """
        return load(
            self.file,
            prefix=self.prefix,
            environ=os.environ,
            is_root=os.geteuid() == 0,
            allow_root=self.allow_root,
            pid_override=self.pid,
        )

    def load_with_sections(self) -> tuple[Config, Sections]:
        """Do as `load`, and return also where each directive stands.

        Raises:
            ConfigError: with every error.
        """
        is_root = os.geteuid() == 0
        return load_with_sections(
            self.file, prefix=self.prefix, environ=os.environ, is_root=is_root, allow_root=self.allow_root
        )

    def control_path(self) -> str:
        """Return the control socket of the daemon with this configuration, even if the file now has mistakes.

        Raises:
            ConfigError: the file cannot be read.
            ControlError: this user started none, but somebody else did.
        """
        file, is_root = os.path.abspath(self.file), os.geteuid() == 0
        named = not self.has_file and control_variable(os.environ)
        if named:
            return os.path.abspath(named)
        own = default_control(file, environ=os.environ, is_root=is_root)
        try:
            path = find_control(file, prefix=self.prefix, environ=os.environ, is_root=is_root)
        except ConfigError:
            if not os.access(file, os.R_OK):  # as for a file of root's daemon with secrets in it
                _refuse_foreign(file, own, is_root)
            raise
        if path == own and not os.path.exists(own):
            _refuse_foreign(file, own, is_root)
        return path

    def resolve(self, pool: str) -> ListenAddress:
        """Return the address of a pool of the running daemon.

        Raises:
            ControlError: no daemon answers, or it has no such pool.
        """
        answer = ask(self.control_path(), {"command": "status", "pool": pool})
        try:
            address = parse_address(str(answer["pools"][0]["listen"]))
        except (KeyError, IndexError, TypeError) as error:
            raise unreadable(error) from error
        if isinstance(address, str):
            raise ControlError(f"the daemon reports an invalid address for pool {pool}: {address}")
        return address


def _refuse_foreign(file: str, own: str, is_root: bool) -> None:
    """Say whose daemon runs with this file, if there is one."""
    for whose, path, advice in foreign_controls(file, environ=os.environ, is_root=is_root):
        if path != own and os.path.exists(path):
            raise ControlError(f"nobody listens on {own}, but {whose} has its control socket at {path}: {advice}")


def _take(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    """Put a given option into the context's Options; one after the command replaces the one before it."""
    if param.name is not None and ctx.get_parameter_source(param.name) is not ParameterSource.DEFAULT:
        given = {param.name: value} | ({"has_file": True} if param.name == "file" else {})
        ctx.obj = replace(ctx.obj or Options(), **given)


def _option(*names: str, hidden: bool, **attributes: Any) -> click.Option:
    return click.Option(names, hidden=hidden, expose_value=False, callback=_take, **attributes)


def _options(*, brief: bool) -> list[click.Parameter]:
    """Make the options anew; a `brief` help shows the file only."""
    file = ("-c", "-y", "--config", "--fpm-config", "file")
    root = ("-R", "--allow-to-run-as-root", "allow_root")
    text = "Log to standard error in the foreground, overriding error_log."
    return [
        _option(*file, hidden=False, default=DEFAULT_FILE, show_default=True, metavar="FILE", help="Main file."),
        _option(*root, hidden=brief, is_flag=True, help="Allow pools that run as root."),
        _option("-p", "--prefix", hidden=brief, metavar="DIR", help="Base directory of relative paths."),
        _option("-g", "--pid", hidden=brief, metavar="FILE", help="The pid file."),
        _option("-O", "--force-stderr", hidden=brief, is_flag=True, help=text),
    ]


def format_option(*forms: str) -> Callable[[click.decorators.FC], click.decorators.FC]:
    """Return the decorator for `--format`, with `text` and `json` unless others are given; `--json` works, too."""
    choice = click.Choice(forms or ("text", "json"))
    default = choice.choices[0]
    text = "How to print the result; json: for programs."

    def add(command: click.decorators.FC) -> click.decorators.FC:
        command = click.option("--json", "form", flag_value="json", hidden=True)(command)
        return click.option("--format", "form", type=choice, default=default, show_default=True, help=text)(command)

    return add


def unknown_pool(name: str, names: Iterable[str]) -> click.ClickException:
    """Return the error that there is no pool `name`, in the words of the master; the exit status is 1."""
    return click.ClickException(f"there is no pool '{name}'; there are: {', '.join(names)}")


def timeout_option(default: float, text: str) -> Callable[[click.decorators.FC], click.decorators.FC]:
    """Return the decorator for `--timeout`; `text` says of what, and the command takes 0 for no limit."""
    return click.option(
        "--timeout",
        default=default,
        type=click.FloatRange(0),
        metavar="SECONDS",
        show_default=True,
        help=f"Seconds {text}; 0: no limit.",
    )


Groups = Mapping[str, Mapping[str, tuple[str, str]]]
"""Group, command, (its module, its short text)."""


def examples(*lines: str) -> str:
    """Return the end of a command's help: one example a line, such as `pyfpm reload shop`."""
    return "\n".join(["\b", "Example:" if len(lines) == 1 else "Examples:", *(f"  {line}" for line in lines)])


class CommandGroup(click.Group):
    """A group whose context object is an Options, filled by options that each of its commands takes as well.

    Args:
        groups: the commands as the help shows them; a module is imported when its command is wanted.
    """

    def __init__(self, *arguments: Any, groups: Groups, **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self._groups = groups
        self._modules = {name: where for group in groups.values() for name, (where, _) in group.items()}
        self.params += _options(brief=False)
        add_completion(self.params)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name all commands."""
        return sorted(self._modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Find a command in its module."""
        if cmd_name in self._modules and cmd_name not in self.commands:
            named = vars(import_module(self._modules[cmd_name])).values()
            self.add_command(next(one for one in named if isinstance(one, click.Command) and one.name == cmd_name))
        return super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command of these arguments; one that is misspelt is named, as click does for options."""
        if self.get_command(ctx, args[0]) is None and not args[0].startswith("-") and not ctx.resilient_parsing:
            from difflib import get_close_matches  # for mistakes only

            near = get_close_matches(args[0], self._modules, n=1)
            hint = f"Did you mean '{near[0]}'?" if near else "`pyfpm --help` lists them."
            ctx.fail(f"There is no command '{args[0]}'. {hint}")
        return super().resolve_command(ctx, args)

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a command, and to it the options of the group."""
        cmd.params += _options(brief=True)
        add_completion(cmd.params)
        super().add_command(cmd, name)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Propose commands with their short texts, for which none is imported, and options."""
        shown = {
            name: text for group, commands in self._groups.items() if group for name, (_, text) in commands.items()
        }
        found = [CompletionItem(name, help=text) for name, text in shown.items() if name.startswith(incomplete)]
        return found + click.Command.shell_complete(self, ctx, incomplete)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Show the commands by group, then the options; no command is imported for it."""
        width = max(map(len, self._modules))
        for group, commands in self._groups.items():
            if group:
                with formatter.section(group):
                    formatter.write_dl([(f"{name:<{width}}", text) for name, (_, text) in commands.items()])
        click.Command.format_options(self, ctx, formatter)
