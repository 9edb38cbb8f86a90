"""The access log's descriptor: opened by the master, written by the workers, exchanged when logs are rotated."""

from __future__ import annotations

import os

from fpm.errors import StartError


def open_access_log(path: str) -> int:
    """Open for appending, 0600 if it is made now, close-on-exec.

    Raises:
        StartError: it cannot be opened.
    """
    # O_NONBLOCK: a FIFO without a reader must not stop the master; it does nothing to a regular file.
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    try:
        return os.open(path, flags, 0o600)
    except OSError as error:
        raise StartError(f"failed to open access log ({path}): {error.strerror}") from error
