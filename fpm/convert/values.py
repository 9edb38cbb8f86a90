"""From a value of another server to the text of a directive of ours. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable

from fpm.convert.option import How

MEGABYTE = 1 << 20
NUMBER_MAX = 10**15
_NUMBER = re.compile(r"[0-9]{1,15}")
_YES = frozenset({"1", "true", "yes", "on"})
_NO = frozenset({"0", "false", "no", "off", "none"})
_LOOPBACK = re.compile(r"(?:127(?:\.\d+){3}|localhost|\[::1\]):\d{1,5}")
OPEN_PORT = (
    "is a port for the whole network, and FastCGI knows no passwords: the pool listens at a Unix socket; "
    "write listen = {} if a web server on another machine needs it"
)


class Unfit(ValueError):
    """The value has no counterpart; the sentence says why."""


def convert(how: How, value: object) -> str:
    """Convert a single value.

    Raises:
        Unfit: it cannot be.
    """
    return _CONVERSIONS[how](value)


def text(value: object) -> str:
    """Return a value as one line of text.

    Raises:
        Unfit: it is none.
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return " ".join(text(one) for one in value)
    if not isinstance(value, str | int | float):
        raise Unfit(f"expected text, found {_name(value)}")
    written = str(value).strip()
    if not written.isprintable():
        raise Unfit("the value has more than one line, or characters that cannot be printed")
    if not written:
        raise Unfit("the value is empty")
    return written


def number(value: object) -> int:
    """Return a value as a whole number.

    Raises:
        Unfit: it is none.
    """
    if isinstance(value, bool):
        raise Unfit("expected a number")
    if isinstance(value, float) and value == int(value):
        value = int(value)
    written = str(value).strip()
    if not _NUMBER.fullmatch(written):
        raise Unfit(f"expected a number, found {_shorten(written)}")
    return int(written)


def is_yes(value: object) -> bool:
    """Tell whether a switch is on.

    Raises:
        Unfit: it is neither on nor off.
    """
    written = str(value).strip().lower()
    if written not in _YES | _NO | {""}:
        raise Unfit(f"expected true or false, found {_shorten(written)}")
    return written not in _NO


def _seconds(value: object) -> str:
    if isinstance(value, float) and value != int(value) and 0 < value < NUMBER_MAX:
        return f"{round(value * 1000)}ms"
    count = number(value)
    return f"{count}s" if count else "0"


def _bytes(value: object) -> str:
    count = number(value)
    return f"{count // MEGABYTE}M" if count and not count % MEGABYTE else str(count)


def _mode(value: object) -> str:
    """Return an octal mode; an integer is what the file's language has made of it."""
    if isinstance(value, int) and not isinstance(value, bool):
        written = f"{value:o}"
    else:
        written = str(value).strip().lower().removeprefix("0o").lstrip("0") or "0"
    if not re.fullmatch(r"[0-7]{1,3}", written):
        raise Unfit(f"expected an octal mode, found {_shorten(written)}")
    return written.zfill(4)


def _socket_mode(value: object) -> str:
    return "0666" if str(value).strip() in ("", "true", "1") else _mode(value)


def _list(separator: str) -> Callable[[object], str]:
    def join(value: object) -> str:
        if isinstance(value, str):
            value = [part for part in re.split(r"[:,]", value) if part.strip()]
        if not isinstance(value, list | tuple):
            raise Unfit(f"expected a list, found {_name(value)}")
        return separator.join(text(one) for one in value)

    return join


def address(value: object) -> str:
    """Return a listening address as ours.

    Raises:
        Unfit: it cannot be one.
    """
    written = text(value)
    if written.startswith("fd://"):
        raise Unfit("a descriptor of the service manager: name its socket, see pyfpm-pool@.socket in contrib/systemd")
    path = re.sub(r"^(?:unix:(?://(?=/))?|unix://)", "", written)
    if path != written or path.startswith(("/", "@")):
        return path
    written = re.sub(r"^(?:tcp|http)://", "", written)
    if _LOOPBACK.fullmatch(written):
        return written
    if re.fullmatch(r"(?:\*|[\w.-]*|\[[0-9a-fA-F:.]*\]):\d{1,5}", written):
        raise Unfit(OPEN_PORT.format(written.replace("*", "0.0.0.0")))
    if ":" not in written and not written.isdigit():
        return written if "/" in written else f"./{written}"
    raise Unfit(f"no listening address: {_shorten(written)}")


def _log(value: object) -> str:
    return "/dev/stderr" if str(value) == "-" else text(value)


def _level(value: object) -> str:
    level = text(value).lower()
    if level not in _LEVELS:
        raise Unfit(f"expected a level, found {_shorten(level)}")
    return _LEVELS[level]


_LEVELS = {"debug": "debug", "info": "notice", "warning": "warning", "error": "error", "critical": "alert"}


def _switch(wanted: bool) -> Callable[[object], str]:
    return lambda value: "yes" if is_yes(value) == wanted else "no"


def _name(value: object) -> str:
    return {dict: "a mapping", list: "a list", type(None): "nothing"}.get(type(value), type(value).__name__)


def _shorten(written: str) -> str:
    return f"'{written[:40]}'"


_CONVERSIONS: dict[How, Callable[[object], str]] = {
    "text": text,
    "venv": text,
    "module": text,
    "callable": text,
    "file": text,
    "mount": text,
    "variable": text,
    "seconds": _seconds,
    "minutes": lambda value: f"{number(value)}m",
    "megabytes": lambda value: f"{number(value)}M" if number(value) else "0",
    "bytes": _bytes,
    "number": lambda value: str(number(value)),
    "percent": lambda value: f"{number(value)}%",
    "workers": lambda value: str(number(value)),
    "threads": lambda value: str(number(value)),
    "least": lambda value: str(number(value)),
    "first": lambda value: str(number(value)),
    "yes": _switch(True),
    "no": _switch(False),
    "factory": _switch(True),
    "octal": _socket_mode,
    "umask": _mode,
    "path_list": _list(":"),
    "address": address,
    "log": _log,
    "account": lambda value: text(value).removeprefix("#"),
    "level": _level,
}
