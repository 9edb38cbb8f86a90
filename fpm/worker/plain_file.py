"""Which of the file-like objects that applications give to wsgi.file_wrapper the kernel may send in place of read()."""

from __future__ import annotations

import io
import os
import stat
import tempfile
from typing import Any

_FileIO, _Buffered = io.FileIO, (io.BufferedReader, io.BufferedRandom)
_Temporary = tempfile._TemporaryFileWrapper


class PlainFile:
    """A regular file, from where its object would be read on.

    Attributes:
        fd: its descriptor, which belongs to the object.
        position: where to begin.
        size: bytes from there to its end.
    """

    __slots__ = ("_file", "fd", "position", "size")

    def __init__(self, file: Any, fd: int, position: int, size: int) -> None:
        self._file = file
        self.fd = fd
        self.position = position
        self.size = size

    def move(self, position: int) -> None:
        """Let its object be read from here on."""
        self.position = position
        self._file.seek(position)


def find_plain_file(file: object) -> PlainFile | None:
    """Find the regular file of which read() would give the very bytes; None if there is none, or nothing is left of it.

    A fileno() is no proof: that of a gzip.GzipFile is the compressed file's. So it must be of exactly the types that
    open() and tempfile make, all the way down, with methods that nobody has replaced.
    """
    try:
        return _look_through(file)
    except (OSError, ValueError):  # it is closed; read() says so in its own words
        return None


def _look_through(file: Any) -> PlainFile | None:
    if type(file) is _Temporary:
        read = vars(file).get("read")  # where it has been asked for: a function around that of the file
        file = file.file
        if read is not None and getattr(read, "__wrapped__", None) != file.read:
            return None
    raw = file.raw if type(file) in _Buffered else file
    if type(raw) is not _FileIO or "read" in vars(file) or "readinto" in vars(raw) or not raw.readable():
        return None
    status = os.fstat(raw.fileno())
    position = file.tell()
    if not stat.S_ISREG(status.st_mode) or status.st_size <= position:
        return None
    return PlainFile(file, raw.fileno(), position, status.st_size - position)


def read_part(file: int, at: int, size: int) -> tuple[bytes, OSError | None]:
    """Read a part of a file of which a record has promised that many bytes.

    Returns:
        That many bytes, zeros where there are none, and why.
    """
    data = b""
    error: OSError | None = None
    try:
        while len(data) < size and (more := os.pread(file, size - len(data), at + len(data))):
            data += more
    except OSError as caught:
        error = caught
    if len(data) < size:
        data = data.ljust(size, b"\0")
        error = error or OSError("the file has become shorter while it was sent")
    return data, error
