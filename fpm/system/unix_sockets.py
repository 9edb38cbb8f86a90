"""Unix sockets (unix(7)): a temporary directory with a short path for them, and a connect with a time limit."""

from __future__ import annotations

import os
import socket
import struct

PATH_MAX = 90
"""Room for the directory in the path of a Unix socket (108 bytes, unix(7))."""


def make_socket_directory(prefix: str) -> str:
    """Make a directory that only this user can enter, in TMPDIR or, if its path is too long, in /tmp.

    Raises:
        OSError: it cannot be made.
    """
    import tempfile  # not for those who only connect

    directory = tempfile.mkdtemp(prefix=prefix)
    if len(directory) > PATH_MAX:
        os.rmdir(directory)
        directory = tempfile.mkdtemp(prefix=prefix, dir="/tmp")
    return directory


def connect_unix(path: str, timeout: float) -> socket.socket:
    """Connect to a Unix socket, waiting for room in a full listen queue.

    connect(2) waits as long as SO_SNDTIMEO says; with Python's own timeout it would not wait at all (unix(7)).

    Args:
        timeout: seconds.

    Raises:
        OSError: nobody listens there, or there was no room in time (BlockingIOError).
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        limit = struct.pack("@ll", int(timeout), int(timeout % 1 * 1_000_000))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        connection.connect(path)
    except BaseException:
        connection.close()
        raise
    return connection
