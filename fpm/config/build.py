"""Builds a checked configuration from sections: parses every value, applies every rule, collects every error. Pure."""

from __future__ import annotations

import dataclasses
from typing import Any

from fpm.config import check, check_application, check_bounds, check_identity, check_jail, check_paths
from fpm.config.check_kernel import check_kernel
from fpm.config.check_mounts import check_mounts
from fpm.config.directives import DIRECTIVES
from fpm.config.invalid_value import InvalidValue
from fpm.config.isolation import apply_isolation
from fpm.config.machine_application import check_application as check_usable
from fpm.config.machine_paths import check_global_paths, check_openers, check_pool_paths
from fpm.config.model import Config, GlobalConfig, PoolConfig
from fpm.config.read import Sections
from fpm.config.section import Diagnostics, Section
from fpm.config.system import System
from fpm.config.tables.entry import Directive, Scope
from fpm.config.values import parse_value
from fpm.errors import ConfigError

_EMPTY_IS_UNSET = frozenset({"path", "file", "account", "address", "application", "url", "text"})
"""Kinds for which an empty value means unset, as for PHP-FPM's strings."""


def build(sections: Sections, system: System, *, file: str, prefix: str, pid_override: str | None) -> Config | None:
    """Build the configuration; return None when the report of `sections` has errors.

    What this machine lacks for one pool is no error, for it must not keep the others from starting: see
    `Config.obstacles`.
    """
    report = sections.report
    pools = list(sections.pools.values())
    section = sections.global_
    parse_all(section, report)
    check_paths.resolve_global(section, system, report, file=file, prefix=prefix, pid_override=pid_override)
    check_global_paths(section, system, report, prefix)
    check_openers(section, system, report)
    check_identity.resolve_owner(section, system, report, "status_listen")
    check.check_global(section, report)
    if not pools and not sections.incomplete:
        sentence = "No pool defined. at least one pool section must be specified in config file"
        report.error(section.location, "global", "", f"{sentence}: write [www] and below it app, listen and pm")
    for pool in pools:
        parse_all(pool, report)
        check_pool(pool, system, report, prefix)
    check.check_together([section, *pools], system, report)
    if report.failed:
        return None
    sets: dict[frozenset[str], frozenset[str]] = {}  # most pools set the same directives as others
    given = {one.name: sets.setdefault(own := frozenset({*one.settings, *one.keyed}), own) for one in (section, *pools)}
    return Config(
        _global(section, file, prefix),
        tuple(_pool(pool) for pool in pools),
        report.notices(),
        report.obstacles(),
        given,
    )


def refuse_obstacles(config: Config) -> Config:
    """Return the configuration unless a pool could not start with it on this machine.

    Raises:
        ConfigError: lists all that any pool lacks.
    """
    lacking = [line for pool in config.pools for line in config.obstacles.get(pool.name, ())]
    if lacking:
        raise ConfigError(lacking)
    return config


def check_pool(pool: Section, system: System, report: Diagnostics, prefix: str) -> None:
    """Apply all rules for one pool."""
    check_paths.resolve_pool(pool, system, report, prefix)
    check_identity.resolve_identity(pool, system, report)
    check_identity.resolve_socket_owner(pool, system, report)
    check.check_manager(pool, report)
    check.check_pages(pool, report)
    check.check_logs(pool, report)
    check.check_env(pool, report)
    apply_isolation(pool, system, report)
    check_jail.resolve_jail(pool, system, report)
    check_mounts(pool, system, report)
    check_bounds.check_bounds(pool, system, report)
    check_kernel(pool, system, report)
    check_application.resolve_application(pool, system, report)
    check.check_told(pool, report)
    check_pool_paths(pool, system, report)
    check_openers(pool, system, report)
    check_usable(pool, system, report)


def parse_all(section: Section, report: Diagnostics) -> None:
    """Fill in `section.values`: parse what is set, and take the defaults of the rest."""
    table = DIRECTIVES[section.scope]
    section.values = dict(_DEFAULTS[section.scope])
    for name, setting in section.settings.items():
        directive = table[name]
        if directive.kind in _EMPTY_IS_UNSET and not setting.text:
            section.values[name] = "" if directive.default else None
        else:
            _parse(section, directive, setting.text, report)
    for name in section.keyed:
        _parse_array(section, table[name], report)
    for name, directive in table.items():
        if directive.mandatory and section.values[name] is None and section.is_valid(name):
            report.add_error(section, name, _MISSING[name])


_MISSING = {
    "app": "no application has been defined. Write app = module:callable, or path/to/file.py:callable",
    "listen": "no listen address have been defined! Write listen = /run/pyfpm/NAME.sock, or address:port",
    "pm": "the process manager is missing (static, dynamic or ondemand). Write pm = ondemand if in doubt",
    "pm.max_children": "pm.max_children must be a positive value. It is mandatory: the maximum number of workers",
}


def _parse(section: Section, directive: Directive, text: str, report: Diagnostics) -> None:
    try:
        section.values[directive.name] = parse_value(directive, text)
    except InvalidValue as refusal:
        report.add_error(section, directive.name, str(refusal))


def _parse_array(section: Section, directive: Directive, report: Diagnostics) -> None:
    settings = section.keyed[directive.name]
    if directive.array == "key":
        section.values[directive.name] = tuple((key, setting.text) for key, setting in settings.items())
        return
    values = []
    for setting in settings.values():
        try:
            values.append(parse_value(directive, setting.text))
        except InvalidValue as refusal:
            report.add_error(section, directive.name, str(refusal), setting.location)
    section.values[directive.name] = tuple(values)


_SEVERAL = frozenset({"networks", "words", "users", "groups", "extensions", "cpus"})
"""Kinds of directives whose value is a tuple."""


def _default(directive: Directive) -> Any:
    if directive.array:
        return ()
    if directive.default is not None:
        return parse_value(directive, directive.default)
    return () if directive.kind in _SEVERAL else None


_DEFAULTS: dict[Scope, dict[str, Any]] = {
    scope: {name: _default(directive) for name, directive in table.items()} for scope, table in DIRECTIVES.items()
}


def is_default(section: Section, name: str) -> bool:
    """Tell whether a directive of a section has its default: nothing sets it, and it follows from no other."""
    return not section.is_set(name) and section.values[name] == _DEFAULTS[section.scope][name]


_GLOBAL_FIELDS = frozenset(field.name for field in dataclasses.fields(GlobalConfig))
_POOL_FIELDS = frozenset(field.name for field in dataclasses.fields(PoolConfig))


def _global(section: Section, file: str, prefix: str) -> GlobalConfig:
    return GlobalConfig(file=file, prefix=prefix, **_attributes(section, _GLOBAL_FIELDS))


def _pool(section: Section) -> PoolConfig:
    return PoolConfig(name=section.name, where=str(section.location), **_attributes(section, _POOL_FIELDS))


def _attributes(section: Section, known: frozenset[str]) -> dict[str, Any]:
    named = ((name.replace(".", "_"), value) for name, value in section.values.items())
    return {name: value for name, value in named if name in known}
