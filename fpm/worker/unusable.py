"""What it means that a worker can take no connection any more, and descriptors that it has lost to its application."""

from __future__ import annotations

import errno
import os
from collections.abc import Collection

EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE})
LOST = frozenset({errno.EBADF, errno.ENOTSOCK, errno.EOPNOTSUPP})
"""The descriptor is closed, or something else by now: what is closed twice may be another's the second time."""


def lost_error() -> OSError:
    """Make the error of a descriptor of ours that is closed."""
    return OSError(errno.EBADF, os.strerror(errno.EBADF))


def explain_unusable(error: OSError) -> str:
    """Say why no connection can be taken any more, after what has failed; "" if another try may succeed."""
    if error.errno in EXHAUSTED:
        return f"{error.strerror} ({error.errno})"
    if error.errno in LOST:
        cause = "the application has closed a descriptor that is not its own (twice the same?)"
        return f"{error.strerror} ({error.errno}), as {cause}"
    return ""


def move_away(fd: int, own: Collection[int]) -> int:
    """Give a connection a descriptor that is none of these: what is written to them would go to its client."""
    taken = [fd]
    while taken[-1] in own:
        taken.append(os.dup(fd))
    for closed in taken[:-1]:
        os.close(closed)
    return taken[-1]
