"""Static files of `pyfpm serve --static /static=DIR`, as a WSGI application in front of another one."""

from __future__ import annotations

import mimetypes
import os
import stat
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC
from email.utils import formatdate, parsedate_to_datetime
from typing import Any, BinaryIO

from fpm.client.gateway import Environ, Report, StartResponse, describe_request
from fpm.frozen import dataclass

READ_SIZE = 65536
_TEXTS = ("text/", "application/javascript", "application/json", "image/svg+xml")

Application = Callable[[Environ, StartResponse], Iterable[bytes]]


@dataclass(frozen=True, slots=True)
class Mount:
    """A directory under a path of the site.

    Attributes:
        prefix: begins with `/` and does not end with it.
        directory: absolute, without symbolic links.
    """

    prefix: str
    directory: str


def parse_mount(text: str) -> Mount:
    """Parse /PATH=DIR.

    Raises:
        ValueError: says what is wrong.
    """
    prefix, equals, directory = text.partition("=")
    if not equals or not prefix.startswith("/") or not directory:
        raise ValueError(f"'{text}' is not /PATH=DIR, as in /static=./static.")
    if not os.path.isdir(directory):
        raise ValueError(f"there is no directory {directory}.")
    return Mount(prefix.rstrip("/"), os.path.realpath(directory))


class StaticFiles:
    """Serves files below some paths, and everything else by another application.

    Args:
        application: for all other paths.
        mounts: the first one that fits is taken; a file that it lacks is not found.
    """

    def __init__(self, application: Application, mounts: Sequence[Mount], report: Report) -> None:
        self._application = application
        self._mounts = mounts
        self._report = report

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        path = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "surrogateescape")
        mount = next((one for one in self._mounts if path.startswith(f"{one.prefix}/")), None)
        if mount is None:
            return self._application(environ, start_response)
        begin = time.monotonic()
        status, headers, body = answer(environ, locate(mount, path))
        self._report(describe_request(environ), status.partition(" ")[0], time.monotonic() - begin)
        start_response(status, headers)
        if isinstance(body, bytes):
            return [body] if body else []
        wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](body, READ_SIZE)
        return wrapped


def locate(mount: Mount, path: str) -> str | None:
    """Return the file of a path; None if it is outside of the directory, also by a symbolic link."""
    parts = path.removeprefix(mount.prefix).split("/")
    if "\0" in path or ".." in parts or not parts[-1]:  # with a slash at the end it names a directory
        return None
    found = os.path.realpath(os.path.join(mount.directory, *filter(None, parts)))
    return found if found.startswith(f"{mount.directory.rstrip('/')}/") else None


def answer(environ: Environ, path: str | None) -> tuple[str, list[tuple[str, str]], bytes | BinaryIO]:
    """Return status, headers and body for a file; None has none."""
    if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
        return "405 Method Not Allowed", [("Allow", "GET, HEAD"), ("Content-Length", "0")], b""
    file = open_regular(path) if path is not None else None
    if file is None:
        body = b"404 Not Found\n"
        headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
        return "404 Not Found", headers, b"" if environ["REQUEST_METHOD"] == "HEAD" else body
    found = os.fstat(file.fileno())
    etag = f'"{found.st_mtime_ns:x}-{found.st_size:x}"'
    modified = formatdate(int(found.st_mtime), usegmt=True)
    headers = [("ETag", etag), ("Last-Modified", modified), ("Cache-Control", "no-cache")]
    if is_unchanged(environ, etag, int(found.st_mtime)):
        file.close()
        return "304 Not Modified", headers, b""
    headers += [("Content-Type", content_type(file.name)), ("Content-Length", str(found.st_size))]
    headers.append(("X-Content-Type-Options", "nosniff"))
    if environ["REQUEST_METHOD"] == "HEAD":
        file.close()
        return "200 OK", headers, b""
    return "200 OK", headers, file


def open_regular(path: str) -> BinaryIO | None:
    """Open a regular file; None if there is none, or it may not be read. A FIFO does not make it wait."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        return None
    return open(path, "rb", opener=lambda name, flags: fd)


def is_unchanged(environ: dict[str, Any], etag: str, modified: int) -> bool:
    """Tell whether the client has this file already (RFC 9110 section 13.2.2): If-None-Match, else the date."""
    known = environ.get("HTTP_IF_NONE_MATCH")
    if known is not None:
        return known.strip() == "*" or etag in [one.strip().removeprefix("W/") for one in known.split(",")]
    try:
        since = parsedate_to_datetime(environ.get("HTTP_IF_MODIFIED_SINCE", ""))
        return modified <= since.replace(tzinfo=since.tzinfo or UTC).timestamp()
    except (ValueError, OverflowError):
        return False


def content_type(name: str) -> str:
    """Guess the type of a file by its name."""
    kind, encoding = mimetypes.guess_type(name)
    if encoding or kind is None:
        return "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith(_TEXTS) else kind
