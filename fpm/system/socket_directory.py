"""A temporary directory for Unix sockets, whose paths have little room."""

from __future__ import annotations

import os
import tempfile

PATH_MAX = 90
"""Room for the directory in the path of a Unix socket (108 bytes, unix(7))."""


def make_socket_directory(prefix: str) -> str:
    """Make one that only this user can enter, in TMPDIR or, if that is too deep, in /tmp.

    Raises:
        OSError: it cannot be made.
    """
    directory = tempfile.mkdtemp(prefix=prefix)
    if len(directory) > PATH_MAX:
        os.rmdir(directory)
        directory = tempfile.mkdtemp(prefix=prefix, dir="/tmp")
    return directory
