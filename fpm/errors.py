"""The error tree: each class knows the exit status of the command that it ends.

Exit statuses are PHP-FPM's (fpm.h), which are those of sysexits.h: 0 OK, 64 usage, 70 software, 78 configuration. Pure.
"""

from __future__ import annotations

import errno

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 64
EXIT_SOFTWARE = 70
EXIT_CONFIG = 78


class FpmError(Exception):
    """Anything that pyfpm itself reports to its user as one clear sentence."""

    exit_status = EXIT_SOFTWARE


class ConfigError(FpmError):
    """The configuration cannot be used; carries every complaint, not the first only."""

    exit_status = EXIT_CONFIG

    def __init__(self, complaints: list[str]) -> None:
        super().__init__("\n".join(complaints))
        self.complaints = complaints


class StartError(FpmError):
    """The master cannot start: a socket in use, a directory that cannot be written."""


class ProtocolError(FpmError):
    """A FastCGI peer sent bytes that no specification allows."""


class ControlError(FpmError):
    """The control socket does not answer, or the running master refused the command."""

    exit_status = EXIT_FAILED


class CalibrationError(FpmError):
    """An interpreter's structures are not where and as they should be, so there is no layout."""


class Unsupported(CalibrationError):
    """The calibration can never work with this interpreter, so another try is no use."""


class ClientError(FpmError):
    """A FastCGI request got no complete answer."""

    exit_status = EXIT_FAILED


class ConnectFailed(ClientError):
    """Nobody listens at the address, or we may not connect to it."""


class PeerTimeout(ClientError):
    """The server neither sent nor took a byte for too long, or the whole request took too long."""


class PeerClosed(ClientError):
    """The connection ended before the answer did."""


class PeerRefused(ClientError):
    """The server ended the request with a protocol status other than FCGI_REQUEST_COMPLETE."""


class PeerGarbage(ClientError, ProtocolError):
    """The server sent something that is not FastCGI, or not a CGI response."""


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
