"""What two versions of pyfpm make of one text, directive by directive: an upgrade must change nothing. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fpm.config.directives import DIRECTIVES
from fpm.frozen import dataclass

GLOBAL = "global"
Given = Mapping[str, Sequence[str]]
"""See `Config.given`."""
_Values = dict[str, str]
"""By the directive; the values of one that has keys are one text."""
_SECRET = "env"
"""Its values belong into no log."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a version has made of the text."""

    lines: Sequence[str]
    """As fpm.config.dump shows it."""
    given: Given | None
    """Which directives the text sets; None: not known."""


def find_differences(running: Reading, own: Reading) -> list[str]:
    """Say what the running version reads differently: a sentence for each directive, with the sections where it is so.

    A directive that both know must have the same value; one that only this version knows must not be set, so that
    it has its default; one that only the other knows must not have been set, as what it did would be lost.
    """
    before, now = read_dump(running.lines), read_dump(own.lines)
    found: dict[str, list[str]] = {}
    for section in {**now, **before}:
        if section not in now or section not in before:
            which = "the running" if section in before else "this"
            found.setdefault(f"only {which} version has this section", []).append(section)
            continue
        known = DIRECTIVES["global" if section == GLOBAL else "pool"]
        was_given = None if running.given is None else running.given.get(section, ())
        is_given = (own.given or {}).get(section, ())
        for name in [*known, *(before[section].keys() - known.keys())]:
            old, new = before[section].get(name), now[section].get(name)
            if name not in known:
                sentence = _removed(name, str(old), is_harmless=was_given is not None and name not in was_given)
            elif old is None:
                sentence = _added(name, str(new), is_harmless=name not in is_given)
            else:
                sentence = _changed(name, old, str(new))
            if sentence:
                found.setdefault(sentence, []).append(section)
    return [f"{' '.join(f'[{one}]' for one in sections)} {sentence}" for sentence, sections in found.items()]


def _changed(name: str, old: str, new: str) -> str:
    if old == new:
        return ""
    values = "has other values" if name == _SECRET else f"is {old} in the running version, and {new} in this one"
    return f"{name} {values}: set it as it is in the running version, and run `pyfpm reload` before the upgrade"


def _added(name: str, new: str, *, is_harmless: bool) -> str:
    return "" if is_harmless else f"{name} is {new}, and the running version does not know it: set it after the upgrade"


def _removed(name: str, old: str, *, is_harmless: bool) -> str:
    if is_harmless:
        return ""
    return f"{name} is {old} in the running version, and this one does not know it: remove it, and run `pyfpm reload`"


def read_dump(lines: Sequence[str]) -> dict[str, _Values]:
    """Read what fpm.config.dump has made, of this version of pyfpm or another, into values by section and directive."""
    sections: dict[str, _Values] = {}
    values: _Values = {}
    for line in lines:
        if line.startswith("["):
            values = sections.setdefault(line[1:-1], {})
        elif line:
            name, _, text = line.removeprefix("\t").partition(" = ")
            name, bracket, key = name.partition("[")
            shown = f"{bracket}{key} = {text}" if bracket else text
            values[name] = f"{values[name]}, {shown}" if name in values else shown
    return sections
