"""`wsgi.file_wrapper` (PEP 3333): a file whose way to the client is ours to choose. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

FILE_BLOCK = 65535
"""Bytes that are read at once unless told otherwise: what one record carries."""


class FileWrapper:
    """wsgi.file_wrapper: an iterable over the blocks of a file-like object.

    Attributes:
        file: what it was given.
        block: bytes that are read at once.
        left: bytes that are still wanted of it; None: up to its end.
    """

    __slots__ = ("block", "close", "file", "left")

    def __init__(self, file: Any, block: int = FILE_BLOCK) -> None:
        self.file = file
        self.block = block
        self.left: int | None = None
        self.close: Callable[[], object] = getattr(file, "close", _nothing)

    def __iter__(self) -> FileWrapper:
        return self

    def __next__(self) -> bytes:
        if self.left is None:
            data: bytes = self.file.read(self.block)
        elif self.left:
            data = self.file.read(min(self.block, self.left))
            self.left -= len(data)
        else:
            raise StopIteration
        if data:
            return data
        raise StopIteration


def _nothing() -> None:
    """The close() of a file without one."""
