"""Compiles access.format once and renders a line for each request (PHP-FPM: fpm_log.c).

What a client has sent is escaped, including quotes and backslashes, so that no field can end early and no line can be
forged; PHP-FPM writes it unescaped. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fpm.log.access_json import JSON, LINE_MAX, json_tokens
from fpm.log.access_record import AccessRecord
from fpm.log.escape import cut, decode_wire, escape_field
from fpm.log.times import format_access_time, format_time

DEFAULT_LIMIT = 1024
"""Bytes of a line, as in PHP-FPM's buffer; the pool's log_limit replaces it."""


Token = Callable[[AccessRecord], str]


class AccessFormat:
    """A compiled format.

    Attributes:
        uses_cpu: it shows CPU time, which costs a system call.
        uses_memory: it shows memory.
        uses_headers: it shows response headers.
    """

    __slots__ = ("_limit", "_tokens", "uses_cpu", "uses_headers", "uses_memory")

    def __init__(self, tokens: list[Token], letters: set[str], limit: int) -> None:
        self._tokens = tokens
        self._limit = limit
        self.uses_cpu = "C" in letters
        self.uses_memory = "M" in letters
        self.uses_headers = "o" in letters

    def render(self, record: AccessRecord) -> str:
        """Return the line without its newline; encoded as UTF-8 it has at most the limit's number of bytes."""
        line = "".join([token(record) for token in self._tokens])
        return line if len(line) * 4 <= self._limit else cut(line, self._limit)


def compile_format(format: str, limit: int = DEFAULT_LIMIT) -> AccessFormat:
    """Compile an access.format for lines of at most `limit` bytes; those of `json` may be somewhat longer.

    Raises:
        ValueError: PHP-FPM's sentence about the error.
    """
    if format == JSON:
        return AccessFormat(json_tokens(limit), set(), LINE_MAX)
    tokens: list[Token] = []
    letters: set[str] = set()
    position = 0
    while position < len(format):
        percent = format.find("%", position)
        if percent < 0:
            percent = len(format)
        if percent > position:
            tokens.append(_literal(format[position:percent]))
        if percent == len(format):
            break
        argument, letter, position = _parse_token(format, percent + 1)
        tokens.append(_compile_token(letter, argument))
        letters.add(letter)
    return AccessFormat(tokens, letters, limit)


def suppressed(record: AccessRecord, paths: Iterable[str]) -> bool:
    """Tell whether access.suppress_path[] drops this line: an empty, successful GET or HEAD of one of the paths."""
    return (
        record.uri in paths
        and record.method in ("GET", "HEAD")
        and not record.query
        and not record.content_length
        and 200 <= record.status < 300
    )


def _parse_token(format: str, position: int) -> tuple[str, str, int]:
    """Return the argument in braces ("" without), the letter, and where the rest starts."""
    argument = ""
    if format.startswith("{", position):
        end = format.find("}", position)
        if end < 0 or end + 1 == len(format):
            raise ValueError("missing closing embrace in the access.format")
        argument = format[position + 1 : end]
        position = end + 1
    letter = format[position : position + 1]
    if letter not in _TOKENS or not letter:
        raise ValueError(f"Invalid token in the access.format (%{letter})")
    return argument, letter, position + 1


def _compile_token(letter: str, argument: str) -> Token:
    known = _TOKENS[letter]
    if isinstance(known, dict):
        token = known.get(argument.lower())
        if token is None:
            raise ValueError(f"only {_MODIFIERS[letter]} are allowed as a modifier for %{letter} ('{argument}')")
        return token
    if letter in _WITH_ARGUMENT:
        return _WITH_ARGUMENT[letter](argument)
    if argument:
        raise ValueError(f"embrace is not allowed for modifier %{letter}")
    return known


def _literal(text: str) -> Token:
    return lambda _record: text


def _field(text: str) -> str:
    return escape_field(decode_wire(text)) or "-"


def _cpu(microseconds: int, record: AccessRecord) -> str:
    return f"{microseconds / record.duration * 100 if record.duration > 0 else 0.0:.2f}"


def _param(name: str) -> Token:
    if not name:
        raise ValueError("the name of the environment variable must be set between embraces for %e")
    return lambda record: _field(str(record.params.get(name, "")))


def _header(name: str) -> Token:
    if not name:
        raise ValueError("the name of the header must be set between embraces for %o")
    wanted = name.lower()
    return lambda record: _field(next((value for key, value in record.headers if key.lower() == wanted), ""))


def _time(moment_of: Callable[[AccessRecord], float], form: str) -> Token:
    """Make a token for a time that is formatted once a second: formatting costs more than the rest of a line."""
    second = -1
    text = ""

    def token(record: AccessRecord) -> str:
        nonlocal second, text
        moment = moment_of(record)
        if int(moment) != second:
            second = int(moment)
            text = escape_field(format_time(moment, form)) if form else format_access_time(moment)
        return text

    return token


def _accepted(form: str) -> Token:
    return _time(lambda record: record.accepted, form)


def _written(form: str) -> Token:
    return _time(lambda record: record.written, form)


def _nothing(_record: AccessRecord) -> str:
    return ""


def _duration(unit: float) -> Token:
    return lambda record: f"{record.duration / unit:.3f}"


def _memory(unit: int) -> Token:
    return lambda record: str(record.memory // unit)


def _total_cpu(record: AccessRecord) -> str:
    return _cpu(record.cpu_user + record.cpu_system, record)


_TOKENS: dict[str, Token | dict[str, Token]] = {
    "%": lambda _record: "%",
    "C": {
        "": _total_cpu,
        "total": _total_cpu,
        "user": lambda record: _cpu(record.cpu_user, record),
        "system": lambda record: _cpu(record.cpu_system, record),
    },
    "d": {
        **dict.fromkeys(("", "seconds"), _duration(1e6)),
        **dict.fromkeys(("milliseconds", "milli", "miliseconds", "mili"), _duration(1e3)),
        **dict.fromkeys(("microseconds", "micro"), lambda record: str(record.duration)),
    },
    "M": {
        **dict.fromkeys(("", "bytes"), _memory(1)),
        **dict.fromkeys(("kilobytes", "kilo"), _memory(1024)),
        **dict.fromkeys(("megabytes", "mega"), _memory(1024 * 1024)),
    },
    "e": _nothing,
    "o": _nothing,
    "t": _nothing,
    "T": _nothing,
    "f": lambda record: _field(record.script),
    "l": lambda record: str(record.content_length),
    "m": lambda record: _field(record.method),
    "n": lambda record: _field(record.pool),
    "p": lambda record: str(record.pid),
    "P": lambda record: str(record.parent_pid),
    "q": lambda record: escape_field(decode_wire(record.query)),
    "Q": lambda record: "?" if record.query else "",
    "r": lambda record: _field(record.uri),
    "R": lambda record: _field(record.remote),
    "s": lambda record: str(record.status),
    "u": lambda record: _field(record.user),
}
_WITH_ARGUMENT: dict[str, Callable[[str], Token]] = {"e": _param, "o": _header, "t": _accepted, "T": _written}
_MODIFIERS = {
    "C": "'total', 'user' or 'system'",
    "d": "'seconds', 'milli', 'milliseconds', 'micro' or 'microseconds'",
    "M": "'bytes', 'kilo', 'kilobytes', 'mega' or 'megabytes'",
}
