"""The options before the command: the configuration file and php-fpm's flags."""

from __future__ import annotations

import os
from dataclasses import dataclass

from fpm.client.control import ask
from fpm.config.build import refuse_obstacles
from fpm.config.load import find_control, load
from fpm.config.local_system import DEFAULT_FILE
from fpm.config.model import Config, ListenAddress
from fpm.config.values import parse_address
from fpm.errors import ControlError


@dataclass(frozen=True, slots=True)
class Options:
    """The command line's global options."""

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
        """
        return find_control(self.file, prefix=self.prefix, environ=os.environ, is_root=os.geteuid() == 0)

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
