"""The text of an environment file: NAME=VALUE lines, as systemd's EnvironmentFile= and programs called dotenv have it.

Nothing is replaced in a value, and no message repeats one. Pure.
"""

from __future__ import annotations

import re

_NAME = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*")
_BLANK = re.compile(r"[ \t\r]*(?:[#;][^\n]*)?(?:\n|\Z)")
_REST = re.compile(r"[ \t\r]*(?:#[^\n]*)?(?:\n|\Z)")
_SINGLE = re.compile(r"'([^']*)'")
_DOUBLE = re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)"', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = {"n": "\n", "\n": "", "\\": "\\", '"': '"', "$": "$", "`": "`"}


class BadEnvText(ValueError):
    """A line cannot be read.

    Attributes:
        line: its number, from 1.
    """

    def __init__(self, line: int, sentence: str) -> None:
        super().__init__(sentence)
        self.line = line


def parse_env(text: str) -> dict[str, str]:
    """Return the variables; a later line with the same name counts.

    Values stand alone, in single quotes, where nothing is special, or in double quotes, where a backslash stands before
    `"`, `$`, a backquote, itself and `n` for a new line. Values in quotes may have several lines.

    Raises:
        BadEnvText: says what was expected, without the value.
    """
    found: dict[str, str] = {}
    text = text.removeprefix("\ufeff")
    at, size = 0, len(text)
    while at < size:
        blank = _BLANK.match(text, at)
        if blank:
            at = blank.end()
            continue
        name = _NAME.match(text, at)
        if name is None:
            raise _bad(text, at, "expected NAME=VALUE, with letters, digits and _ in the name")
        value, end = _value(text, name.end(), name[1])
        if "\0" in value:
            raise _bad(text, at, f"the value of {name[1]} has a NUL byte, which no variable can have")
        found[name[1]] = value
        at = end
    return found


def _bad(text: str, at: int, sentence: str) -> BadEnvText:
    return BadEnvText(text.count("\n", 0, at) + 1, sentence)


def _value(text: str, at: int, name: str) -> tuple[str, int]:
    """Return the value that begins here, and where the next line does."""
    mark = text[at : at + 1]
    if mark and mark in "'\"":
        match = (_SINGLE if mark == "'" else _DOUBLE).match(text, at)
        if match is None:
            raise _bad(text, at, f"the quote ({mark}) of {name} is not closed. Close it, or remove it")
        rest = _REST.match(text, match.end())
        if rest is None:
            raise _bad(text, at, f"there is text after the closing quote of {name}. Put the whole value in quotes")
        return match[1] if mark == "'" else _ESCAPE.sub(_unescape, match[1]), rest.end()
    end = text.find("\n", at)
    end = len(text) if end < 0 else end
    value = text[at:end].rstrip(" \t\r")
    if value.endswith("\\"):
        raise _bad(text, at, f"the value of {name} ends with a backslash. Put it in single quotes")
    if re.search(r"(?:^|\s)#", value):
        # A comment for some programs, a part of the value for others: half a password would be worse than a question.
        raise _bad(text, at, f"is the # in the value of {name} a comment? Put the value in quotes")
    return value, end + 1


def _unescape(match: re.Match[str]) -> str:
    return _ESCAPED.get(match[1], match[0])
