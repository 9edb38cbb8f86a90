"""What a program says about its pools: values by the names of directives, as one text for the master's process."""

from __future__ import annotations

import json
import os
import socket
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fpm.config.from_code import Given, load_given
from fpm.errors import ConfigError

CONTROL = "control"
"""The control socket in the manager's directory."""
FILE = "configuration.json"
"""Also there; a reload reads it anew."""
OWN = {
    "control": "the manager makes a control socket of its own",
    "pid": "the manager knows the pid of its master",
    "error_log": "the log comes to the program, as events",
    "daemonize": "the master is a child of the program",
}
"""Directives of [global] that a program cannot set, and why."""


class Pool:
    """One pool.

    Args:
        name: of the pool, as the head of a section.
        app: the WSGI application, `module:callable` as in the directive.
        listen: an address as in the directive, or an open listening socket, which stays the program's.
        directives: every other directive of a pool by its name, with `_` for `.`: `pm_max_children=5`,
            `request_slowlog_timeout=1.5` (seconds), `env={"NAME": "value"}`. A text stands for what a file would say.
    """

    def __init__(self, name: str, *, app: str, listen: str | socket.socket, **directives: Any) -> None:
        self.name = name
        self.socket = listen if isinstance(listen, socket.socket) else None
        address = listen if isinstance(listen, str) else _address_of(name, listen)
        self.directives: dict[str, Any] = {"app": app, "listen": address, "pm": "ondemand", **directives}

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value!r}" for name, value in self.directives.items())
        return f"Pool({self.name!r}, {values})"


class Settings:
    """The directives of [global] by their names, with `_` for `.`: `process_control_timeout=5`."""

    def __init__(self, **directives: Any) -> None:
        taken = sorted(OWN.keys() & directives.keys())
        if taken:
            raise ConfigError([f"<code>: [global] {name}: cannot be set here; {OWN[name]}." for name in taken])
        self.directives = directives

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
    raise ConfigError([f"<code>: [{name}] listen: a socket without a path or a port cannot be listened on."])


class ConfigurationWriter:
    """Checks what a program says about its pools, and writes it where the master reads it.

    Args:
        name: what the process list shows for the configuration.
        prefix: relative paths are relative to it.
        allow_root: allow pools that run as root.
    """

    def __init__(self, name: str, prefix: str, allow_root: bool) -> None:
        self._name = name
        self._prefix = prefix
        self._allow_root = allow_root

    def check(self, pools: Sequence[Pool], settings: Settings) -> None:
        """Raise ConfigError with everything that is wrong."""
        load_given(self._describe(tempfile.gettempdir(), pools, settings), os.environ)

    def write(self, directory: str, pools: Sequence[Pool], settings: Settings) -> None:
        """Write it into the manager's directory, whole or not at all."""
        new = Path(directory) / f"{FILE}.new"
        new.write_bytes(pack_given(self._describe(directory, pools, settings)))
        new.replace(Path(directory) / FILE)

    def _describe(self, directory: str, pools: Sequence[Pool], settings: Settings) -> Given:
        return Given(
            global_={**settings.directives, "control": os.path.join(directory, CONTROL), "error_log": None},
            pools=[(pool.name, pool.directives) for pool in pools],
            name=self._name,
            prefix=self._prefix,
            allow_root=self._allow_root,
        )


def pack_given(given: Given) -> bytes:
    """As JSON, for the master's process.

    Raises:
        ConfigError: a value is nothing that a configuration could hold.
    """
    try:
        return json.dumps(
            {
                "global": _plain(given.global_),
                "pools": [[name, _plain(values)] for name, values in given.pools],
                "name": given.name,
                "prefix": given.prefix,
                "allow_root": given.allow_root,
            }
        ).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError([f"<code>: a value cannot be written down: {error}."]) from error


def unpack_given(data: bytes) -> Given:
    """What pack_given() has made."""
    values = json.loads(data)
    pools = [(name, pool) for name, pool in values["pools"]]
    return Given(values["global"], pools, values["name"], values["prefix"], values["allow_root"])


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: os.fspath(value) if isinstance(value, os.PathLike) else value for name, value in values.items()}
