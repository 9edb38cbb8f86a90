"""What the doctor's helper processes are asked: the configuration's place, and what has been found out before. Pure."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from fpm.doctor.shell import Shell
from fpm.doctor.socket_access import WebUser
from fpm.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Source:
    """Where a configuration is read from, as the command line says (fpm.cli.options.Options)."""

    file: str
    prefix: str | None
    allow_root: bool


@dataclass(frozen=True, slots=True)
class Request:
    """Which pools of a configuration are to be looked at."""

    source: Source
    pools: tuple[str, ...]
    web: WebUser | None
    shell: Shell


def pack_request(request: Request) -> str:
    """Make an argument of it."""
    return json.dumps(asdict(request))


def read_request(text: str) -> Request:
    """Read the argument."""
    values: dict[str, Any] = json.loads(text)
    web = values["web"]
    return Request(
        Source(**values["source"]),
        tuple(values["pools"]),
        None if web is None else WebUser(**{**web, "gids": tuple(web["gids"])}),
        Shell(**values["shell"]),
    )
