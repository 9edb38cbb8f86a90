"""Turns FastCGI variables into a WSGI environ (PEP 3333), complete even if the web server sends little.

Some web server needs each of the rules; the tests send what those servers send.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote_to_bytes

Environ = dict[str, Any]

_SECURE = frozenset({"on", "1", "yes", "true", "https"})
_UNWANTED = frozenset(("HTTP_PROXY", "HTTP_TRANSFER_ENCODING", "HTTP_CONTENT_LENGTH", "HTTP_CONTENT_TYPE"))
"""Dropped: HTTP_PROXY sets the proxy of the application's own requests (CVE-2016-5385); the web server has decoded the
transfer encoding already, and frameworks that trust the header read nothing; the last two have names without HTTP_.
complete_environ() has them written out, as it runs for each request and nearly always finds none."""


def complete_environ(environ: Environ, mount: str | None) -> str:
    """Turn the variables of a request into what PEP 3333 asks of environ, in place; return the whole decoded path.

    Args:
        mount: the `script_name` directive; None for "auto".
    """
    if (
        "HTTP_PROXY" in environ
        or "HTTP_TRANSFER_ENCODING" in environ
        or "HTTP_CONTENT_LENGTH" in environ
        or "HTTP_CONTENT_TYPE" in environ
        or not environ.get("HTTP_HOST", True)
    ):
        _drop_unwanted(environ)
    script_name: str = environ.get("SCRIPT_NAME", "")
    if mount is None and script_name[:1] == "/" and "PATH_INFO" not in environ:
        # nginx's stock fastcgi_params: the decoded path is in SCRIPT_NAME, and the application is at the root.
        path = environ["PATH_INFO"] = script_name
        environ["SCRIPT_NAME"] = ""
    else:
        path = _mount(environ, script_name, mount)
    if "CONTENT_LENGTH" in environ and (not environ["CONTENT_LENGTH"] or content_length(environ) is None):
        del environ["CONTENT_LENGTH"]
    if "CONTENT_TYPE" in environ and not environ["CONTENT_TYPE"]:
        del environ["CONTENT_TYPE"]
    if "SCRIPT_FILENAME" in environ and environ["SCRIPT_FILENAME"].startswith("proxy:"):
        environ["SCRIPT_FILENAME"] = _strip_proxy(environ["SCRIPT_FILENAME"])
    secure = (environ.get("HTTPS") or environ.get("REQUEST_SCHEME", "")).lower() in _SECURE
    environ["wsgi.url_scheme"] = "https" if secure else "http"
    if "REQUEST_METHOD" not in environ:
        environ["REQUEST_METHOD"] = "GET"
    if "QUERY_STRING" not in environ:
        environ["QUERY_STRING"] = ""
    if "SERVER_PROTOCOL" not in environ:
        environ["SERVER_PROTOCOL"] = "HTTP/1.0"
    if not environ.get("SERVER_NAME"):
        environ["SERVER_NAME"] = _server_name(environ)
    if not environ.get("SERVER_PORT"):
        environ["SERVER_PORT"] = "443" if secure else "80"
    return path


def _drop_unwanted(environ: Environ) -> None:
    for name in _UNWANTED:
        environ.pop(name, None)
    if not environ.get("HTTP_HOST", True):
        del environ["HTTP_HOST"]  # who makes URLs would take it for the host's name, in place of SERVER_NAME


def content_length(environ: Environ) -> int | None:
    """Parse CONTENT_LENGTH in bytes; None where it is unknown: absent, "" (nginx) or "-1" (Caddy)."""
    text = environ.get("CONTENT_LENGTH")
    if not text:
        return None
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def _mount(environ: Environ, script_name: str, mount: str | None) -> str:
    """Set SCRIPT_NAME and PATH_INFO where the short way does not fit; return the whole path."""
    path_info = environ.get("PATH_INFO")
    path = _whole_path(environ, script_name, path_info)
    if mount is None and path_info is not None and path == script_name + path_info:
        environ["SCRIPT_NAME"] = "" if script_name == "/" else script_name
        environ["PATH_INFO"] = "/" + path_info.lstrip("/") if script_name == "/" else path_info
        if not environ["SCRIPT_NAME"] and not path_info:
            environ["PATH_INFO"] = "/"
        return path
    prefix = (mount or "").rstrip("/")
    inside = path == prefix or path.startswith(prefix + "/")
    environ["SCRIPT_NAME"] = prefix
    # If the path does not start with the prefix, the web server has removed it.
    environ["PATH_INFO"] = path[len(prefix) :] if inside else path
    return path


def _whole_path(environ: Environ, script_name: str, path_info: str | None) -> str:
    path = script_name + (path_info or "")
    if not path:
        path = environ.get("DOCUMENT_URI") or _request_path(environ)
    elif script_name == path_info and _request_path(environ) == script_name:
        # `include fastcgi_params; fastcgi_param PATH_INFO $fastcgi_script_name;` sends the path twice.
        path = script_name
    return path if path[:1] == "/" else "/" + path


def _request_path(environ: Environ) -> str:
    """Return the decoded path of REQUEST_URI, as Latin-1 text like all of environ."""
    target: str = environ.get("REQUEST_URI", "").partition("?")[0]
    if "://" in target[:10]:
        target = "/" + target.partition("://")[2].partition("/")[2]
    return unquote_to_bytes(target.encode("latin-1")).decode("latin-1")


def _strip_proxy(filename: str) -> str:
    """Strip Apache's mod_proxy_fcgi prefix: `proxy:fcgi://host:port/srv/app.py`, or `unix:PATH|` before fcgi."""
    rest = filename.rpartition("://")[2] if "://" in filename else filename.removeprefix("proxy:")
    slash = rest.find("/")
    return rest[slash:] if slash >= 0 else ""


def _server_name(environ: Environ) -> str:
    """Return a name where the web server sends none, or an empty one as nginx does without `server_name`."""
    host: str = environ.get("HTTP_HOST", "")
    host = host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
    return host or environ.get("SERVER_ADDR") or "localhost"
