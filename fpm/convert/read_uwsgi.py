"""Reads uWSGI's files: ini, and the simple forms of XML and YAML. Pure."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator
from posixpath import basename, dirname, splitext

from fpm.convert.given import Given
from fpm.convert.read_unit import find_lines

SECTION = "uwsgi"
_HEAD = re.compile(r"\[\s*([^\]]*?)\s*\]")
_PLACEHOLDER = re.compile(r"%\(([^()%]*)\)")
_MAGIC = re.compile(r"%([a-zA-Z0-9%])")
_XML = re.compile(r"<([\w-]+)(?:\s*/>|>([^<]*)</\1\s*>)")
_YAML = re.compile(r"\s+(?:-\s+)?([\w-]+)\s*:\s*(.*?)\s*(?:\s#.*)?")
_ITEM = re.compile(r"\s+-\s+(.*?)\s*")
_REMARK = re.compile(r"(\d+|true|false|yes|no|on|off)\s+[;#].*", re.IGNORECASE)
"""A number or a switch that uWSGI reads in spite of what follows (atoi); a text would have that as its end."""
_RAW = frozenset({"log-format", "logformat"})
"""Options with placeholders of their own, for the values of a request."""
EXPANSIONS_MAX = 20
LINES_MAX = 20_000
"""With those of sections that another one names by `ini = :SECTION`."""
VALUE_MAX = 4096


def read_uwsgi(text: str, path: str, cores: int, is_option: Callable[[str], bool]) -> list[Given]:
    """Return the options, their variables replaced.

    Args:
        path: absolute, of the file: `%n`, `%d` and others speak of it.
        cores: what `%k` stands for.
        is_option: tells of a name whether uWSGI has it; others may be variables of the file.
    """
    given = list(_lines(text))
    variables = {name: value for _, name, value in given}
    for _, name, value in given:
        if name in _SETTERS:
            key, _, rest = value.partition("=")
            variables[key.strip()] = rest.strip()
    magic = _magic(path, cores)
    used = {name.strip() for _, option, value in given if option not in _RAW for name in _PLACEHOLDER.findall(value)}
    found = []
    for line, name, value in given:
        if name in _SETTERS or (name in used and not is_option(name)):
            found.append(Given(line, name, value, "a variable of the file; it has been put in where it is used"))
        else:
            expanded = (value, "") if name in _RAW else _expand(value, variables, magic)
            found.append(_given(line, name, value, *expanded))
    return found


_SETTERS = frozenset({"set", "set-placeholder", "set-ph"})


def _given(line: int, name: str, value: str, expanded: str, reason: str) -> Given:
    if "$(" in expanded:
        reason = "a variable of the environment: write ${NAME} in the place of $(NAME)"
    elif "@(" in expanded:
        reason = "the content of another file is not read"
    return Given(line, name, expanded, reason, f"from {value}" if expanded != value and name != "env" else "")


def _lines(text: str) -> Iterator[tuple[int, str, str]]:
    if re.search(r"^[ \t]*<uwsgi\b", text, re.MULTILINE):
        for number, line in enumerate(text.splitlines(), 1):
            for match in _XML.finditer(line):
                yield number, match[1], _unescape(match[2] or "true")
        return
    if re.search(r"^uwsgi:\s*$", text, re.MULTILINE):
        yield from _yaml(text)
        return
    if text.lstrip().startswith("{"):
        yield from _json(text)
        return
    yield from itertools.islice(_options(_sections(text), SECTION, ()), LINES_MAX)


def _sections(text: str) -> dict[str, list[tuple[int, str, str]]]:
    """Return the lines of an ini file by section; before the first head they are of [uwsgi]."""
    sections: dict[str, list[tuple[int, str, str]]] = {}
    section = SECTION
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        line = line.strip()
        head = _HEAD.match(line)
        if head:
            section = head[1]
        elif line and line[0] not in ";#":
            name, equals, value = line.partition("=")
            value = value.strip() if equals else "true"
            remark = _REMARK.fullmatch(value)
            value = remark[1] if remark else value
            sections.setdefault(section, []).append((number, name.strip(), value))
    return sections


def _options(
    sections: dict[str, list[tuple[int, str, str]]], wanted: str, above: tuple[str, ...]
) -> Iterator[tuple[int, str, str]]:
    """Yield the lines of a section, and of another one in the place of an `ini = :SECTION` that names it."""
    for number, name, value in sections.get(wanted, ()):
        other = value.removeprefix(":")
        if name == "ini" and value.startswith(":") and other in sections and other not in (*above, wanted):
            yield from _options(sections, other, (*above, wanted))
        else:
            yield number, name, value


def _yaml(text: str) -> Iterator[tuple[int, str, str]]:
    inside = False
    above = ""
    for number, line in enumerate(text.splitlines(), 1):
        item = _ITEM.fullmatch(line)
        if line and not line[0].isspace():
            inside, above = line.startswith("uwsgi:"), ""
        elif inside and above and item:
            yield number, above, _unquoted(item[1])
        elif inside and (match := _YAML.fullmatch(line)):
            above = "" if match[2] else match[1]
            if not above:
                yield number, match[1], _unquoted(match[2])


def _unquoted(value: str) -> str:
    is_quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    return value[1:-1] if is_quoted else value


def _json(text: str) -> Iterator[tuple[int, str, str]]:
    tree = json.loads(text)
    members = tree.get(SECTION) if isinstance(tree, dict) else None
    if not isinstance(members, dict):
        raise ValueError(f"it has no member {SECTION}")
    lines = find_lines(text)
    for name, value in members.items():
        for one in value if isinstance(value, list) else [value]:
            written = one if isinstance(one, str) else json.dumps(one)
            yield lines.get((SECTION, name), 0), name, written


def _unescape(value: str) -> str:
    for name, char in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&apos;", "'"), ("&amp;", "&")):
        value = value.replace(name, char)
    return value.strip()


def _magic(path: str, cores: int) -> dict[str, str]:
    name = basename(path)
    stem, extension = splitext(name)
    directory = dirname(path)
    values = {
        "p": path,
        "s": name,
        "d": f"{directory.rstrip('/')}/",
        "e": extension.removeprefix("."),
        "n": stem,
        "c": basename(directory),
        "x": SECTION,
        "k": str(cores),
    }
    values |= {str(index): part for index, part in enumerate(path.strip("/").split("/")[:10])}
    return values | {key.upper(): value for key, value in values.items() if key.isalpha() and key != "k"} | {"%": "%"}


def _expand(value: str, variables: dict[str, str], magic: dict[str, str]) -> tuple[str, str]:
    """Return the value with its variables replaced, and why one cannot be."""
    missing: list[str] = []

    def put(match: re.Match[str]) -> str:
        name = match[1].strip()
        if name not in variables:
            missing.append(name)
            return ""
        return variables[name]

    for _ in range(EXPANSIONS_MAX):
        if not _PLACEHOLDER.search(value):
            break
        value = _PLACEHOLDER.sub(put, value)
        if len(value) > VALUE_MAX:
            return value[:VALUE_MAX], "its variables make it too long"
    else:
        return value, "its variables speak of themselves"
    if missing:
        return value, f"nothing sets %({missing[0]}) in this file"
    unknown = [match[1] for match in _MAGIC.finditer(value) if match[1] not in magic]
    value = _MAGIC.sub(lambda match: magic.get(match[1], match[0]), value)
    return value, f"%{unknown[0]} is not known before uWSGI runs" if unknown else ""
