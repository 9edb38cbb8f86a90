"""From drafts to a checked configuration: every value parsed, every rule asked, all complaints collected. Pure."""

from __future__ import annotations

import dataclasses
from typing import Any

from fpm.config import check, check_application, check_identity, check_paths
from fpm.config.directives import DIRECTIVES
from fpm.config.model import Config, GlobalConfig, PoolConfig
from fpm.config.read import Sections
from fpm.config.section import Draft, Report
from fpm.config.system import Machine
from fpm.config.tables.entry import Directive, Scope
from fpm.config.values import ValueRefused, parse_value

LATER = "has no effect yet in this version"

_EMPTY_IS_UNSET = frozenset({"path", "file", "account", "address", "application", "url", "text"})
"""Kinds for which an empty value is no value, as for PHP-FPM's strings."""


def build(sections: Sections, machine: Machine, *, file: str, prefix: str, pid_override: str | None) -> Config | None:
    """The configuration, or None when the report of `sections` has errors."""
    report = sections.report
    pools = list(sections.pools.values())
    draft = sections.global_
    parse_all(draft, report)
    check_paths.settle_global(draft, machine, report, file=file, prefix=prefix, pid_override=pid_override)
    check_identity.settle_owner(draft, machine, report, "status_listen")
    check.check_global(draft, report)
    if not pools and not sections.incomplete:
        sentence = "No pool defined. at least one pool section must be specified in config file"
        report.error(draft.place, "global", "", f"{sentence}: write [www] and below it app, listen and pm")
    for pool in pools:
        parse_all(pool, report)
        check_pool(pool, machine, report, prefix)
    check.check_together([draft, *pools], machine, report)
    if report.failed:
        return None
    return Config(_global(draft, file, prefix), tuple(_pool(pool) for pool in pools), report.notices())


def check_pool(pool: Draft, machine: Machine, report: Report, prefix: str) -> None:
    """All rules for one pool."""
    check_paths.settle_pool(pool, machine, report, prefix)
    check_identity.settle_identity(pool, machine, report)
    check_identity.settle_socket_owner(pool, machine, report)
    check.check_manager(pool, report)
    check.check_looking(pool, report)
    check.check_logs(pool, report)
    check.check_confinement(pool, report)
    check_application.settle_application(pool, machine, report)


def parse_all(draft: Draft, report: Report) -> None:
    """Fill in `draft.values`: what is set, parsed, and the defaults of the rest."""
    table = DIRECTIVES[draft.scope]
    draft.values = dict(_DEFAULTS[draft.scope])
    for name, setting in draft.settings.items():
        directive = table[name]
        if directive.kind in _EMPTY_IS_UNSET and not setting.text:
            draft.values[name] = "" if directive.default else None
        else:
            _parse(draft, directive, setting.text, report)
        if directive.version == "later" and draft.values[name] != _DEFAULTS[draft.scope][name]:
            report.notice(setting.place, draft.name, name, LATER)
    for name in draft.keyed:
        _parse_array(draft, table[name], report)
    for name, directive in table.items():
        if directive.mandatory and draft.values[name] is None and draft.is_sound(name):
            report.refuse(draft, name, _MISSING[name])


_MISSING = {
    "app": "no application has been defined. Write app = module:callable, or path/to/file.py:callable",
    "listen": "no listen address have been defined! Write listen = /run/pyfpm/NAME.sock, or address:port",
    "pm": "the process manager is missing (static, dynamic or ondemand). Write pm = ondemand if in doubt",
    "pm.max_children": "pm.max_children must be a positive value. It is mandatory: the maximum number of workers",
}


def _parse(draft: Draft, directive: Directive, text: str, report: Report) -> None:
    try:
        draft.values[directive.name] = parse_value(directive, text)
    except ValueRefused as refusal:
        report.refuse(draft, directive.name, str(refusal))


def _parse_array(draft: Draft, directive: Directive, report: Report) -> None:
    settings = draft.keyed[directive.name]
    if directive.array == "key":
        draft.values[directive.name] = tuple((key, setting.text) for key, setting in settings.items())
        return
    values = []
    for setting in settings.values():
        try:
            values.append(parse_value(directive, setting.text))
        except ValueRefused as refusal:
            report.refuse(draft, directive.name, str(refusal), setting.place)
    draft.values[directive.name] = tuple(values)


def _default(directive: Directive) -> Any:
    if directive.array:
        return ()
    if directive.default is not None:
        return parse_value(directive, directive.default)
    return () if directive.kind in ("networks", "words") else None


_DEFAULTS: dict[Scope, dict[str, Any]] = {
    scope: {name: _default(directive) for name, directive in table.items()} for scope, table in DIRECTIVES.items()
}

_GLOBAL_FIELDS = frozenset(field.name for field in dataclasses.fields(GlobalConfig))
_POOL_FIELDS = frozenset(field.name for field in dataclasses.fields(PoolConfig))


def _global(draft: Draft, file: str, prefix: str) -> GlobalConfig:
    return GlobalConfig(file=file, prefix=prefix, **_attributes(draft, _GLOBAL_FIELDS))


def _pool(draft: Draft) -> PoolConfig:
    return PoolConfig(name=draft.name, where=str(draft.place), **_attributes(draft, _POOL_FIELDS))


def _attributes(draft: Draft, known: frozenset[str]) -> dict[str, Any]:
    named = ((name.replace(".", "_"), value) for name, value in draft.values.items())
    return {name: value for name, value in named if name in known}
