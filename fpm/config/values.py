"""Parsers of single values.

Types and units are PHP-FPM's (fpm_conf.c), see pyfpm.conf(5). Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from fpm.config.addresses import parse_address, parse_networks, split_words
from fpm.config.application_value import parse_application
from fpm.config.bound_values import parse_cpus, parse_io_priority, parse_share
from fpm.config.invalid_value import InvalidValue
from fpm.config.model import ReloadCheck
from fpm.config.tables.entry import Directive
from fpm.protocol.mounts import InvalidMount, parse_mount

_INTEGER = re.compile(r"-?[0-9]{1,18}")
_TIME = re.compile(r"([0-9]{1,12})(ms|s|m|h|d|)", re.IGNORECASE)
_TIME_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"([0-9]{1,18})([kmgt]?)(?:i?b)?", re.IGNORECASE)
_SIZE_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_BOOLEANS = {"yes": True, "on": True, "true": True, "1": True}
_BOOLEANS |= dict.fromkeys(("no", "off", "false", "none", "0"), False)
_MODE = re.compile(r"0?[0-7]{3}")
_URL = re.compile(r"/[A-Za-z0-9/_.~-]+")
_ACCOUNT = re.compile(r"[A-Za-z0-9_.@\\-][A-Za-z0-9_.@\\ -]{0,254}\$?")
_EXTENSION = re.compile(r"\.[A-Za-z0-9_]+")


def parse_value(directive: Directive, text: str) -> Any:
    """Parse the text of a directive into the type of its field in fpm.config.model.

    Raises:
        InvalidValue: says what was expected and what to do.
    """
    if directive.kind in _SHARED:
        return _parse_shared(directive, text)
    return _PARSERS[directive.kind](directive, text)


@lru_cache(maxsize=4096)
def _parse_shared(directive: Directive, text: str) -> Any:
    # A thousand pools say the same things: read once, and keep one object.
    return _PARSERS[directive.kind](directive, text)


def forget_shared() -> None:
    """Drop the cached values, once all files are read."""
    _parse_shared.cache_clear()


def _integer(directive: Directive, text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise InvalidValue(f"expected {_range(directive)}, found '{text}'")
    value = int(text)
    if not directive.minimum <= value <= directive.maximum:
        raise InvalidValue(f"must be {_range(directive)}, found {value}")
    return value


def _range(directive: Directive) -> str:
    if directive.maximum == 2**31 - 1:
        return f"a number of at least {directive.minimum}"
    return f"a number from {directive.minimum} to {directive.maximum}"


def _time(directive: Directive, text: str) -> float:
    match = _TIME.fullmatch(text)
    if match is None:
        raise InvalidValue(f"expected a time such as 30, 30s, 5m, 1h, 1d or 500ms, found '{text}'")
    value = int(match[1]) * _TIME_UNITS[match[2].lower()]
    if value > directive.maximum:
        raise InvalidValue(f"{text} is longer than ten years. Use 0 for no limit")
    return value


def _size(directive: Directive, text: str) -> int:
    match = _SIZE.fullmatch(text)
    if match is None:
        raise InvalidValue(f"expected a size in bytes such as 1024, 64K, 512M or 1G, found '{text}'")
    value = int(match[1]) * _SIZE_UNITS[match[2].lower()]
    if not directive.minimum <= value <= directive.maximum:
        raise InvalidValue(f"must be from {directive.minimum} to {directive.maximum} bytes, found {text}")
    return value


def _boolean(directive: Directive, text: str) -> bool:
    if text.lower() not in _BOOLEANS:
        raise InvalidValue(f"expected yes or no, found '{text}'")
    return _BOOLEANS[text.lower()]


def _choice(directive: Directive, text: str) -> str:
    lower = text.lower()
    lower = dict(directive.aliases).get(lower, lower)
    for choice in directive.choices:
        if lower == choice:
            return choice
    if directive.name == "pm":
        raise InvalidValue(f"invalid process manager (static, dynamic or ondemand), found '{text}'")
    raise InvalidValue(f"expected {' or '.join(_commas(directive.choices))}, found '{text}'")


def _commas(words: tuple[str, ...]) -> list[str]:
    return [", ".join(words[:-1]), words[-1]] if len(words) > 1 else list(words)


def _mode(directive: Directive, text: str) -> int:
    if not _MODE.fullmatch(text):
        raise InvalidValue(f"expected an octal mode such as 0660, found '{text}'")
    return int(text, 8)


def _limit(directive: Directive, text: str) -> int | None:
    """Parse a limit for setrlimit(2): None for 0 (unchanged), -1 for unlimited."""
    if text.lower() == "unlimited":
        return -1
    match = _SIZE.fullmatch(text)
    if match is None:
        raise InvalidValue(f"must be a size in bytes, or 'unlimited', found '{text}'")
    value = int(match[1]) * _SIZE_UNITS[match[2].lower()]
    if 0 < value < directive.minimum:
        raise InvalidValue(f"must be at least {directive.minimum} bytes, or 0 for unchanged, found {text}")
    return value or None


def _account(directive: Directive, text: str) -> str:
    if not _ACCOUNT.fullmatch(text):
        raise InvalidValue(f"expected a name or a number, found '{text}'")
    return text


def _mount_line(directive: Directive, text: str) -> str:
    try:
        parse_mount(text)
    except InvalidMount as error:
        raise InvalidValue(str(error)) from None
    return " ".join(text.split())


def _words(directive: Directive, text: str) -> tuple[str, ...]:
    aliases = dict(directive.aliases)
    words = tuple(aliases.get(word, word) for word in split_words(text))
    for word in words:
        if directive.choices and word not in directive.choices:
            raise InvalidValue(f"expected words from {', '.join(directive.choices)}, found '{word}'")
    return words


def _extensions(directive: Directive, text: str) -> tuple[str, ...]:
    words = tuple(split_words(text))
    for word in words:
        if not _EXTENSION.fullmatch(word):
            raise InvalidValue(f"expected extensions with their dot, as in .py .wsgi, found '{word}'")
    return words


def _url(directive: Directive, text: str) -> str:
    word = {"pm.status_path": "the status path", "ping.path": "the ping path"}.get(directive.name, "the path")
    if not text.startswith("/"):
        raise InvalidValue(f"{word} '{text}' must start with a '/'")
    if len(text) < 2:
        raise InvalidValue(f"{word} '{text}' is not long enough. Write at least one character after the '/'")
    if directive.array or _URL.fullmatch(text):
        return text
    raise InvalidValue(f"{word} '{text}' must contain only the following characters '[alphanum]/_-.~'")


def _mount(directive: Directive, text: str) -> str | None:
    if text == "auto":
        return None
    prefix = text.rstrip("/")
    if prefix and not prefix.startswith("/"):
        raise InvalidValue(f"expected auto, a prefix that starts with a '/', or \"\", found '{text}'")
    return prefix


def _check(directive: Directive, text: str) -> ReloadCheck:
    words = text.split()
    if not 2 <= len(words) <= 4 or not words[0].isalpha() or not words[1].startswith("/"):
        raise InvalidValue(f"expected METHOD /path STATUS TIMEOUT, as in GET /healthz 200 5s, found '{text}'")
    status = words[2] if len(words) > 2 else "200"
    if not (status.isascii() and status.isdigit() and 100 <= int(status) <= 599):
        raise InvalidValue(f"expected an HTTP status from 100 to 599, found '{status}'")
    timeout = _time(directive, words[3] if len(words) > 3 else "5s")
    if timeout <= 0:
        raise InvalidValue("the time must be greater than 0s")
    return ReloadCheck(words[0].upper(), words[1], int(status), timeout)


_PARSERS: dict[str, Callable[[Directive, str], Any]] = {
    **dict.fromkeys(("text", "path", "file", "format"), lambda directive, text: text),
    "integer": _integer,
    "size": _size,
    "time": _time,
    "boolean": _boolean,
    "choice": _choice,
    "mode": _mode,
    "limit": _limit,
    "account": _account,
    "address": lambda directive, text: parse_address(text),
    "networks": lambda directive, text: parse_networks(text),
    "words": _words,
    "users": _words,
    "groups": _words,
    "extensions": _extensions,
    "url": _url,
    "application": lambda directive, text: parse_application(text),
    "mount": _mount,
    "mount_line": _mount_line,
    "check": _check,
    "cpus": lambda directive, text: parse_cpus(text),
    "priority": lambda directive, text: parse_io_priority(text),
    "share": lambda directive, text: parse_share(text),
}
_SHARED = frozenset(_PARSERS) - {"text", "path", "file", "address", "application"}
