"""Turns values from a program into the text that a configuration file would have for them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fpm.config import directives
from fpm.config.directives import DIRECTIVES
from fpm.config.invalid_value import InvalidValue
from fpm.config.section import Diagnostics, Section, Setting, SourceLocation
from fpm.config.tables.entry import Directive, Scope

_BY_ATTRIBUTE: dict[Scope, dict[str, Directive]] = {
    scope: {directive.attribute: directive for directive in table.values()} for scope, table in DIRECTIVES.items()
}
_SEVERAL = frozenset({"networks", "words", "users", "groups", "extensions", "cpus"})
"""Kinds of directives whose value is a list in one line."""


def assign_values(section: Section, values: Mapping[str, Any], location: SourceLocation, report: Diagnostics) -> None:
    """Set directives of a section; None leaves one unset. Errors go to the report."""
    for attribute, value in values.items():
        directive = _BY_ATTRIBUTE[section.scope].get(attribute) or directives.find(section.scope, attribute)
        if directive is None:
            report.error(location, section.name, attribute, _unknown(section.scope, attribute, value))
        elif value is not None:
            try:
                _assign(section, directive, value, location)
            except InvalidValue as refusal:
                report.add_error(section, directive.name, str(refusal), location)


def _unknown(scope: Scope, attribute: str, value: Any) -> str:
    written = str(value) if isinstance(value, str | int | float) else ""
    sentence = directives.unknown(scope, attribute, written, in_code=True)
    near = next((known for known in _BY_ATTRIBUTE[scope] if known.replace("_", "") == attribute.replace("_", "")), None)
    return f"unknown directive. Did you mean '{near}'?" if near else sentence


def _assign(section: Section, directive: Directive, value: Any, location: SourceLocation) -> None:
    if directive.array == "key":
        if not isinstance(value, Mapping):
            raise InvalidValue(f"expected a mapping of names and values, found {type(value).__name__}")
        for key in value:
            if not isinstance(key, str) or not key or "=" in key or not _is_plain(key):
                raise InvalidValue(f"expected a name as key, found {key!r}")
        section.keyed[directive.name] = {key: Setting(location, _text(directive, one)) for key, one in value.items()}
    elif directive.array == "list":
        if isinstance(value, str) or not isinstance(value, list | tuple):
            raise InvalidValue(f"expected a list, found {type(value).__name__}")
        section.keyed[directive.name] = {
            str(index): Setting(location, _text(directive, one)) for index, one in enumerate(value)
        }
    else:
        section.settings[directive.name] = Setting(location, _text(directive, value))


def _text(directive: Directive, value: Any) -> str:
    """Return the text of a value as in a file.

    Raises:
        InvalidValue: a file cannot have this value.
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return oct(value)[2:].zfill(4) if directive.kind == "mode" else str(value)
    if isinstance(value, float):
        return _number(directive, value)
    if isinstance(value, list | tuple) and directive.kind in _SEVERAL:
        return ", ".join(_text(directive, one) for one in value)
    if isinstance(value, list | tuple) and directive.name == "pythonpath":
        return ":".join(_text(directive, one) for one in value)
    if not isinstance(value, str):
        raise InvalidValue(f"expected a string, a number, True or False, found {type(value).__name__}")
    if not _is_plain(value):
        raise InvalidValue(f"control characters and lone surrogates are not allowed, found {value!r}")
    return value


def _number(directive: Directive, value: float) -> str:
    if directive.kind != "time":
        raise InvalidValue(f"expected a whole number, found {value!r}")
    if not 0.0 <= value < 1e12:
        raise InvalidValue(f"expected seconds, found {value!r}")
    return f"{round(value * 1000)}ms"


def _is_plain(text: str) -> bool:
    """Tell whether a text has no control characters, which files cannot have, and can be encoded as UTF-8."""
    if any(ord(char) < 32 or ord(char) == 127 for char in text):
        return False
    return text.isascii() or text == text.encode("utf-8", "replace").decode()
