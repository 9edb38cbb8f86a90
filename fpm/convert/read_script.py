"""Reads the lines of a shell script or Dockerfile around the command of a server: what they set. Pure."""

from __future__ import annotations

import json
import posixpath
import re
import shlex
from collections.abc import Iterator

from fpm.convert.given import Given

_VARIABLE = re.compile(r"'[^']*'|\$(?:(\w+)|\{(\w+)(?::?-([^{}]*))?\})")
"""A variable, with or without a default; what stands between apostrophes has none."""
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_ARRAY = re.compile(r"(\s*(?:CMD|ENTRYPOINT|command:)\s*)(\[.*\])\s*")
_ACTIVATE = "/bin/activate"
VALUE_MAX = 4096
SHELL = "a variable of the shell: pyfpm has ${NAME} for those of its environment"


def whole_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield lines with their numbers, without comments; those that go on with a backslash as one, arrays as words."""
    lines = text.splitlines()
    number = 0
    while number < len(lines):
        begin, line = number + 1, lines[number]
        while line.endswith("\\") and number + 1 < len(lines):
            number += 1
            line = f"{line[:-1]} {lines[number].strip()}"
        number += 1
        if not line.lstrip().startswith(("#", ";")):
            yield begin, _words_of_array(line)


def _words_of_array(line: str) -> str:
    """Return a line of a Dockerfile or of Compose with its command as a shell has it."""
    array = _ARRAY.fullmatch(line)
    if array is None:
        return line
    try:
        words = json.loads(array[2])
    except (ValueError, RecursionError):
        return line
    return array[1] + shlex.join(str(word) for word in words)


class Script:
    """The variables of a script, as far as it has been read."""

    def __init__(self) -> None:
        self._variables: dict[str, str] = {}
        self._directory = ""

    def expand(self, line: str) -> tuple[str, str]:
        """Return a line with the variables that are known, and a note on defaults that were taken for others."""
        notes = []

        def put(match: re.Match[str]) -> str:
            name, default = match[1] or match[2], match[3]
            if name is None or (name not in self._variables and default is None):
                return match[0]
            if name not in self._variables:
                notes.append(f"the environment variable {name} may say otherwise")
            return self._variables.get(name, default)

        expanded = _VARIABLE.sub(put, line)
        return (expanded, "; ".join(dict.fromkeys(notes))) if len(expanded) <= VALUE_MAX else (line, "")

    def read(self, number: int, line: str) -> list[Given]:
        """Read a line that is not the command; return what it sets for the server."""
        try:
            words = shlex.split(self.expand(line)[0], comments=True)
        except ValueError:  # a quote that goes on
            return []
        if not words:
            return []
        first, rest = words[0], words[1:]
        if _ASSIGNMENT.fullmatch(first) and not rest:
            self._assign([first], is_sure=not line[0].isspace())
        elif line[0].isspace():  # in a condition or a function
            self._assign([word for word in words if _ASSIGNMENT.fullmatch(word)], is_sure=False)
        elif first in ("export", "ENV"):
            return self._exported(number, first, rest)
        elif first in ("cd", "WORKDIR") and len(rest) == 1 and "$" not in rest[0]:
            self._directory = posixpath.normpath(posixpath.join(self._directory, rest[0]))
            return [Given(number, "chdir", self._directory, note=first)] if self._directory.startswith("/") else []
        elif first == "USER" and len(rest) == 1:
            return [Given(number, "user", rest[0].partition(":")[0], note=first)]
        elif first in ("source", ".") and len(rest) == 1 and rest[0].endswith(_ACTIVATE):
            venv = posixpath.normpath(posixpath.join(self._directory, rest[0].removesuffix(_ACTIVATE)))
            return [Given(number, "command", venv, note=f"{first} {rest[0]}")] if venv.startswith("/") else []
        return []

    def _assign(self, words: list[str], *, is_sure: bool) -> None:
        for word in words:
            if match := _ASSIGNMENT.fullmatch(word):
                self._variables.pop(match[1], None)
                if is_sure and "$" not in match[2] and "`" not in match[2]:
                    self._variables[match[1]] = match[2]

    def _exported(self, number: int, first: str, words: list[str]) -> list[Given]:
        if first == "ENV" and len(words) > 1 and "=" not in words[0]:  # ENV NAME VALUE
            words = [f"{words[0]}={' '.join(words[1:])}"]
        self._assign(words, is_sure=True)
        found = []
        for word in words:
            name, equals, value = word.partition("=")
            if not equals and name in self._variables:
                value = self._variables[name]
            elif not equals:
                continue
            reason = SHELL if "$" in value or "`" in value else ""
            found.append(Given(number, "raw_env", f"{name}={value}", reason, note=first))
        return found
