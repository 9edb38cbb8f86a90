"""Makes the paths of the application and its interpreter absolute; machine_application looks what is there. Pure."""

from __future__ import annotations

from posixpath import join, normpath, splitext

from fpm.config.application_value import script_file, split_application
from fpm.config.check_jail import root_of, root_of_python
from fpm.config.section import Diagnostics, Section
from fpm.config.system import System
from fpm.protocol.application import SCRIPT, names_file


def resolve_application(pool: Section, system: System, report: Diagnostics) -> None:
    """Make `app`, `python` and `pythonpath` absolute, as seen in the chroot if there is one."""
    values = pool.values
    base = values["chdir"] or ("/" if root_of(pool) else values["prefix"])
    entries = (values["pythonpath"] or "").split(":")
    values["pythonpath"] = tuple(normpath(join(base, entry)) for entry in entries if entry)
    if pool.is_valid("app"):
        _resolve_app(pool, base)
        _limit_extensions(pool, report)
    if values["venv"] and values["python"]:
        report.add_error(pool, "venv", "python is also set. Remove one of the two")
    if pool.is_valid("preload.warmup", "preload"):
        _resolve_warmup(pool, report)
    base = "/" if root_of_python(pool) else values["prefix"]
    if values["venv"]:
        values["python"] = join(base, values["venv"], "bin/python")
    else:
        values["python"] = join(base, values["python"] or system.own_python)


def _resolve_warmup(pool: Section, report: Diagnostics) -> None:
    """Make requests of the words: a method stands before each path, or before several."""
    requests, method = [], ""
    words = pool.values["preload.warmup"] or ()
    for word in words:
        if word.startswith("/") and word.isascii() and word.isprintable() and method:
            requests.append(f"{method} {word}")
        elif word.upper() in ("GET", "HEAD"):
            method = word.upper()
        else:
            problem = f"expected GET or HEAD and a path, as in GET /, found '{word}'"
            report.add_error(pool, "preload.warmup", problem)
            return
    if words and not (words[-1].startswith("/") and requests):
        report.add_error(pool, "preload.warmup", f"write a path after {words[-1]}, as in GET /")
    elif requests and pool.values["preload"] == "no":
        problem = "with preload = no each worker imports the application itself. Remove one of the two"
        report.add_error(pool, "preload.warmup", problem)
    pool.values["preload.warmup"] = tuple(requests)


_OF_PHP = frozenset({".php", ".phar", ".php3", ".php4", ".php5", ".php7", ".html", ".htm"})


def _limit_extensions(pool: Section, report: Diagnostics) -> None:
    """Check the extension of the application's file."""
    name, app = "security.limit_extensions", pool.values["app"]
    allowed = pool.values[name]
    if not allowed or not pool.is_valid(name):
        return
    path = script_file(app) or split_application(app)[0]
    if (app.startswith(SCRIPT) and script_file(app) is None) or not (app.startswith(SCRIPT) or names_file(path)):
        report.notice(pool.location_of(name), pool.name, name, f"has no effect: app = {app} names a module, no file")
    elif not path.endswith(allowed):
        what = "lists only extensions of PHP's files, as from a configuration of PHP-FPM"
        if not _OF_PHP.issuperset(allowed):
            what = f"does not allow the file of the application, {path}"
        extension = splitext(path)[1]
        advice = f"Add {extension}, or remove the line" if extension else "Rename the file, or remove the line"
        report.add_error(pool, name, f"{what}. {advice}: app names the only file that is run")


def _resolve_app(pool: Section, base: str) -> None:
    app = pool.values["app"]
    if script_file(app) is not None:
        return
    where, name = split_application(app)
    if names_file(where) and not app.startswith(SCRIPT):
        pool.values["app"] = f"{normpath(join(base, where))}:{name}"
