"""What a checked `app` says of files; the configuration and the processes of a pool read it alike. Pure."""

from __future__ import annotations

import shlex
from posixpath import dirname

SCRIPT = "script:"
"""Prefix of an `app` that is a program which calls WSGIServer itself, unless a module has that name."""


def names_file(where: str) -> bool:
    """Tell whether the part before the callable is a file; `shop.wsgi` is a module, `./shop.wsgi` a file."""
    return where.endswith(".py") or (where.endswith(".wsgi") and "/" in where)


def directory_of(app: str) -> str:
    """Return the directory of the application's file; "" if it is a module."""
    if app.startswith(SCRIPT):
        return dirname(shlex.split(app.removeprefix(SCRIPT))[0])  # of script:-m it is ""
    return dirname(app.rpartition(":")[0])  # of a module, too
