"""Reads Django's settings: static files, and what is not meant for the public. Pure."""

from __future__ import annotations

import ast
import posixpath
from collections.abc import Callable, Iterator

from fpm.discover.source import bound_names, find_settings_module, parse, top_statements
from fpm.init.database import AWAY, BESIDE_CODE, database_of
from fpm.init.expressions import text_of
from fpm.init.project import Details, Static, is_below

STARS_MAX = 5
"""Settings modules that import from one another."""
Read = Callable[[str], str]
"""Returns the text of a source by its path relative to the project; "" if there is none."""


def read_details(directory: str, app: str, settings: str, read: Read) -> Details:
    """Find what the settings of a Django project tell a web server.

    Args:
        directory: of the project, absolute.
        app: as in `mysite.wsgi:application`; if its module names other settings, those count.
        settings: the module that manage.py names.
    """
    module = find_settings_module(_read_module(app.partition(":")[0], read)[1]) or settings
    found = _Settings(directory, module, read)
    if not found.is_there:
        return Details()
    left_out: list[str] = []
    static, media = (_files_of(found, kind, left_out) for kind in ("STATIC", "MEDIA"))
    statics = tuple(one for one in (static, media) if one is not None)
    notes = list(_notes(found))
    sqlite = _place_of_sqlite(found, notes)
    return Details(statics, static is not None, tuple(left_out), tuple(notes), bool(found.get("DATABASES")), sqlite)


class _Settings:
    """The names of a settings module, with those of the modules that it imports by `from .base import *`."""

    def __init__(self, directory: str, module: str, read: Read) -> None:
        self.directory = directory
        self.module = module
        self._values: dict[str, ast.expr] = {}
        self._files: dict[str, str] = {}
        self.database: dict[str, ast.expr] = {}
        self.path = ""
        self._add(module, read, STARS_MAX)
        self.is_there = bool(self._values)

    def _add(self, module: str, read: Read, left: int) -> None:
        path, text = _read_module(module, read)
        tree = parse(text)
        if tree is None or not left:
            return
        package = module if path.endswith("/__init__.py") else module.rpartition(".")[0]
        for one in top_statements(tree.body):
            if isinstance(one, ast.ImportFrom) and [name.name for name in one.names] == ["*"] and one.level < 2:
                inner = f"{package}.{one.module}" if one.level else one.module or ""
                self._add(inner, read, left - 1)
        self.path = posixpath.join(self.directory, path)
        self.database = database_of(tree, self.database)
        for name, value in bound_names(tree):
            if isinstance(value, ast.expr):
                self._values[name] = value
                self._files[name] = posixpath.join(self.directory, path)

    def get(self, name: str) -> ast.expr | None:
        """Return what a setting is set to; None if it is not set."""
        return self._values.get(name)

    def text(self, name: str) -> str | None:
        """Compute a string or a path; None if it is something else, or depends on more than the sources."""
        return self.compute(self.get(name), name)

    def compute(self, expression: ast.expr | None, name: str) -> str | None:
        """Compute a string or a path that is part of a setting."""
        return text_of(expression, self._values, self._files.get("BASE_DIR", self._files.get(name, "")))


def _read_module(module: str, read: Read) -> tuple[str, str]:
    """Return path and text of a module's source; the text is "" if there is none."""
    stem = module.replace(".", "/")
    for path in (f"{stem}.py", f"{stem}/__init__.py"):
        if text := read(path):
            return path, text
    return "", ""


def _files_of(settings: _Settings, kind: str, left_out: list[str]) -> Static | None:
    """Return the files of STATIC_URL or MEDIA_URL; None, mostly with a note, if there are none for a web server."""
    url, root = settings.text(f"{kind}_URL"), settings.text(f"{kind}_ROOT")
    if not url or "://" in url or url.startswith("//") or not url.strip("/"):
        return None
    url = f"/{url.strip('/')}/"
    if not root:
        if kind == "STATIC":
            left_out.append(
                f"STATIC_ROOT cannot be read in {settings.module}, so nobody serves {url}: set "
                'STATIC_ROOT = BASE_DIR / "static" and run pyfpm init again with --force'
            )
        return None
    root = posixpath.normpath(posixpath.join(settings.directory, root))
    if is_below(root, settings.directory):
        return Static(url, root)
    left_out.append(
        f"{kind}_ROOT is {root}, outside of the project: if the web server is to send what is there, give "
        f"--static {url}={root}"
    )
    return None


def _place_of_sqlite(settings: _Settings, notes: list[str]) -> str:
    """Return where the file of an SQLite database should be; with a note if it is somewhere else now."""
    engine, name = (settings.compute(settings.database.get(key), "DATABASES") for key in ("ENGINE", "NAME"))
    if not engine or not name or not engine.endswith((".sqlite3", ".spatialite")):
        return ""
    if name.startswith(("file:", ":memory:")):
        return ""
    path = posixpath.normpath(posixpath.join(settings.directory, name))
    if not is_below(path, settings.directory):
        notes.append(AWAY.format(path=path))
        return ""
    where, file = posixpath.split(path)
    if not is_below(settings.path, where):
        return path
    notes.append(BESIDE_CODE.format(where=where, file=file))
    return posixpath.join(settings.directory, "data", file)


def _notes(settings: _Settings) -> Iterator[str]:
    debug, hosts = settings.get("DEBUG"), settings.get("ALLOWED_HOSTS")
    if isinstance(debug, ast.Constant) and debug.value is True:
        yield f"DEBUG is True in {settings.module}: set it to False, or every error shows the code to visitors"
    if isinstance(hosts, ast.List) and not hosts.elts:
        yield f"ALLOWED_HOSTS is empty in {settings.module}: without the site's domain Django answers 400"
