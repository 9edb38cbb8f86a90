"""The effective values of one pool, and where each comes from."""

from __future__ import annotations

from collections.abc import Iterator

from fpm.config.build import is_default
from fpm.config.directives import POOL_DIRECTIVES
from fpm.config.dump import shown
from fpm.config.model import PoolConfig
from fpm.config.section import Section
from fpm.config.tables.entry import Directive
from fpm.frozen import dataclass

DEFAULT = "default"
DERIVED = "derived"
"""It follows from other directives: pm.start_servers from the spare servers, python from venv."""


@dataclass(frozen=True, slots=True)
class Effective:
    """One value.

    Attributes:
        name: of the directive, with its key: `env[NAME]`.
        text: as in a file.
        where: "FILE:LINE", DEFAULT or DERIVED.
    """

    name: str
    text: str
    where: str


def effective_values(pool: PoolConfig, section: Section) -> Iterator[Effective]:
    """Yield the value of each directive, in the order of the manual page."""
    for directive in POOL_DIRECTIVES.values():
        for index, (name, text) in enumerate(shown(pool, directive)):
            where = _where(section, directive, name, index)
            yield Effective(name, text, DEFAULT if where == DERIVED and text in _NOTHING else where)


_NOTHING = frozenset({"undefined", '""', "0"})
"""What follows from nothing that is set is no more than a default."""


def _where(section: Section, directive: Directive, name: str, index: int) -> str:
    if directive.array and section.is_set(directive.name):
        key = str(index) if directive.array == "list" else name.partition("[")[2].removesuffix("]")
        return str(section.location_of_key(directive.name, key))
    if section.is_set(directive.name):
        return str(section.location_of(directive.name))
    return DEFAULT if is_default(section, directive.name) else DERIVED
