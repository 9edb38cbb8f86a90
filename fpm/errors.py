"""The error tree: each class has the exit status of the command that it ends.

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
    """An error that pyfpm reports to its user as one clear sentence."""

    exit_status = EXIT_SOFTWARE


class ConfigError(FpmError):
    """The configuration cannot be used; carries every error, not only the first."""

    exit_status = EXIT_CONFIG

    def __init__(self, complaints: list[str]) -> None:
        super().__init__("\n".join(complaints))
        self.complaints = complaints


class UnknownPool(ConfigError):
    """Somebody has named a pool that there is not; the configuration itself may be in order."""

    exit_status = EXIT_FAILED


class StartError(FpmError):
    """The master cannot start: a socket in use, a directory that cannot be written."""


class InstanceRunning(StartError):
    """A master with the same configuration runs already."""


class ProtocolError(FpmError):
    """A FastCGI peer sent bytes that no specification allows."""


class ControlError(FpmError):
    """The control socket does not answer, or the running master refused the command."""

    exit_status = EXIT_FAILED


class CalibrationError(FpmError):
    """An interpreter's structures are not as expected, so there is no layout."""


class Unsupported(CalibrationError):
    """Calibration can never work with this interpreter, so it is not tried again."""


class ClientError(FpmError):
    """A FastCGI request got no complete answer."""

    exit_status = EXIT_FAILED


class ConnectFailed(ClientError):
    """Nobody listens at the address, or connecting is not permitted."""


class PeerTimeout(ClientError):
    """The server neither sent nor accepted a byte for too long, or the whole request took too long."""


class PeerClosed(ClientError):
    """The connection ended before the response did."""


class PeerRefused(ClientError):
    """The server ended the request with a protocol status other than FCGI_REQUEST_COMPLETE."""


class PeerGarbage(ClientError, ProtocolError):
    """The server sent something that is not FastCGI or not a CGI response."""


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
        otherwise: what to do in other cases, such as "set `pid` to another path".
    """
    advice = _ADVICE.get(error.errno or 0, "{otherwise}").format(otherwise=otherwise)
    return f"{error.strerror} ({error.errno}); {advice}"
