"""What the readers of files find, and what becomes of it: values between them and the page that is written. Pure."""

from __future__ import annotations

from dataclasses import field

from fpm.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Given:
    """One option as a file gives it.

    Attributes:
        line: number of the line, from 1; 0 if it is not known.
        value: a text, or what the file's language has: numbers, lists, mappings.
        reason: why it cannot be read; "" if it can.
        note: what is to be said of the value.
    """

    line: int
    name: str
    value: object
    reason: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Carried:
    """One directive of ours, or several that are spelled alike: `env[NAME]`.

    Attributes:
        origins: "line, option, note" of what it comes from.
        raw: the value is in the form of our files already, with quotes and variables.
        comment: a line above it, if nothing of the other server is its origin.
        others: further elements of a list (`NAME[]`), each with a line of its own.
    """

    value: str
    origins: tuple[tuple[int, str, str], ...]
    raw: bool = False
    comment: str = ""
    others: tuple[Carried, ...] = ()


@dataclass(frozen=True, slots=True)
class Left:
    """One option that is not carried over, and why."""

    line: int
    shown: str
    reason: str


@dataclass(frozen=True, slots=True)
class Section:
    """One section of the file that is written.

    Attributes:
        directives: by name, in the order in which they are written.
        to_complete: directives whose value nothing has given, and what to do.
    """

    name: str
    directives: dict[str, Carried]
    for_all: dict[str, Carried] = field(default_factory=dict)
    left: tuple[Left, ...] = ()
    to_complete: dict[str, str] = field(default_factory=dict)
