"""Shows every effective value, in the form of `php-fpm -tt`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fpm.config.bound_values import spell_cpus
from fpm.config.directives import GLOBAL_DIRECTIVES, POOL_DIRECTIVES
from fpm.config.local_system import group_name, user_name
from fpm.config.model import Config, GlobalConfig, PoolConfig
from fpm.config.tables.entry import Directive


def dump(config: Config) -> list[str]:
    """Format `[global]`, a line `\\tdirective = value` for each directive, a blank line, and the pools in the same way.

    Users and groups are shown by their names.
    """
    lines = ["[global]", *_section(config.global_, GLOBAL_DIRECTIVES), ""]
    for pool in config.pools:
        lines += [f"[{pool.name}]", *_section(pool, POOL_DIRECTIVES), ""]
    return lines


def _section(values: GlobalConfig | PoolConfig, table: dict[str, Directive]) -> Iterator[str]:
    for directive in table.values():
        for name, text in shown(values, directive):
            yield f"\t{name} = {text}"


def shown(values: GlobalConfig | PoolConfig, directive: Directive) -> Iterator[tuple[str, str]]:
    """Yield name and value of a directive as the dump shows them; one written NAME[KEY] gives a pair for each key."""
    if not directive.array:
        yield directive.name, _shown(values, directive)
        return
    items = getattr(values, directive.attribute)
    if not items:
        yield directive.name, "undefined"
    for item in items:
        key, text = item if directive.array == "key" else ("", item)
        yield f"{directive.name}[{key}]", text


def _shown(values: GlobalConfig | PoolConfig, directive: Directive) -> str:
    if directive.name == "venv":
        return "undefined"  # it has become `python`
    if directive.name in ("user", "group") and isinstance(values, PoolConfig):
        identity = values.identity
        if identity is None:
            return "undefined"
        return identity.user if directive.name == "user" else group_name(identity.gid)
    return _text(directive, getattr(values, directive.attribute))


def _text(directive: Directive, value: Any) -> str:
    if value is None or value == ():
        return _UNSET.get(directive.kind, "undefined")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if directive.kind == "time":
        return f"{int(value)}s" if value == int(value) else f"{round(value * 1000)}ms"
    if directive.kind == "mode":
        return f"{value:04o}"
    if directive.kind == "limit" and value == -1:
        return "unlimited"
    if directive.kind == "account":
        return user_name(value) if directive.name.endswith(".owner") else group_name(value)
    if directive.kind == "cpus":
        return spell_cpus(value)
    if directive.kind in _NAMES:
        return " ".join(_NAMES[directive.kind](number) for number in value)
    if isinstance(value, tuple):
        return (":" if directive.name == "pythonpath" else " ").join(str(item) for item in value)
    return str(value) if value != "" else '""'


_NAMES = {"users": user_name, "groups": group_name}
_UNSET = {"limit": "0", "mount": "auto"}
