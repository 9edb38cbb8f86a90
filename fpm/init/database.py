"""Reads which database the settings of Django name. Pure."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from fpm.discover.source import top_statements

AWAY = (
    "the SQLite database is {path}, outside of the project: the pool's user must be able to write to the file and to "
    "its directory"
)
BESIDE_CODE = (
    "the SQLite database lies in {where}, beside the code. SQLite writes to the directory as well, and the pool's user "
    'should not be able to write where code is: set NAME to BASE_DIR / "data" / "{file}", and move the file if there '
    "is one"
)


def database_of(tree: ast.Module, before: Mapping[str, ast.expr]) -> dict[str, ast.expr]:
    """Return the parts of DATABASES["default"], as "ENGINE" and "NAME", after a module.

    Args:
        before: what the modules have set that it imports by `from .base import *`.
    """
    parts = dict(before)
    for node in top_statements(tree.body):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                _assign(parts, _keys(target), node.value)
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            _assign(parts, _keys(node.target), node.value)
    return parts


def _assign(parts: dict[str, ast.expr], keys: tuple[str, ...], value: ast.expr) -> None:
    """Take an assignment to DATABASES, DATABASES["default"] or a part of that."""
    match keys:
        case ("DATABASES",):
            parts.clear()
            parts.update(_entries(_entries(value).get("default")))
        case ("DATABASES", "default"):
            parts.clear()
            parts.update(_entries(value))
        case ("DATABASES", "default", part):
            parts[part] = value


def _keys(target: ast.expr) -> tuple[str, ...]:
    """Return a target as a path, as ("DATABASES", "default", "NAME"); () for anything else."""
    if isinstance(target, ast.Name):
        return (target.id,)
    if not isinstance(target, ast.Subscript) or not isinstance(target.slice, ast.Constant):
        return ()
    outer, key = _keys(target.value), target.slice.value
    return (*outer, key) if outer and isinstance(key, str) else ()


def _entries(value: ast.expr | None) -> dict[str, ast.expr]:
    """Return the entries of a dict that is written out."""
    if not isinstance(value, ast.Dict):
        return {}
    return {
        key.value: entry
        for key, entry in zip(value.keys, value.values, strict=True)
        if isinstance(key, ast.Constant) and isinstance(key.value, str)
    }
