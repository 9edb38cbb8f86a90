"""The definition of a directive: a row of the tables in this package.

The tables feed the parser, `pyfpm test --dump`, man/pyfpm.conf.5 and the check of pools.d/www.conf, so a directive is
described in one place only.
"""

from __future__ import annotations

from typing import Literal

from fpm.frozen import dataclass

Scope = Literal["global", "pool"]
Kind = Literal[
    "text",
    "path",
    "file",
    "integer",
    "size",
    "time",
    "boolean",
    "choice",
    "mode",
    "limit",
    "account",
    "address",
    "networks",
    "words",
    "users",
    "groups",
    "extensions",
    "url",
    "format",
    "application",
    "mount",
    "check",
    "cpus",
    "priority",
    "mount_line",
    "share",
]
"""`path` is a directory or an executable, `file` a file that pyfpm writes: its directory must exist."""

Array = Literal["", "key", "list"]
"""`key`: written NAME[KEY] = VALUE; `list`: written NAME[] = VALUE, any number of times."""

Applies = Literal["live", "socket", "generation"]
"""How a reload applies a change: to the running workers, to the open listening socket, or by a new generation."""


@dataclass(frozen=True, slots=True, eq=False)
class Directive:
    """One directive. It is compared and hashed by identity: each name and scope has one object."""

    name: str
    kind: Kind
    default: str | None
    """Text as in a file; None: unset, mandatory, or computed as `default_note` says."""
    help: str
    """Sentences for the man page; `words` in backticks are literal."""
    default_note: str = ""
    differs: str = ""
    """How it differs from PHP-FPM, as sentences; empty if it is the same."""
    minimum: int = 0
    maximum: int = 2**31 - 1
    choices: tuple[str, ...] = ()
    aliases: tuple[tuple[str, str], ...] = ()
    """Other spellings of choices."""
    array: Array = ""
    mandatory: bool = False
    applies: Applies = "generation"

    @property
    def attribute(self) -> str:
        """Return the name of the field in fpm.config.model."""
        return self.name.replace(".", "_")


@dataclass(frozen=True, slots=True)
class DirectiveGroup:
    """Directives that belong together: a subsection of the man page."""

    title: str
    scope: Scope
    directives: tuple[Directive, ...]
