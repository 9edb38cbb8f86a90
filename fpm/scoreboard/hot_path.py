"""What serves requests, as a number of the status: the compiled hot path, or plain Python. Pure."""

from __future__ import annotations

from enum import IntEnum


class HotPath(IntEnum):
    """The numbers."""

    UNKNOWN = 0
    """No template of the generation has said it yet."""
    COMPILED = 1
    PYTHON = 2


def describe_hot_path(value: int) -> str | None:
    """Say it in a word; None: not known."""
    return HotPath(value).name.lower() if value in (HotPath.COMPILED, HotPath.PYTHON) else None


def measure_hot_path(value: int) -> int | None:
    """Is it compiled? 1 or 0; None: not known."""
    return int(value == HotPath.COMPILED) if value else None
