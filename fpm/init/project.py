"""What is known of a project beyond its application. Pure."""

from __future__ import annotations

import posixpath

from fpm.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Static:
    """Files that the web server sends by itself."""

    url: str
    """As "/static/"."""
    directory: str


@dataclass(frozen=True, slots=True)
class Details:
    """What a framework's settings tell."""

    statics: tuple[Static, ...] = ()
    collects_static: bool = False
    """Django's collectstatic fills the first of `statics`."""
    static_notes: tuple[str, ...] = ()
    """Why files are not among `statics`."""
    notes: tuple[str, ...] = ()
    """What must change before the site is public."""
    migrates: bool = False
    """Django's migrate prepares a database."""
    sqlite: str = ""
    """The file of an SQLite database, absolute; "" for another database, or if it lies outside of the project."""


@dataclass(frozen=True, slots=True)
class Found:
    """A project as it was found."""

    what: str
    """As "Django project"."""
    app: str
    directory: str
    """Absolute; from there `app` is found."""
    details: Details = Details()


def is_below(path: str, directory: str) -> bool:
    """Tell whether a path lies below a directory; both are absolute and normalised."""
    return posixpath.normpath(path).startswith(directory.rstrip("/") + "/")
