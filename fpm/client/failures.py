"""What can go wrong with a FastCGI server, each as one sentence for the user of a command or of the gateway. Pure."""

from __future__ import annotations

from fpm.errors import EXIT_FAILED, FpmError, ProtocolError


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
