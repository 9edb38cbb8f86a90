"""FastCGI parameters for a request that no web server has seen (RFC 3875 section 4.1). Pure."""

from __future__ import annotations

from collections.abc import Iterable

SOFTWARE = "pyfpm"


def request_params(
    method: str,
    target: str,
    *,
    headers: Iterable[tuple[str, str]] = (),
    content_length: int | None = None,
    remote: bool = False,
) -> dict[str, str]:
    """What nginx's stock fastcgi_params say of a request for `target` (`/path?query`).

    SCRIPT_FILENAME is the path as well: PHP-FPM finds its status and ping pages only then. REMOTE_ADDR is left out
    unless `remote`, as by every direct client; pyfpm shows status and ping to such a one.
    """
    path, _, query = target.partition("?")
    params = {
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SERVER_SOFTWARE": SOFTWARE,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "localhost",
        "SERVER_ADDR": "127.0.0.1",
        "SERVER_PORT": "80",
        "REQUEST_SCHEME": "http",
        "REQUEST_METHOD": method,
        "REQUEST_URI": target,
        "DOCUMENT_URI": path,
        "SCRIPT_NAME": path,
        "SCRIPT_FILENAME": path,
        "QUERY_STRING": query,
        "CONTENT_LENGTH": "" if content_length is None else str(content_length),
        "CONTENT_TYPE": "",
        "HTTP_HOST": "localhost",
    }
    if remote:
        params |= {"REMOTE_ADDR": "127.0.0.1", "REMOTE_PORT": "0"}
    for name, value in headers:
        params[header_param(name)] = value
    return params


def header_param(name: str) -> str:
    """The parameter that carries an HTTP header."""
    param = name.upper().replace("-", "_")
    return param if param in ("CONTENT_TYPE", "CONTENT_LENGTH") else "HTTP_" + param
