"""The options of every command, before or after its name: the configuration file and some of php-fpm's flags."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from typing import Any

import click
from click.core import ParameterSource

from fpm.client.control import ask
from fpm.config.addresses import parse_address
from fpm.config.build import refuse_obstacles
from fpm.config.load import find_control, load
from fpm.config.local_system import DEFAULT_FILE, default_control, foreign_controls
from fpm.config.model import Config, ListenAddress
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

    def arguments(self) -> list[str]:
        """Return the same options as command line arguments, for an upgrade."""
        given = ["-c", os.path.abspath(self.file)]
        for flag, value in (("-p", self.prefix), ("-g", self.pid)):
            given += [flag, os.path.abspath(value)] if value else []
        return given + ["-R"] * self.allow_root + ["-O"] * self.force_stderr

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

    def control_path(self) -> str:
        """Return the control socket of the daemon with this configuration, even if the file now has mistakes.

        Raises:
            ConfigError: the file cannot be read.
            ControlError: this user started none, but somebody else did.
        """
        file, is_root = os.path.abspath(self.file), os.geteuid() == 0
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
        address = parse_address(answer["pools"][0]["listen"])
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
        ctx.obj = replace(ctx.obj or Options(), **{param.name: value})


def _option(*names: str, hidden: bool, **attributes: Any) -> click.Option:
    return click.Option(names, hidden=hidden, expose_value=False, callback=_take, **attributes)


def _options(*, brief: bool) -> list[click.Parameter]:
    """Make the options anew; a `brief` help shows the file only."""
    file = ("-c", "-y", "--config", "--fpm-config", "file")
    root = ("-R", "--allow-to-run-as-root", "allow_root")
    text = "Log to standard error in the foreground, overriding error_log."
    return [
        _option(*file, hidden=False, default=DEFAULT_FILE, show_default=True, metavar="FILE"),
        _option(*root, hidden=brief, is_flag=True, help="Allow pools that run as root."),
        _option("-p", "--prefix", hidden=brief, metavar="DIR", help="Base directory of relative paths."),
        _option("-g", "--pid", hidden=brief, metavar="FILE", help="The pid file."),
        _option("-O", "--force-stderr", hidden=brief, is_flag=True, help=text),
    ]


class CommandGroup(click.Group):
    """A group whose context object is an Options, filled by options that each of its commands takes as well.

    Args:
        modules: where each command is; a module is imported when its command is wanted.
    """

    def __init__(self, *arguments: Any, modules: Mapping[str, str], **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self._modules = modules
        self.params += _options(brief=False)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name all commands."""
        return sorted(self._modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Find a command: in its module, it has the name of a function."""
        if cmd_name in self._modules and cmd_name not in self.commands:
            module = import_module(self._modules[cmd_name])
            self.add_command(getattr(module, cmd_name.replace("-", "_")))
        return super().get_command(ctx, cmd_name)

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a command, and to it the options of the group."""
        cmd.params += _options(brief=True)
        super().add_command(cmd, name)
