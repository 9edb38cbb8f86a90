"""`wsgi.file_wrapper` (PEP 3333): sends a file block by block. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

FILE_BLOCK = 65535
"""Bytes that are read at once unless told otherwise: what one record carries."""


class FileWrapper:
    """wsgi.file_wrapper: an iterable over the blocks of a file-like object."""

    __slots__ = ("_block", "_file", "close")

    def __init__(self, file: Any, block: int = FILE_BLOCK) -> None:
        self._file = file
        self._block = block
        self.close: Callable[[], object] = getattr(file, "close", _nothing)

    def __iter__(self) -> FileWrapper:
        return self

    def __next__(self) -> bytes:
        data: bytes = self._file.read(self._block)
        if data:
            return data
        raise StopIteration


def _nothing() -> None:
    """The close() of a file without one."""
