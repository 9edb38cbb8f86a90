"""A program's configuration of its pools: values by directive names, passed to the master process as JSON."""

from __future__ import annotations

import json
import os
import socket
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from fpm.config.build import refuse_obstacles
from fpm.config.from_code import ConfigValues, load_values
from fpm.errors import ConfigError

if TYPE_CHECKING:
    from fpm.manager.directive_types import GlobalDirectives, PoolDirectives

CONTROL = "control"
"""The control socket in the manager's directory."""
FILE = "configuration.json"
"""In the same directory; a reload reads it again."""
OWN = {
    "control": "the manager makes a control socket of its own",
    "pid": "the manager knows the pid of its master",
    "error_log": "the log comes to the program, as events",
    "daemonize": "the master is a child of the program",
}
"""Directives of [global] that a program cannot set, and the reason."""


class Pool:
    """One pool.

    Args:
        name: the pool's name, as in a section head.
        app: the WSGI application, `module:callable` as in the directive.
        listen: an address as in the directive, or an open listening socket, which stays the program's.
        directives: every other directive of a pool by its name, with `_` for `.`: `pm_max_children=5`,
            `request_slowlog_timeout=1.5` (seconds), `env={"NAME": "value"}`. A string is parsed as in a file.
    """

    def __init__(
        self, name: str, *, app: str, listen: str | socket.socket, **directives: Unpack[PoolDirectives]
    ) -> None:
        self.name = name
        self.socket = listen if isinstance(listen, socket.socket) else None
        address = listen if isinstance(listen, str) else _address_of(name, listen)
        self.directives: dict[str, Any] = {"app": app, "listen": address, "pm": "ondemand", **directives}

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value!r}" for name, value in self.directives.items())
        return f"Pool({self.name!r}, {values})"


class Settings:
    """The directives of [global] by their names, with `_` for `.`: `process_control_timeout=5`."""

    def __init__(self, **directives: Unpack[GlobalDirectives]) -> None:
        taken = sorted(OWN.keys() & directives.keys())
        if taken:
            raise ConfigError([f"Settings({name}=...): cannot be set here; {OWN[name]}." for name in taken])
        self.directives: dict[str, Any] = {**directives}

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in self.directives.items())})"


def _address_of(name: str, listening: socket.socket) -> str:
    address = listening.getsockname()
    if listening.family in (socket.AF_INET, socket.AF_INET6):
        host, port = address[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if listening.family == socket.AF_UNIX and isinstance(address, str) and address.startswith("/"):
        return address
    if listening.family == socket.AF_UNIX and isinstance(address, str) and address:
        return os.path.abspath(address)
    if listening.family == socket.AF_UNIX and isinstance(address, bytes) and address:
        return "@" + os.fsdecode(address[1:])
    raise ConfigError([f"Pool({name!r}, listen=...): a socket without a path or a port cannot be listened on."])


class ConfigurationWriter:
    """Checks a program's configuration and writes it where the master reads it.

    Args:
        name: the configuration's name in the process list.
        prefix: the directory in which relative paths start.
        allow_root: allow pools that run as root.
    """

    def __init__(self, name: str, prefix: str, allow_root: bool) -> None:
        self._name = name
        self._prefix = prefix
        self._allow_root = allow_root

    def check(self, pools: Sequence[Pool], settings: Settings) -> None:
        """Check the configuration without writing it.

        Raises:
            ConfigError: lists every error, and all that a pool lacks on this machine.
        """
        refuse_obstacles(load_values(self._describe(tempfile.gettempdir(), pools, settings), os.environ))

    def write(self, directory: str, pools: Sequence[Pool], settings: Settings) -> None:
        """Write it into the manager's directory atomically."""
        new = Path(directory) / f"{FILE}.new"
        new.write_bytes(pack_values(self._describe(directory, pools, settings)))
        new.replace(Path(directory) / FILE)

    def _describe(self, directory: str, pools: Sequence[Pool], settings: Settings) -> ConfigValues:
        return ConfigValues(
            global_={
                "status_history": False,  # one process more, for commands that a program seldom wants
                **settings.directives,
                "control": os.path.join(directory, CONTROL),
                "error_log": None,
            },
            pools=[(pool.name, pool.directives) for pool in pools],
            name=self._name,
            prefix=self._prefix,
            allow_root=self._allow_root,
        )


def pack_values(values: ConfigValues) -> bytes:
    """Pack the values as JSON for the master process.

    Raises:
        ConfigError: JSON cannot represent a value.
    """
    try:
        return json.dumps(
            {
                "global": _plain(values.global_),
                "pools": [[name, _plain(directives)] for name, directives in values.pools],
                "name": values.name,
                "prefix": values.prefix,
                "allow_root": values.allow_root,
            }
        ).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError([f"a value cannot be written down: {error}."]) from error


def unpack_values(data: bytes) -> ConfigValues:
    """Unpack what pack_values() has packed."""
    values = json.loads(data)
    pools = [(name, pool) for name, pool in values["pools"]]
    return ConfigValues(values["global"], pools, values["name"], values["prefix"], values["allow_root"])


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: os.fspath(value) if isinstance(value, os.PathLike) else value for name, value in values.items()}
