"""Descriptors received with a message (SCM_RIGHTS, unix(7))."""

from __future__ import annotations

import array
import os
import socket


def take_descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    """Return all descriptors of a message; the caller owns them."""
    fds = array.array("i")
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
    return fds.tolist()


def take_descriptor(ancillary: list[tuple[int, int, bytes]]) -> int | None:
    """Return the first descriptor of a message and close the others."""
    fds = take_descriptors(ancillary)
    for fd in fds[1:]:
        os.close(fd)
    return fds[0] if fds else None
