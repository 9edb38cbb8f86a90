"""From statements (section head, directive, value) to drafts of sections: names resolved, variables replaced. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from fpm.config import directives
from fpm.config.section import Draft, Place, Report, Setting
from fpm.config.tables.entry import Directive
from fpm.config.values import ValueRefused
from fpm.config.variables import copied_variable, expand

_POOL_NAME = re.compile(r"\w[\w.@+~-]{0,62}")
_ARRAY = re.compile(r"(?P<name>[^\[\]]*?)\s*\[(?P<key>[^\[\]]*)\]")


class Sections:
    """Collects `[global]` and the pools from all files."""

    def __init__(self, main: Place, environ: Mapping[str, str], report: Report) -> None:
        self.report = report
        self.global_ = Draft("global", "global", main)
        self.pools: dict[str, Draft] = {}
        """By name in lower case."""
        self.incomplete = False
        """A file could not be read, so what is missing may stand there."""
        self._environ = environ

    def open(self, name: str, place: Place) -> Draft:
        """The section of this name, made or opened again; names differ by more than case."""
        lower = name.lower()
        if lower == "global":
            return self.global_
        draft = self.pools.get(lower)
        if draft is None:
            if not _POOL_NAME.fullmatch(name):
                self.report.error(
                    place,
                    name,
                    "",
                    "invalid name of a pool. Use up to 63 letters, digits and . _ @ + ~ -, starting with a letter, a "
                    "digit or _",
                )
                # It takes the lines that follow, so that they are looked at, and goes no further.
                self.incomplete = True
                return Draft("pool", name, place)
            draft = self.pools[lower] = Draft("pool", name, place)
        return draft

    def expanded(self, draft: Draft, name: str, text: str, place: Place) -> str | None:
        """`text` with its variables replaced; None after a complaint."""
        try:
            return expand(text, pool=draft.name if draft.scope == "pool" else None, environ=self._environ)
        except ValueRefused as refusal:
            self.report.refuse(draft, name, str(refusal), place)
            return None

    def assign(self, draft: Draft, written: str, value: tuple[str, bool], place: Place) -> None:
        """`written = value` in a section; `value` is the text and whether it is literal."""
        match = _ARRAY.fullmatch(written)
        name = (match["name"] if match else written).lower()
        directive = directives.find(draft.scope, name)
        if directive is None:
            self.report.error(place, draft.name, name, directives.unknown(draft.scope, name))
            return
        text, literal = value
        expanded = text if literal else self.expanded(draft, name, text, place)
        if expanded is None:
            return
        if directive.array:
            self._assign_array(draft, directive, match and match["key"].strip(), (expanded, literal), place)
        elif match:
            self.report.refuse(draft, name, f"takes no key. Write {name} = value", place)
        else:
            draft.settings[directive.name] = Setting(place, expanded)
            draft.broken.discard(directive.name)

    def _assign_array(
        self, draft: Draft, directive: Directive, key: str | None, value: tuple[str, bool], place: Place
    ) -> None:
        name = directive.name
        kept = draft.keyed.setdefault(name, {})
        if directive.array == "list":
            if key:
                self.report.refuse(draft, name, f"takes no key. Write {name}[] = value", place)
            else:
                kept[str(len(kept))] = Setting(place, value[0])
            return
        if not key or "=" in key:
            self.report.refuse(
                draft, name, f"You must provide a key for field '{name}'. Write {name}[NAME] = value", place
            )
            return
        text, literal = value
        copied = None if literal else copied_variable(text)
        if copied is not None:
            if copied not in self._environ:
                self.report.notice(
                    place, draft.name, name, f"{copied} is not set in the environment of pyfpm, so {key} is empty"
                )
            text = self._environ.get(copied, "")
        kept[key] = Setting(place, text)
