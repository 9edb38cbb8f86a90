"""What a row of the tables says: one option of another server, and what becomes of it here. Pure."""

from __future__ import annotations

from typing import Literal

from fpm.frozen import dataclass

How = Literal[
    "text",
    "seconds",
    "minutes",
    "megabytes",
    "bytes",
    "number",
    "yes",
    "no",
    "octal",
    "umask",
    "percent",
    "venv",
    "path_list",
    "log",
    "account",
    "level",
    "variable",
    "address",
    "workers",
    "threads",
    "least",
    "first",
    "module",
    "callable",
    "file",
    "mount",
    "factory",
    "needless",
    "elsewhere",
    "missing",
]
"""How a value is carried: a conversion (see fpm.convert.values), a part of something larger (see fpm.convert.draft), or
not at all.

`needless`: pyfpm does it anyway, or has nothing of the kind to set; `elsewhere`: it belongs to the web server or the
service manager; `missing`: pyfpm cannot do it, or another way.
"""

NOT_CARRIED = frozenset({"needless", "elsewhere", "missing"})


@dataclass(frozen=True, slots=True)
class Option:
    """One option of another server.

    Attributes:
        name: as that server's documents write it.
        ours: the directive that it becomes; "" if none.
        note: what differs, or why it is not carried; a sentence without its full stop.
        also: other spellings of the same option.
        is_global: the directive belongs to [global], so it counts for all pools.
    """

    name: str
    ours: str
    how: How
    note: str = ""
    also: tuple[str, ...] = ()
    is_global: bool = False


@dataclass(frozen=True, slots=True)
class Peer:
    """Another server, and its options.

    Attributes:
        key: as in `--from`.
        callable_: what it calls when only a module or a file is named.
    """

    key: str
    title: str
    options: tuple[Option, ...]
    callable_: str = "application"

    def find(self, name: str) -> Option | None:
        """Find an option by any of its spellings; `_` and `-` are the same."""
        wanted = plain(name)
        for option in self.options:
            if wanted == plain(option.name) or wanted in map(plain, option.also):
                return option
        return None


def plain(name: str) -> str:
    """Return a name as it is compared; a switch of one letter is not the same in upper and lower case."""
    return name.lower().replace("_", "-") if len(name) > 1 else name
