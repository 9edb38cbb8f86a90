"""Makes the paths of the application and its interpreter absolute; machine_application looks what is there. Pure."""

from __future__ import annotations

from posixpath import join, normpath

from fpm.config.section import Diagnostics, Section
from fpm.config.system import System
from fpm.config.values import SCRIPT, script_file, split_application


def resolve_application(pool: Section, system: System, report: Diagnostics) -> None:
    """Make `app`, `python` and `pythonpath` absolute, as seen in the chroot if there is one."""
    values = pool.values
    root = values["chroot"] or ""
    base = values["chdir"] or ("/" if root else values["prefix"])
    entries = (values["pythonpath"] or "").split(":")
    values["pythonpath"] = tuple(normpath(join(base, entry)) for entry in entries if entry)
    if pool.is_valid("app"):
        _resolve_app(pool, base)
    if values["venv"] and values["python"]:
        report.add_error(pool, "venv", "python is also set. Remove one of the two")
    if pool.is_valid("preload.warmup", "preload"):
        _resolve_warmup(pool, report)
    base = "/" if root else values["prefix"]
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


def _resolve_app(pool: Section, base: str) -> None:
    app = pool.values["app"]
    if script_file(app) is not None:
        return
    where, name = split_application(app)
    if where.endswith(".py") and not app.startswith(SCRIPT):
        pool.values["app"] = f"{normpath(join(base, where))}:{name}"
