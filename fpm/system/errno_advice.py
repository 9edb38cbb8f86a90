"""What an administrator can do about an error of the system, as a clause for the end of a sentence. Pure."""

from __future__ import annotations

import errno

_ADVICE = {
    errno.ENOENT: "create its directory first",
    errno.ENOTDIR: "a part of the path is a file, not a directory",
    errno.EISDIR: "it is a directory, name a file in it",
    errno.EACCES: "let the user that runs pyfpm write there, or {otherwise}",
    errno.EPERM: "let the user that runs pyfpm write there, or {otherwise}",
    errno.EROFS: "the file system is read-only, {otherwise}",
    errno.ENXIO: "it is a socket or a device that nobody serves, {otherwise}",
    errno.ENOSPC: "free some space on the file system",
    errno.EMFILE: "raise rlimit_files",
    errno.EPIPE: "start its reader again",
    errno.EAGAIN: "start its reader again",
    errno.EBADF: "this descriptor is closed, {otherwise}",
}


def advise(error: OSError, otherwise: str) -> str:
    """Describe an error of a file that pyfpm writes, and what to do about it.

    Args:
        otherwise: what to do if nothing else helps, such as "set `pid` to another path".
    """
    advice = _ADVICE.get(error.errno or 0, "{otherwise}").format(otherwise=otherwise)
    return f"{error.strerror} ({error.errno}); {advice}"
