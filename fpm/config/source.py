"""Prepares the lines of a configuration file for ConfigObj, and reads its values back.

ConfigObj keeps no line numbers, treats `;` as part of a value and rejects a directive or a section that occurs twice.
PHP-FPM's files have `;` comments, a later value replaces an earlier one, and a section can be opened again. So each
line is rewritten before ConfigObj sees it: comments are removed, and names are prefixed with their line number
(`[12:www]`, `13:user = "alice"`), which makes them unique and gives each value its location. Lines keep their
positions. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_HEAD = re.compile(r"\[\s*([^\[\]]*?)\s*\]\s*(?:[;#].*)?")
_QUOTED = re.compile(r"""("(?:[^"\\]|\\.)*"|'[^']*')\s*(?:[;#].*)?""")
_COMMENT = re.compile(r'"[^"]*"|(;|(?<=\s)#)')
_ESCAPED = re.compile(r'\\(["\\])')

COMPLAINTS_MAX = 100
"""Number of malformed lines in one file after which the rest is not read."""

_QUOTE = "\x01"
"""Replaces a double quote while ConfigObj has the text. A file cannot contain it: control characters are refused."""


@dataclass(slots=True)
class NumberedText:
    """A file rewritten for ConfigObj."""

    lines: list[str] = field(default_factory=list)
    complaints: list[tuple[int, str]] = field(default_factory=list)
    """Line number and sentence."""


def number_lines(text: str) -> NumberedText:
    """Rewrite a file as described above. Malformed lines become empty and add an error."""
    result = NumberedText()
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        rewritten, complaint = _rewrite(number, line.strip())
        result.lines.append(rewritten)
        if complaint:
            result.complaints.append((number, complaint))
            if len(result.complaints) == COMPLAINTS_MAX:
                result.complaints.append((number, "there are more such lines. Is this a configuration file?"))
                break
    return result


def _rewrite(number: int, line: str) -> tuple[str, str]:
    """Return the line for ConfigObj, and an error or ""."""
    if not line or line[0] in ";#":
        return "", ""
    control = _CONTROL.search(line)
    if control:
        return "", f"the control character \\x{ord(control[0]):02x} is not allowed. Remove it"
    if line[0] == "[":
        match = _HEAD.fullmatch(line)
        if match is None or not match[1]:
            return "", f"'{line}' is not a section header. Write [global] or the name of a pool, as in [www]"
        return f"[{number}:{match[1]}]", ""
    name, equals, value = line.partition("=")
    name = name.rstrip()
    if not equals or ";" in name:
        return "", f"'{line}' has no '='. Write directive = value, or begin a comment with ';'"
    if not name:
        return "", "there is no name before the '='. Write directive = value"
    value, complaint = _without_comment(value.strip())
    return f'{number}:{name} = "{value.replace(chr(34), _QUOTE)}"', complaint


def _without_comment(value: str) -> tuple[str, str]:
    if value.startswith(('"""', "'''")):
        return "", "multi-line values (triple quotes) are not supported. Write the value on one line"
    if value[:1] in ('"', "'"):
        match = _QUOTED.fullmatch(value)
        if match:
            return match[1], ""
        if value.count(value[0]) == 1:
            return "", f"the quote ({value[0]}) is not closed. Close it, or remove it"
        return "", "there is text after the closing quote. Put the whole value in quotes"
    if value[:1] in (";", "#"):
        return "", ""
    if ";" not in value and "#" not in value:
        return value, ""
    for match in _COMMENT.finditer(value):
        if match[1]:
            return value[: match.start()].rstrip(), ""
    return value, ""


def read_name(numbered: str) -> tuple[int, str]:
    """Split a name from ConfigObj into line number and name of a section or directive."""
    number, _, name = numbered.partition(":")
    return int(number), name


def read_value(value: str) -> tuple[str, bool]:
    """Return a value from ConfigObj without its quotes, and whether it is literal (in single quotes).

    As in PHP's ini files, `\\"` and `\\\\` stand for a quote and a backslash in double quotes, and nothing is
    replaced in single quotes.
    """
    value = value[1:-1].replace(_QUOTE, '"')
    if value[:1] == "'":
        return value[1:-1], True
    if value[:1] == '"':
        return _ESCAPED.sub(r"\1", value[1:-1]), False
    return value, False
