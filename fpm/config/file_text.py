"""Reads the text of one file of the configuration, and says of files with errors whether they are another server's."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator

from fpm.config.section import Diagnostics

FILE_MAX = 1024 * 1024
"""Bytes of one file. People write configurations by hand; a larger file is a mistake (a log, a disk image)."""
FOREIGN_MAX = 20
"""Files with errors that are looked at once more."""


def read_regular(path: str) -> bytes:
    """Read at most FILE_MAX + 1 bytes of a regular file. A FIFO or a device could block a reload, so it is refused."""
    # O_NONBLOCK: otherwise open(2) waits until a FIFO has a writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, "it is a directory. Name a file")
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        chunks: list[bytes] = []
        size = 0
        while size <= FILE_MAX and (chunk := os.read(descriptor, FILE_MAX + 1 - size)):
            chunks.append(chunk)
            size += len(chunk)
        return b"".join(chunks)
    finally:
        os.close(descriptor)


def foreign_files(report: Diagnostics) -> Iterator[str]:
    """Yield a sentence for each file with errors that as a whole is another server's: pyfpm convert reads it."""
    from fpm.convert.hint import hint  # for mistakes only

    for path in report.files()[:FOREIGN_MAX]:
        try:
            text = read_regular(path)[:FILE_MAX].decode("utf-8", "replace")
        except OSError:
            continue  # an error says so already
        sentence = hint(path, text)
        if sentence:
            yield sentence
