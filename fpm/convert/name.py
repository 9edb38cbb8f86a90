"""The name of a pool where the file of another server gives none. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from fpm.convert.given import Given
from fpm.convert.option import plain

_FILES = frozenset(
    [
        *("uwsgi", "gunicorn", "config", "conf", "unit", "wsgi", "asgi", "procfile", "app", "application", "vassal"),
        *("pyfpm", "apache2", "gunicorn-conf", "gunicorn-config", "uwsgi-conf", "settings", "production", "prod"),
        *("server", "service", "start", "run", "default", "project", "deploy", "base", "gunicorn-start"),
        *("dockerfile", "containerfile", "compose", "docker-compose", "entrypoint", "docker-entrypoint"),
    ]
)
"""Names that say nothing of the application."""
_GENERAL = _FILES | frozenset(
    [
        *("etc", "conf-d", "apps-enabled", "apps-available", "sites-enabled", "sites-available", "vassals", "emperor"),
        *("vassals-enabled", "system", "systemd", "user", "php", "fpm", "pool-d", "deployment", "docker", "servers"),
        *("services", "src", "code", "current", "release", "releases", "public", "htdocs", "html", "www", "web"),
        *("site", "sites", "srv", "opt", "var", "lib", "usr", "local", "home", "root", "tmp", "main", "manage"),
        *("index", "bin", "core", "backend"),
    ]
)
"""The same, and names of directories and modules."""
_NAMES = frozenset({"project", "project-name", "app-name", "appname", "name", "site", "sitename", "proc-name"})
_DIRECTORY = re.compile(r"[\w./@+~-]+")
_TITLES = frozenset({"procname-prefix", "procname-prefix-spaced", "procname"})
_DIRECTORIES = frozenset({"chdir", "chdir2"})
_APPLICATIONS = frozenset({"module", "wsgi", "wsgi-app"})


def valid_name(name: str) -> str:
    """Return a name as a pool may have it."""
    cleaned = re.sub(r"[^\w.@+~-]", "-", name).lstrip(".@+~-")[:63]
    return cleaned if cleaned and cleaned.lower() != "global" else "app"


def pool_name(path: str, given: Sequence[Given]) -> str:
    """Return the first name that says something: of the file, a variable, a title, a directory, the application.

    Args:
        path: of the file, absolute.
    """
    parts = [part for part in path.split("/") if part]
    stem = parts[-1].partition(".")[0] if parts else ""
    names = [(stem, _FILES), *((name, _GENERAL) for name in (*_candidates(given), *parts[-2:-1]))]
    for name, general in names:
        cleaned = name.strip(" -_:.@")
        if cleaned and plain(cleaned).replace(".", "-") not in general:
            return valid_name(cleaned)
    return "app"


def _candidates(given: Sequence[Given]) -> Iterator[str]:
    texts = [(plain(one.name), str(one.value).strip()) for one in given if isinstance(one.value, str)]
    for name, value in texts:
        if name in _NAMES or name in _TITLES:
            yield value if _is_word(value) else ""
    for name, value in texts:
        if name in ("set", "set-placeholder", "set-ph"):
            variable, _, value = value.partition("=")
            yield value.strip() if plain(variable.strip()) in _NAMES and _is_word(value) else ""
    for name, value in texts:
        if name in _DIRECTORIES and _DIRECTORY.fullmatch(value):  # and no expression that could not be evaluated
            yield value.rstrip("/").rpartition("/")[2]
    for name, value in texts:
        if name in _APPLICATIONS:
            module = value.partition(":")[0]
            yield "" if "/" in module else module.partition(".")[0]


def _is_word(value: str) -> bool:
    return re.fullmatch(r"\s*[\w.@+~-]+\s*", value) is not None
