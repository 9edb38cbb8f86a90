"""The configuration while it is being read and checked: settings with their places, and the report of what is wrong.

Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from fpm.config.tables.entry import Scope


class SourceLocation(NamedTuple):
    """A line of a file. Places sort in the order in which files were read."""

    order: int
    line: int
    file: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


class Setting(NamedTuple):
    """A value as text, expanded, and where it stands."""

    location: SourceLocation
    text: str


@dataclass(slots=True)
class Section:
    """A section: `[global]` or a pool."""

    scope: Scope
    name: str
    location: SourceLocation
    settings: dict[str, Setting] = field(default_factory=dict)
    """By directive name."""
    keyed: dict[str, dict[str, Setting]] = field(default_factory=dict)
    """Of directives written NAME[KEY] or NAME[]; the latter under a running number."""
    values: dict[str, Any] = field(default_factory=dict)
    """Parsed, by directive name; defaults included."""
    invalid: set[str] = field(default_factory=set)
    """Directives with a complaint: further checks leave them alone, so that one mistake is one complaint."""

    def location_of(self, directive: str) -> SourceLocation:
        """Where a directive is set, or else the head of the section."""
        if directive in self.settings:
            return self.settings[directive].location
        for setting in self.keyed.get(directive, {}).values():
            return setting.location
        return self.location

    def is_set(self, directive: str) -> bool:
        """Whether the file says anything else than nothing."""
        return directive in self.settings or directive in self.keyed

    def is_valid(self, *directives: str) -> bool:
        """Whether all of these have a value that can be checked further."""
        return not self.invalid.intersection(directives)


ERRORS_MAX = 1000
"""Complaints after which no further line is read."""


class Diagnostics:
    """Collects errors, and notices, which are reported once however many pools they concern."""

    def __init__(self) -> None:
        self._errors: list[tuple[SourceLocation, str]] = []
        self._notices: dict[tuple[str, str], tuple[SourceLocation, str, int]] = {}

    def error(self, location: SourceLocation, section: str, directive: str, sentence: str) -> None:
        """Complain; the configuration cannot be used."""
        if len(self._errors) == ERRORS_MAX:
            sentence = f"there are more than {ERRORS_MAX} mistakes. The rest of the files has not been read"
            directive = ""
        self._errors.append((location, _line(location, section, directive, sentence)))

    @property
    def is_full(self) -> bool:
        """Whether reading on would help nobody: somebody has named a file that is none of ours."""
        return len(self._errors) > ERRORS_MAX

    def add_error(
        self, section: Section, directive: str, sentence: str, location: SourceLocation | None = None
    ) -> None:
        """Complain about a directive of a section, and keep further checks away from it."""
        section.invalid.add(directive)
        self.error(location or section.location_of(directive), section.name, directive, sentence)

    def notice(self, location: SourceLocation, section: str, directive: str, sentence: str) -> None:
        """Say something that stops nobody."""
        known = self._notices.get((directive, sentence))
        if known:
            self._notices[directive, sentence] = (known[0], known[1], known[2] + 1)
        else:
            self._notices[directive, sentence] = (location, _line(location, section, directive, sentence), 0)

    @property
    def failed(self) -> bool:
        """Whether there are errors."""
        return bool(self._errors)

    def errors(self) -> list[str]:
        """Complaints in the order of the files and lines."""
        return [text for _, text in sorted(self._errors, key=lambda error: error[0])]

    def notices(self) -> tuple[str, ...]:
        """Notices in the order of the files and lines."""
        ordered = sorted(self._notices.values(), key=lambda notice: notice[0])
        return tuple(text if not more else f"{text} ({_also(more)})" for _, text, more in ordered)


def _also(more: int) -> str:
    return "also in 1 more place" if more == 1 else f"also in {more} more places"


def _line(location: SourceLocation, section: str, directive: str, sentence: str) -> str:
    end = "" if sentence.endswith((".", "?", "!")) else "."
    what = f"{directive}: " if directive else ""
    return f"{location}: [{section}] {what}{sentence}{end}"
