"""Writes the pool file: each directive below the lines that it comes from, then what is left. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from fpm.convert.given import Carried, Left, Section

_PLAIN = re.compile(r"[^\s;#\"'$]+(?: [^\s;#\"'$]+)*")


def write(file: str, title: str, sections: Sequence[Section]) -> str:
    """Return the text of the file.

    Args:
        file: the name of the file that has been read, for comments.
        title: of the other server.
    """
    carried = sum(len(one.directives) for one in sections)
    left = sum(len(one.left) for one in sections)
    head = f"; {file} ({title}) as a pool of pyfpm: {count(carried, 'directive')}"
    lines = [
        f"{head}; not carried over, with the reason: {count(left, 'option')}.",
        "; Check it with `pyfpm test`. The web server needs fastcgi_pass to the address of `listen`.",
    ]
    for section in sections:
        lines += ["", *_section(file, section)]
    return "\n".join(lines) + "\n"


def count(number: int, noun: str) -> str:
    """Return "1 option", "2 options"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _section(file: str, section: Section) -> Iterator[str]:
    yield f"[{section.name}]"
    for name, carried in section.directives.items():
        if name in section.to_complete:
            yield f"; TO COMPLETE: {section.to_complete[name]}"
        if carried.comment:
            yield f"; {_printable(carried.comment)}"
        for one in (carried, *carried.others):
            yield from _origins(file, one)
            yield f"{name} = {one.value if one.raw else quote(one.value)}"
    if section.for_all:
        yield from ("", "; For [global] in pyfpm.conf, where it counts for all pools:")
        for name, carried in section.for_all.items():
            yield from _origins(file, carried)
            yield f";{name} = {quote(carried.value)}"
    yield from _left(file, section.left)


def _origins(file: str, carried: Carried) -> Iterator[str]:
    for line, name, note in carried.origins:
        yield f"; {place(file, line)}: {_printable(name)}{f' ({note})' if note else ''}"


def _left(file: str, left: Iterable[Left]) -> Iterator[str]:
    for index, one in enumerate(left):
        if not index:
            yield from ("", "; Not carried over:")
        yield f"; {place(file, one.line)}: {_printable(one.shown)}"
        yield f";     {_printable(one.reason)}"


def place(file: str, line: int) -> str:
    """Return "file:line"."""
    return f"{file}:{line}" if line else file


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)


def quote(value: str) -> str:
    """Return a value so that our files give it back, whatever characters it has."""
    if _PLAIN.fullmatch(value):
        return value
    if "'" not in value:
        return f"'{value}'"
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
