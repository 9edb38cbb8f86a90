"""Collects statements (section head, directive, value) into sections: resolves names, replaces variables. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from fpm.config import directives
from fpm.config.invalid_value import InvalidValue
from fpm.config.section import Diagnostics, Section, Setting, SourceLocation
from fpm.config.tables.entry import Directive
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
        else:
            self._report_repeated(section, location)
        return section

    def _report_repeated(self, section: Section, location: SourceLocation) -> None:
        """Refuse a pool that two files describe: the last would win, and one of two sites would be down."""
        if location.file == section.location.file:
            sentence = f"the section stands at line {section.location.line} already; what is set twice counts as here"
            self.report.notice(location, section.name, "", sentence)
        else:
            sentence = f"this pool is described at {section.location} already. Give one of the two another name"
            self.report.error(location, section.name, "", sentence)

    def expanded(
        self, section: Section, name: str, text: str, location: SourceLocation, key: str | None = None
    ) -> str | None:
        """Replace the variables in `text`; return None after reporting an error. One may be missing for NAME[KEY]."""
        pool = section.name if section.scope == "pool" else None
        try:
            if key is None:
                return expand(text, pool=pool, environ=self._environ)

            def report_missing(variable: str) -> None:
                sentence = f"{variable} is not set in the environment of pyfpm, so it is empty in {key}"
                self.report.notice(location, section.name, name, sentence)

            copied = None if text.startswith("$pool") else copied_variable(text)
            text = text if copied is None else f"${{{copied}}}"
            return expand(text, pool=pool, environ=self._environ, missing=report_missing)
        except InvalidValue as refusal:
            self.report.add_error(section, name, str(refusal), location)
            return None

    def assign(self, section: Section, written: str, value: tuple[str, bool], location: SourceLocation) -> None:
        """Set `written = value` in a section; `value` is the text and whether it is literal."""
        match = _ARRAY.fullmatch(written)
        name = (match["name"] if match else written).lower()
        directive = directives.find(section.scope, name)
        if directive is None:
            self.report.error(location, section.name, name, directives.unknown(section.scope, name, value[0]))
            return
        text, literal = value
        key = match["key"].strip() if match else ""
        expanded = (
            text if literal else self.expanded(section, name, text, location, key if directive.array == "key" else None)
        )
        if expanded is None:
            return
        if directive.array:
            self._assign_array(section, directive, key, Setting(location, expanded))
        elif match:
            self.report.add_error(section, name, f"takes no key. Write {name} = value", location)
        else:
            section.settings[directive.name] = Setting(location, expanded)
            section.invalid.discard(directive.name)

    def _assign_array(self, section: Section, directive: Directive, key: str, setting: Setting) -> None:
        name = directive.name
        kept = section.keyed.setdefault(name, {})
        if directive.array == "list":
            if key:
                self.report.add_error(section, name, f"takes no key. Write {name}[] = value", setting.location)
            else:
                kept[str(len(kept))] = setting
        elif not key or "=" in key:
            sentence = f"You must provide a key for field '{name}'. Write {name}[NAME] = value"
            self.report.add_error(section, name, sentence, setting.location)
        else:
            kept[key] = setting
