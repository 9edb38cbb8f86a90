"""Reads what `nginx -T` prints: which location passes which requests to which FastCGI server. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import field
from fnmatch import fnmatchcase
from posixpath import dirname, join, normpath

from fpm.frozen import dataclass

_FILE = re.compile(r"^# configuration file (.+):$")
_TOKEN = re.compile(
    r"""
    \s+ | \#[^\n]* | (?P<mark>[{};])
    | "(?P<double>(?:\\.|[^"\\])*)" | '(?P<single>(?:\\.|[^'\\])*)'
    | (?P<word>(?:\\.|\$\{[^}]*\}|[^\s;{}"'\\])(?:\\.|\$\{[^}]*\}|[^\s;{}\\])*)
    """,
    re.DOTALL | re.VERBOSE,
)
DEPTH_MAX = 20
"""Of files that include each other."""


@dataclass(frozen=True, slots=True)
class Directive:
    """One directive with its words, and if it is a block what is inside."""

    words: tuple[str, ...]
    file: str
    line: int
    block: tuple[Directive, ...] | None = None

    @property
    def name(self) -> str:
        """Its first word."""
        return self.words[0] if self.words else ""

    @property
    def value(self) -> str:
        """Its second word; "" if it has none."""
        return self.words[1] if len(self.words) > 1 else ""


@dataclass(frozen=True, slots=True)
class Pass:
    """A `fastcgi_pass`, and what is in force beside it."""

    targets: tuple[str, ...]
    """As written, without `unix:`; of an upstream block all its servers."""
    file: str
    line: int
    params: frozenset[str] = field(default_factory=frozenset)
    read_timeout: float = 60.0
    """Seconds."""
    written: str = ""
    """The whole value, as the file has it."""


@dataclass(frozen=True, slots=True)
class Dump:
    """A whole configuration."""

    user: tuple[str, str]
    """Of the directive `user`; "" if it is not set, and for the group likewise."""
    passes: tuple[Pass, ...]


def read_dump(text: str) -> Dump:
    """Read the output of `nginx -T`; what is no configuration is skipped."""
    files = split_files(text)
    if not files:
        return Dump(("", ""), ())
    main = next(iter(files))
    top = list(_expand(parse(files[main], main), files, dirname(main), DEPTH_MAX))
    user = next((one for one in top if one.name == "user"), None)
    words = (*(user.words[1:3] if user else ()), "", "")
    upstreams = {one.value: _servers(one) for one in _blocks(top, "upstream")}
    return Dump((words[0], words[1]), tuple(_passes(top, upstreams, _Scope())))


def split_files(text: str) -> dict[str, str]:
    """Split the dump into its files, in the order in which nginx has read them."""
    found: dict[str, list[str]] = {}
    lines: list[str] | None = None
    for line in text.split("\n"):
        head = _FILE.match(line)
        if head:
            lines = found.setdefault(head[1], [])
        elif lines is not None:
            lines.append(line)
    return {name: "\n".join(lines) for name, lines in found.items()}


def parse(text: str, file: str) -> tuple[Directive, ...]:
    """Parse one file; a block that is not closed ends with it."""
    stack: list[tuple[list[str], int, list[Directive]]] = [([], 0, [])]
    words: list[str] = []
    line, began = 1, 1
    for token in _TOKEN.finditer(text):
        mark, word = token["mark"], token["word"] or token["double"] or token["single"]
        if mark is None and token[0][:1].strip() and not token[0].startswith("#"):
            began = began if words else line
            words.append(word or "")
        elif mark == ";":
            if words:
                stack[-1][2].append(Directive(tuple(words), file, began))
            words = []
        elif mark == "{":
            stack.append((words, began, []))
            words = []
        elif mark == "}" and len(stack) > 1:
            head, at, inside = stack.pop()
            stack[-1][2].append(Directive(tuple(head), file, at, tuple(inside)))
        line += token[0].count("\n")
    while len(stack) > 1:
        head, at, inside = stack.pop()
        stack[-1][2].append(Directive(tuple(head), file, at, tuple(inside)))
    return tuple(stack[0][2])


def _expand(found: tuple[Directive, ...], files: Mapping[str, str], base: str, depth: int) -> Iterator[Directive]:
    """Put the files that are included in the place of `include`; their paths are relative to the main file."""
    for one in found:
        if one.name == "include" and depth:
            pattern = normpath(join(base, one.value))
            for name in files:
                if fnmatchcase(normpath(name), pattern) and normpath(name).count("/") == pattern.count("/"):
                    yield from _expand(parse(files[name], name), files, base, depth - 1)
        elif one.block is not None:
            yield Directive(one.words, one.file, one.line, tuple(_expand(one.block, files, base, depth)))
        else:
            yield one


def _blocks(found: list[Directive] | tuple[Directive, ...], name: str) -> Iterator[Directive]:
    for one in found:
        if one.block is not None:
            if one.name == name:
                yield one
            yield from _blocks(one.block, name)


def _servers(upstream: Directive) -> tuple[str, ...]:
    return tuple(one.value.removeprefix("unix:") for one in upstream.block or () if one.name == "server")


@dataclass(frozen=True, slots=True)
class _Scope:
    """What a block inherits."""

    params: frozenset[str] = field(default_factory=frozenset)
    read_timeout: float = 60.0


def _passes(
    found: tuple[Directive, ...] | list[Directive], upstreams: Mapping[str, tuple[str, ...]], outer: _Scope
) -> Iterator[Pass]:
    # fastcgi_param is inherited only by a block that has none of its own.
    params = frozenset(one.value for one in found if one.name == "fastcgi_param")
    times = [read_time(one.value) for one in found if one.name == "fastcgi_read_timeout"]
    scope = _Scope(params or outer.params, times[-1] if times else outer.read_timeout)
    for one in found:
        if one.block is not None:
            yield from _passes(one.block, upstreams, scope)
        elif one.name == "fastcgi_pass":
            target = one.value.removeprefix("unix:")
            targets = upstreams.get(one.value, (target,))
            yield Pass(targets, one.file, one.line, scope.params, scope.read_timeout, one.value)


_TIME = re.compile(r"(\d+)(ms|s|m|h|d|w|M|y|)")
_SECONDS = {"ms": 0.001, "s": 1, "": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "M": 2592000, "y": 31536000}


def read_time(text: str) -> float:
    """Read a time as nginx does ("1m30s"), in seconds."""
    return float(sum(int(number) * _SECONDS[unit] for number, unit in _TIME.findall(text)))
