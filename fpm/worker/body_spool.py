"""A request's body in a temporary file (request_body_spool)."""

from __future__ import annotations

from tempfile import TemporaryFile

from fpm.wsgi.environ import Environ

SPOOL_BLOCK = 65536


def spool_body(environ: Environ) -> None:
    """Read a body of unknown length into a temporary file, for frameworks that need CONTENT_LENGTH."""
    if "CONTENT_LENGTH" in environ:
        return
    file = TemporaryFile()  # noqa: SIM115  the application reads it; it is closed with the request
    while block := environ["wsgi.input"].read(SPOOL_BLOCK):
        file.write(block)
    environ["CONTENT_LENGTH"] = str(file.tell())
    file.seek(0)
    environ["wsgi.input"] = file
