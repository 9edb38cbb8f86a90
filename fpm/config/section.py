"""The configuration while it is read and checked: settings with their locations, and the errors found. Pure.

Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from fpm.config.tables.entry import Scope


class SourceLocation(NamedTuple):
    """A line of a file. Locations sort in the order in which files were read."""

    order: int
    line: int
    file: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


class Setting(NamedTuple):
    """An expanded value as text, and its location."""

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
    """Directives written NAME[KEY] or NAME[]; the latter under a running number."""
    values: dict[str, Any] = field(default_factory=dict)
    """Parsed, by directive name; defaults included."""
    invalid: set[str] = field(default_factory=set)
    """Directives with an error, which further checks skip, so that one mistake causes one error."""

    def location_of(self, directive: str) -> SourceLocation:
        """Return where a directive is set, or else the head of the section."""
        if directive in self.settings:
            return self.settings[directive].location
        for setting in self.keyed.get(directive, {}).values():
            return setting.location
        return self.location

    def location_of_key(self, directive: str, key: str) -> SourceLocation:
        """Return where DIRECTIVE[KEY] is set, or else the directive."""
        setting = self.keyed.get(directive, {}).get(key)
        return setting.location if setting else self.location_of(directive)

    def is_set(self, directive: str) -> bool:
        """Tell whether the file sets a directive."""
        return directive in self.settings or directive in self.keyed

    def is_valid(self, *directives: str) -> bool:
        """Tell whether all these directives have values that can be checked further."""
        return not self.invalid.intersection(directives)


ERRORS_MAX = 1000
"""Number of errors after which no further line is read."""


class Diagnostics:
    """Errors, obstacles and notices. A notice is reported once, however many pools it concerns."""

    def __init__(self) -> None:
        self._errors: list[tuple[SourceLocation, str]] = []
        self._obstacles: dict[str, list[tuple[SourceLocation, str]]] = {}
        self._notices: dict[tuple[str, str], tuple[SourceLocation, str, int]] = {}

    def error(self, location: SourceLocation, section: str, directive: str, sentence: str) -> None:
        """Add an error: the configuration cannot be used."""
        if len(self._errors) == ERRORS_MAX:
            sentence = f"there are more than {ERRORS_MAX} mistakes. The rest of the files has not been read"
            directive = ""
        self._errors.append((location, _line(location, section, directive, sentence)))

    @property
    def is_full(self) -> bool:
        """Tell whether reading on is useless, since a file is probably no configuration at all."""
        return len(self._errors) > ERRORS_MAX

    def add_error(
        self, section: Section, directive: str, sentence: str, location: SourceLocation | None = None
    ) -> None:
        """Add an error about a directive of a section, and exclude it from further checks."""
        section.invalid.add(directive)
        self.error(location or section.location_of(directive), section.name, directive, sentence)

    def add_obstacle(
        self, section: Section, directive: str, sentence: str, location: SourceLocation | None = None
    ) -> None:
        """Add what this machine lacks for a pool. It says nothing about other pools, so only this one cannot start."""
        section.invalid.add(directive)
        location = location or section.location_of(directive)
        line = _line(location, section.name, directive, sentence)
        self._obstacles.setdefault(section.name, []).append((location, line))

    def notice(self, location: SourceLocation, section: str, directive: str, sentence: str) -> None:
        """Add a message that does not prevent the start."""
        known = self._notices.get((directive, sentence))
        if known:
            self._notices[directive, sentence] = (known[0], known[1], known[2] + 1)
        else:
            self._notices[directive, sentence] = (location, _line(location, section, directive, sentence), 0)

    @property
    def failed(self) -> bool:
        return bool(self._errors)

    def errors(self) -> list[str]:
        """Return the errors, and the obstacles with them, in the order of files and lines."""
        found = [*self._errors, *(one for several in self._obstacles.values() for one in several)]
        return [text for _, text in sorted(found, key=lambda error: error[0])]

    def files(self) -> list[str]:
        """Name the files with errors, in their order."""
        return list(dict.fromkeys(location.file for location, _ in sorted(self._errors)))

    def obstacles(self) -> dict[str, tuple[str, ...]]:
        """Return the obstacles by pool."""
        return {name: tuple(text for _, text in sorted(found)) for name, found in self._obstacles.items()}

    def notices(self) -> tuple[str, ...]:
        """Return the notices in the order of files and lines."""
        ordered = sorted(self._notices.values(), key=lambda notice: notice[0])
        return tuple(text if not more else f"{text} ({_also(more)})" for _, text, more in ordered)


def _also(more: int) -> str:
    return "also in 1 more place" if more == 1 else f"also in {more} more places"


def _line(location: SourceLocation, section: str, directive: str, sentence: str) -> str:
    end = "" if sentence.endswith((".", "?", "!")) else "."
    what = f"{directive}: " if directive else ""
    return f"{location}: [{section}] {what}{sentence}{end}"
