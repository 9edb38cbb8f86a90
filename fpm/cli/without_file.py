"""`pyfpm run --app M:A --listen L`, or PYFPM_APP and PYFPM_LISTEN: one pool in production, without any file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Protocol, TypeVar

import click

from fpm.cli.options import Options
from fpm.config.from_options import is_wanted, load_options
from fpm.config.model import Config
from fpm.config.options_values import OWN_OPTIONS, Given, read_settings
from fpm.errors import ConfigError
from fpm.frozen import dataclass

HELP = {
    "app": ("MODULE:CALLABLE", "Serve this application, without a configuration file."),
    "listen": ("ADDRESS", "Where the web server connects: /path/to.sock, address:port or port."),
    "user": ("USER", "User of the workers."),
    "chdir": ("DIR", "Directory of the application. [default: this one]"),
    "pythonpath": ("DIR:DIR", "Directories in which modules are looked up first."),
    "venv": ("DIR", "Virtual environment of the application."),
    "pm.max_children": ("NUMBER", "Number of workers. [default: 4]"),
}
MISSING = (
    "{file}: there is no such file. `pyfpm setup` prepares a machine, -c names another file, and one application can "
    "run without any: pyfpm run --app MODULE:CALLABLE --listen ADDRESS"
)
SHORT = {"--workers": ["-w"]}

_Command = TypeVar("_Command", bound=Callable[..., Any])


class Source(Protocol):
    """Where a configuration comes from: a file, or options."""

    @property
    def force_stderr(self) -> bool:
        """Tell whether the log goes to standard error whatever `error_log` says."""
        ...

    @property
    def title(self) -> str:
        """Name the configuration in a sentence."""
        ...

    def load(self) -> Config:
        """Read the configuration.

        Raises:
            ConfigError: with every error.
        """
        ...

    def arguments(self) -> list[str]:
        """Return the arguments that come before the name of a command."""
        ...

    def command_arguments(self) -> list[str]:
        """Return the arguments that come after it."""
        ...


@dataclass(frozen=True, slots=True)
class OptionsSource:
    """A configuration from options and variables."""

    common: Options
    name: str | None
    given: tuple[Given, ...]
    words: tuple[str, ...]
    """The options as arguments, for an upgrade."""

    @property
    def force_stderr(self) -> bool:
        """Tell whether the log goes to standard error whatever `error_log` says."""
        return self.common.force_stderr

    @property
    def title(self) -> str:
        """Name the configuration in a sentence."""
        return "configuration by options and variables"

    def load(self) -> Config:
        """Check options and variables; see fpm.config.from_options.

        Raises:
            ConfigError: with every error.
        """
        return load_options(
            self.given,
            name=self.name,
            environ=os.environ,
            prefix=os.path.abspath(self.common.prefix or "."),
            allow_root=self.common.allow_root,
            pid_override=self.common.pid,
        )

    def arguments(self) -> list[str]:
        """Return the options of every command, without a file."""
        prefix = os.path.abspath(self.common.prefix or ".")
        return replace(self.common, prefix=prefix).arguments()[2:]

    def command_arguments(self) -> list[str]:
        """Return the options of `run`."""
        return list(self.words)


def take_options(command: _Command) -> _Command:
    """Give a command the options that stand for a file; `choose_source` reads them."""
    command = click.option(
        "--set", "settings", multiple=True, metavar="NAME=VALUE", help="Set any directive; global.NAME: of [global]."
    )(command)
    command = click.option("--name", metavar="NAME", help="Name of the pool. [default: app]")(command)
    for directive, option in reversed(OWN_OPTIONS.items()):
        metavar, text = HELP[directive]
        names = [*SHORT.get(option, []), option, directive.replace(".", "_")]
        command = click.option(*names, metavar=metavar, help=text)(command)
    return command


def choose_source(options: Options, values: Mapping[str, Any]) -> Source:
    """Return where the configuration comes from: options, PYFPM_* variables, or the file.

    Args:
        values: of the options of `take_options`.

    Raises:
        click.UsageError: a file and options are given, or options without an application.
        ConfigError: nothing is given, and there is no file.
    """
    settings, name = values["settings"], values["name"]
    given = {directive: values[directive.replace(".", "_")] for directive in OWN_OPTIONS}
    flags = [OWN_OPTIONS[directive] for directive, value in given.items() if value is not None]
    flags += ["--name"] * (name is not None) + ["--set"] * bool(settings)
    if options.has_file:
        if flags:
            raise click.UsageError(f"-c FILE and {flags[0]} exclude each other: leave out one of them.")
        return options
    if not flags and not is_wanted(os.environ):
        if not os.path.exists(options.file):
            raise ConfigError([MISSING.format(file=options.file)])
        return options
    if given["app"] is None and not is_wanted(os.environ):
        raise click.UsageError(f"{flags[0]} needs an application: give --app MODULE:CALLABLE, or set PYFPM_APP.")
    return OptionsSource(options, name, tuple(_given(given, settings)), tuple(_words(given, name, settings)))


def _given(values: Mapping[str, str | None], settings: tuple[str, ...]) -> Iterator[Given]:
    try:
        yield from read_settings(settings)
    except ValueError as error:
        raise click.BadParameter(f"'{error}' is not NAME=VALUE.", param_hint="--set") from None
    for directive, text in values.items():
        if text is not None:
            yield Given("pool", directive, text, OWN_OPTIONS[directive])


def _words(values: Mapping[str, str | None], name: str | None, settings: tuple[str, ...]) -> Iterator[str]:
    for directive, text in values.items():
        if text is not None:
            yield f"{OWN_OPTIONS[directive]}={text}"
    if name is not None:
        yield f"--name={name}"
    for setting in settings:
        yield f"--set={setting}"
