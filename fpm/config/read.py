"""Collects statements (section head, directive, value) into sections: resolves names, replaces variables. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from fpm.config import directives
from fpm.config.section import Diagnostics, Section, Setting, SourceLocation
from fpm.config.tables.entry import Directive
from fpm.config.values import InvalidValue
from fpm.config.variables import copied_variable, expand

_POOL_NAME = re.compile(r"\w[\w.@+~-]{0,62}")
_ARRAY = re.compile(r"(?P<name>[^\[\]]*?)\s*\[(?P<key>[^\[\]]*)\]")


class Sections:
    """`[global]` and the pools, collected from all files."""

    def __init__(self, main: SourceLocation, environ: Mapping[str, str], report: Diagnostics) -> None:
        self.report = report
        self.global_ = Section("global", "global", main)
        self.pools: dict[str, Section] = {}
        """By name in lower case."""
        self.incomplete = False
        """A file could not be read, so what is missing may stand there."""
        self._environ = environ

    def open(self, name: str, location: SourceLocation) -> Section:
        """Return the section with this name, created at its first mention; names that differ only in case are one."""
        lower = name.lower()
        if lower == "global":
            return self.global_
        section = self.pools.get(lower)
        if section is None:
            if not _POOL_NAME.fullmatch(name):
                self.report.error(
                    location,
                    name,
                    "",
                    "invalid name of a pool. Use up to 63 letters, digits and . _ @ + ~ -, starting with a letter, a "
                    "digit or _",
                )
                # The lines that follow are checked in a section that is then dropped.
                self.incomplete = True
                return Section("pool", name, location)
            section = self.pools[lower] = Section("pool", name, location)
        return section

    def expanded(self, section: Section, name: str, text: str, location: SourceLocation) -> str | None:
        """Replace the variables in `text`; return None after reporting an error."""
        try:
            return expand(text, pool=section.name if section.scope == "pool" else None, environ=self._environ)
        except InvalidValue as refusal:
            self.report.add_error(section, name, str(refusal), location)
            return None

    def assign(self, section: Section, written: str, value: tuple[str, bool], location: SourceLocation) -> None:
        """Set `written = value` in a section; `value` is the text and whether it is literal."""
        match = _ARRAY.fullmatch(written)
        name = (match["name"] if match else written).lower()
        directive = directives.find(section.scope, name)
        if directive is None:
            self.report.error(location, section.name, name, directives.unknown(section.scope, name))
            return
        text, literal = value
        expanded = text if literal else self.expanded(section, name, text, location)
        if expanded is None:
            return
        if directive.array:
            self._assign_array(section, directive, match and match["key"].strip(), (expanded, literal), location)
        elif match:
            self.report.add_error(section, name, f"takes no key. Write {name} = value", location)
        else:
            section.settings[directive.name] = Setting(location, expanded)
            section.invalid.discard(directive.name)

    def _assign_array(
        self, section: Section, directive: Directive, key: str | None, value: tuple[str, bool], location: SourceLocation
    ) -> None:
        name = directive.name
        kept = section.keyed.setdefault(name, {})
        if directive.array == "list":
            if key:
                self.report.add_error(section, name, f"takes no key. Write {name}[] = value", location)
            else:
                kept[str(len(kept))] = Setting(location, value[0])
            return
        if not key or "=" in key:
            self.report.add_error(
                section, name, f"You must provide a key for field '{name}'. Write {name}[NAME] = value", location
            )
            return
        text, literal = value
        copied = None if literal else copied_variable(text)
        if copied is not None:
            if copied not in self._environ:
                self.report.notice(
                    location, section.name, name, f"{copied} is not set in the environment of pyfpm, so {key} is empty"
                )
            text = self._environ.get(copied, "")
        kept[key] = Setting(location, text)
