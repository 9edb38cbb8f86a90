"""JSON datagrams, and how untrusted JSON becomes a dataclass: strict about types, ranges and sizes."""

from __future__ import annotations

import json
import types
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from fpm.frozen import dataclass

MESSAGE_MAX = 65536
"""Bytes of one message on a channel. Longer texts are cut by the sender."""
_NAME_MAX = 50
"""Characters of an unknown kind that an error shows."""


class MessageError(ValueError):
    """The bytes are no message, or one that must not be believed; the text says why."""


@dataclass(frozen=True, slots=True)
class Range:
    """The least and the greatest value of a number, or length of a text in characters."""

    least: float
    most: float


def as_object(message: Any, version: int) -> dict[str, Any]:
    """Make a JSON object of a message: "v" (the version), "kind" (the name of its dataclass) and its fields."""
    return {"v": version, "kind": type(message).__name__, **asdict(message)}


def read_object(values: dict[str, Any], kinds: Mapping[str, type[Any]], version: int) -> Any:
    """Make a message of a JSON object, as one of these kinds.

    Raises:
        MessageError: it is of another version or kind, or of wrong fields.
    """
    found = values.get("v")
    if type(found) is not int or found != version:
        raise MessageError(f"it is no message of version {version}")
    kind = values.get("kind")
    if not isinstance(kind, str) or kind not in kinds:
        raise MessageError(f"unknown kind {repr(kind)[:_NAME_MAX]}")
    return read_dataclass(kinds[kind], values)


def read_dataclass(kind: type[Any], values: dict[str, Any]) -> Any:
    """Make a dataclass of a JSON object.

    Fields that it does not know are ignored, and missing ones get their default, so that processes of two releases of
    pyfpm (there are both after an upgrade) understand each other.

    Raises:
        MessageError: a field is missing, or its value is not of its type or out of its range.
    """
    read = {}
    for name, hint, is_required in _hints(kind):  # type: ignore[arg-type]
        if name in values:
            read[name] = _read(hint, values[name], name)
        elif is_required:
            raise MessageError(f"{kind.__name__} without {name}")
    return kind(**read)


@cache
def _hints(kind: type[Any]) -> list[tuple[str, Any, bool]]:
    hints = get_type_hints(kind, include_extras=True)
    return [
        (field.name, hints[field.name], field.default is MISSING and field.default_factory is MISSING)
        for field in fields(kind)
    ]


def _read(hint: Any, value: Any, name: str) -> Any:
    origin = get_origin(hint)
    if origin is Annotated:
        base, limits = get_args(hint)
        return _in_range(_read(base, value, name), limits, name)
    if origin in (Union, types.UnionType):  # only `| None`
        return None if value is None else _read(get_args(hint)[0], value, name)
    if origin is Literal:
        return _known(value, get_args(hint), name)
    if origin in (list, tuple):  # of any length, and JSON has lists alone
        items = [_read(get_args(hint)[0], one, name) for one in _typed(value, list, name)]
        return items if origin is list else tuple(items)
    if origin is dict:
        return _typed(value, dict, name)
    if is_dataclass(hint):
        return read_dataclass(hint, _typed(value, dict, name))  # type: ignore[arg-type]
    if hint is float and type(value) is int:
        return value
    return _typed(value, hint, name)


def _typed(value: Any, kind: type[Any], name: str) -> Any:
    if type(value) is not kind:
        raise MessageError(f"{name} is {type(value).__name__}, not {kind.__name__}")
    return value


def _known(value: Any, known: tuple[Any, ...], name: str) -> Any:
    if type(value) is not str or value not in known:
        raise MessageError(f"{name} is none of {', '.join(known)}")
    return value


def _in_range(value: Any, limits: Range, name: str) -> Any:
    size = len(value) if isinstance(value, str) else value
    if not limits.least <= size <= limits.most:
        raise MessageError(f"{name} is not from {limits.least:g} to {limits.most:g}")
    return value


def pack_message(message: dict[str, Any]) -> bytes:
    """A JSON object as bytes, never longer than MESSAGE_MAX: long texts in it are cut in the middle.

    Raises:
        MessageError: it is too long without its texts.
    """
    data = json.dumps(message).encode()
    room = MESSAGE_MAX
    while len(data) > MESSAGE_MAX:
        room //= 2
        if not room:
            raise MessageError(f"a message of {len(data)} bytes is too long")
        data = json.dumps({key: _cut(value, room) for key, value in message.items()}).encode()
    return data


def unpack_message(data: bytes) -> dict[str, Any]:
    """A JSON object from bytes; {} if they are none (the peer is not trusted)."""
    try:
        message = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}


def _cut(value: Any, room: int) -> Any:
    if not isinstance(value, str) or len(value) <= room:
        return value
    half = room // 2
    return f"{value[:half]}\n... {len(value) - 2 * half} characters left out ...\n{value[-half:]}"
