"""fpm/manager/directive_types.py: the directives as keyword arguments with their types, from the table. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from fpm.config.directives import DIRECTIVES
from fpm.config.tables.entry import Directive, Kind, Scope

HEAD = '''"""The directives as keyword arguments, for type checkers: a name that is none is an error there.

Made by python -m fpm.config.manual; change the tables in fpm/config/tables instead. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, TypedDict

if TYPE_CHECKING:
    from os import PathLike
'''
NAMED: dict[Scope, frozenset[str]] = {
    "pool": frozenset({"app", "listen"}),
    "global": frozenset({"control", "pid", "error_log", "daemonize"}),
}
"""Parameters of their own, and what a program cannot set."""
_WIDTH = 120
_WORDS = "str | list[str] | tuple[str, ...]"
TYPES: dict[Kind, str] = {
    **dict.fromkeys(
        ("text", "url", "format", "application", "mount", "check", "priority", "share", "mount_line"), "str"
    ),
    **dict.fromkeys(("path", "file"), "str | PathLike[str]"),
    **dict.fromkeys(("networks", "words", "users", "groups", "extensions"), _WORDS),
    **dict.fromkeys(("size", "limit", "mode", "account", "address"), "int | str"),
    "integer": "int",
    "time": "float | str",
    "boolean": "bool",
    "cpus": "str | list[int] | tuple[int, ...]",
}
"""Strings are as in a file; where a file has a number or yes and no, a program has its own."""


def typed_module() -> str:
    """Return the text of the module."""
    pool, settings = (
        _class("PoolDirectives", "pool", "Pool(...)"),
        _class("GlobalDirectives", "global", "Settings(...)"),
    )
    return "\n".join([*HEAD.splitlines(), "", "", *pool, "", "", *settings]) + "\n"


def _class(name: str, scope: Scope, call: str) -> Iterator[str]:
    yield f"class {name}(TypedDict, total=False):"
    yield f'    """What {call} takes besides its other parameters; None leaves a directive unset."""'
    yield ""
    for directive in DIRECTIVES[scope].values():
        if directive.name not in NAMED[scope]:
            yield from _field(directive)


def _field(directive: Directive) -> Iterator[str]:
    line = f"    {directive.attribute}: {_type(directive)} | None"
    if len(line) <= _WIDTH:
        yield line
        return
    words = [f'"{word}"' for word in _choices(directive)]
    yield f"    {directive.attribute}: ("  # as ruff formats it
    yield "        Literal["
    yield from (f"            {word}," for word in words)
    yield "        ]"
    yield "        | None"
    yield "    )"


def _type(directive: Directive) -> str:
    if directive.array == "key":
        return "Mapping[str, str | int | float]"
    if directive.array == "list":
        return "list[str] | tuple[str, ...]"
    if directive.name == "pythonpath":
        return _WORDS
    if directive.kind == "choice":
        return f"Literal[{', '.join(f'{chr(34)}{word}{chr(34)}' for word in _choices(directive))}]"
    return TYPES[directive.kind]


def _choices(directive: Directive) -> list[str]:
    return [*directive.choices, *(word for word, _ in directive.aliases)]
