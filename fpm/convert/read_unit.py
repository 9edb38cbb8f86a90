"""Reads the configuration of NGINX Unit: JSON, with the line of each member. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from fpm.convert.given import Given

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')
_GROUPS = frozenset({"processes", "limits", "isolation"})
"""Members whose members are the options."""
Path = tuple[str, ...]


def find_lines(text: str) -> dict[Path, int]:
    """Return the number of the line of each member, by its path; `text` is valid JSON."""
    lines: dict[Path, int] = {}
    stack: list[list[Any]] = []  # [kind, key or index, is a key expected]
    position, number = 0, 1
    for match in _TOKEN.finditer(text):
        number += text.count("\n", position, match.start())
        position = match.start()
        token = match[0]
        if token in "{[":
            stack.append([token, 0 if token == "[" else "", token == "{"])
        elif token in "}]":
            stack.pop()
        elif token == "," and stack:
            if stack[-1][0] == "[":
                stack[-1][1] += 1
            stack[-1][2] = stack[-1][0] == "{"
        elif token.startswith('"') and stack and stack[-1][2]:
            stack[-1][1], stack[-1][2] = json.loads(token), False
            lines[tuple(str(one[1]) for one in stack)] = number
    return lines


def read_unit(text: str) -> tuple[dict[str, list[Given]], list[Given]]:
    """Return the options of each application of Python, and all others.

    Raises:
        ValueError: it is not JSON, or not an object.
        RecursionError: it is nested too deeply.
    """
    tree = json.loads(text)
    if not isinstance(tree, dict):
        raise ValueError("it is not a JSON object")
    lines = find_lines(text)
    tree = tree.get("config", tree) if isinstance(tree.get("config"), dict) else tree
    base: Path = () if "config" not in json.loads(text) else ("config",)
    pools: dict[str, list[Given]] = {}
    others: list[Given] = []
    applications = tree.get("applications")
    for name, application in applications.items() if isinstance(applications, dict) else ():
        path = (*base, "applications", name)
        kind = str(application.get("type", "")) if isinstance(application, dict) else ""
        if not kind.startswith("python"):
            others.append(
                Given(lines.get(path, 0), f"applications.{name}", kind, "only applications of Python run here")
            )
            continue
        pools |= _pools(name, application, path, lines)
    for name, value in tree.items():
        if name != "applications":
            others += _other(name, value, (*base, name), lines)
    return pools, others


def _pools(name: str, application: Mapping[str, Any], path: Path, lines: dict[Path, int]) -> dict[str, list[Given]]:
    """Return a pool, or one for each target."""
    common = list(_options(application, path, lines))
    targets = application.get("targets")
    if not isinstance(targets, dict):
        return {name: common}
    own = [one for one in common if one.name != "targets"]
    return {
        f"{name}-{target}": own + list(_options(members, (*path, "targets", target), lines))
        for target, members in targets.items()
        if isinstance(members, dict)
    }


def _options(members: Mapping[str, Any], path: Path, lines: dict[Path, int]) -> Iterator[Given]:
    for name, value in members.items():
        if name in _GROUPS and isinstance(value, dict):
            for inner, one in value.items():
                yield Given(lines.get((*path, name, inner), 0), f"{name}.{inner}", one)
        else:
            yield Given(lines.get((*path, name), 0), name, value)


_OTHERS = {
    "listeners": "the web server listens: its fastcgi_pass names the pool's socket",
    "routes": "the web server chooses the application and serves static files",
    "upstreams": "the web server balances",
    "settings": "limits of HTTP are the web server's",
    "access_log": "write access.log = FILE in each pool",
    "certificates": "the web server has the certificate",
}


def _other(name: str, value: Any, path: Path, lines: dict[Path, int]) -> Iterator[Given]:
    reason = _OTHERS.get(name, "pyfpm does not know this member of Unit's configuration")
    if name == "listeners" and isinstance(value, dict):
        for address, listener in value.items():
            target = listener.get("pass", "") if isinstance(listener, dict) else ""
            yield Given(lines.get((*path, address), 0), f"listeners.{address}", str(target), reason)
        return
    yield Given(lines.get(path, 0), name, json.dumps(value), reason)
