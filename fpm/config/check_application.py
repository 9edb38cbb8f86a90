"""Checks the application and its interpreter: what they are, and that the pool's user can use them. Pure."""

from __future__ import annotations

from posixpath import join, normpath

from fpm.config.permissions import EXECUTE, READ, PathComponent, describe, obstacle
from fpm.config.section import Diagnostics, Section
from fpm.config.system import System
from fpm.config.values import SCRIPT, script_file, split_application

OLDEST = (3, 11)
"""The oldest Python that can run the pool's part of pyfpm."""


def resolve_application(pool: Section, system: System, report: Diagnostics) -> None:
    """Make `app`, `python` and `pythonpath` absolute, and check that the pool's user can use them."""
    values = pool.values
    root = values["chroot"] or ""
    base = values["chdir"] or ("/" if root else values["prefix"])
    entries = (values["pythonpath"] or "").split(":")
    values["pythonpath"] = tuple(normpath(join(base, entry)) for entry in entries if entry)
    if not pool.is_valid("chroot", "chdir", "prefix"):
        return
    if values["identity"] is not None:
        identity: tuple[int, tuple[int, ...]] | None = (values["identity"].uid, values["identity"].groups)
    else:
        # None if `user` has an error: there is no identity to check with.
        identity = None if system.is_root else system.own_identity()
    _check_chdir(pool, system, report, identity)
    _resolve_app(pool, system, report, base, identity)
    _resolve_python(pool, system, report, root, identity)


def _check_chdir(
    pool: Section, system: System, report: Diagnostics, identity: tuple[int, tuple[int, ...]] | None
) -> None:
    path = pool.values["chdir"]
    if not path or identity is None:
        return
    blocked = obstacle(system.components(path, pool.values["chroot"] or ""), *identity, EXECUTE)
    if blocked:
        report.add_error(
            pool,
            "chdir",
            f"{_who(pool)} cannot enter '{path}': {describe(blocked)}. Change the mode, or choose another directory",
        )


def _resolve_app(
    pool: Section, system: System, report: Diagnostics, base: str, identity: tuple[int, tuple[int, ...]] | None
) -> None:
    if not pool.is_valid("app"):
        return
    app = pool.values["app"]
    path = script_file(app)
    if path is None:
        where, name = split_application(app)
        if not where.endswith(".py") or app.startswith(SCRIPT):
            return
        path = normpath(join(base, where))
        pool.values["app"] = f"{path}:{name}"
    components = system.components(path, pool.values["chroot"] or "")
    if not components[-1].mode:
        report.add_error(
            pool,
            "app",
            f"there is no file '{components[-1].path}'. Relative paths are relative to chdir, else to prefix",
        )
        return
    blocked = identity and obstacle(components, *identity, READ)
    if blocked:
        report.add_error(
            pool, "app", f"{_who(pool)} cannot read '{path}': {describe(blocked)}. Move the file, or change the mode"
        )


def _resolve_python(
    pool: Section, system: System, report: Diagnostics, root: str, identity: tuple[int, tuple[int, ...]] | None
) -> None:
    values = pool.values
    name = "venv" if values["venv"] else "python"
    if values["venv"] and values["python"]:
        report.add_error(pool, "venv", "python is also set. Remove one of the two")
        return
    base = "/" if root else values["prefix"]
    if values["venv"]:
        values["python"] = join(base, values["venv"], "bin/python")
    else:
        values["python"] = join(base, values["python"] or system.own_python)
    python = values["python"]
    components = system.components(python, root)
    if not components[-1].mode:
        report.add_error(pool, name, _missing(pool, components[-1], root))
        return
    if identity is None:
        return
    blocked = obstacle(components, *identity, EXECUTE)
    if blocked is None and not _is_program(components[-1]):
        report.add_error(pool, name, f"'{python}' is not a program. Set the path of the interpreter itself")
    elif blocked is not None:
        report.add_error(pool, name, f"{_who(pool)} cannot execute '{python}': {describe(blocked)}. {_advice(pool)}")
    else:
        _check_libraries(pool, system, report, name, root, identity)


def _check_libraries(
    pool: Section, system: System, report: Diagnostics, name: str, root: str, identity: tuple[int, tuple[int, ...]]
) -> None:
    python = pool.values["python"]
    version, libraries = system.interpreter(python, root)
    if version is not None and version < OLDEST:
        report.add_error(
            pool,
            name,
            f"'{python}' is Python {version[0]}.{version[1]}; pools need Python {OLDEST[0]}.{OLDEST[1]} or later",
        )
        return
    for library in libraries:
        blocked = obstacle(system.components(library, root), *identity, READ | EXECUTE)
        if blocked:
            report.add_error(
                pool,
                name,
                f"{_who(pool)} cannot read the library of '{python}' in {library}: {describe(blocked)}. "
                f"{_advice(pool)}",
            )
            return


def _is_program(component: PathComponent) -> bool:
    return component.mode & 0o170000 == 0o100000 and bool(component.mode & 0o111)


def _missing(pool: Section, component: PathComponent, root: str) -> str:
    python = pool.values["python"]
    if root:
        return (
            f"there is no '{python}' inside the chroot '{root}' (no {component.path}). Install an interpreter there, "
            "and set its path as seen from inside: python = /usr/bin/python3"
        )
    if pool.values["venv"]:
        return f"there is no '{component.path}'. Create the environment: /usr/bin/python3 -m venv {pool.values['venv']}"
    return f"there is no '{component.path}'. Set an interpreter, as in python = /usr/bin/python3"


def _who(pool: Section) -> str:
    identity = pool.values["identity"]
    return f"user {identity.user}" if identity else "this user"


def _advice(pool: Section) -> str:
    """Suggest a cure for an interpreter that the pool's user cannot use; most often it lies in a home directory."""
    if pool.values["venv"] or pool.is_set("python"):
        return "Make it readable for this user, or use a virtual environment elsewhere, created with /usr/bin/python3"
    return (
        "By default a pool uses the interpreter that runs pyfpm. Set python = /usr/bin/python3, or set venv to an "
        "environment created with /usr/bin/python3 -m venv"
    )
