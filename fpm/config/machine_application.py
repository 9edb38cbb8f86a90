"""Checks the application and its interpreter: what they are, and that the pool's user can use them. Pure."""

from __future__ import annotations

from fpm.config.application_value import script_file, split_application
from fpm.config.check_jail import root_of, root_of_python
from fpm.config.permissions import EXECUTE, READ, PathComponent, describe, obstacle
from fpm.config.section import Diagnostics, Section
from fpm.config.system import System
from fpm.protocol.application import SCRIPT, names_file

OLDEST = (3, 11)
"""The oldest Python that can run the pool's part of pyfpm."""

_Identity = tuple[int, tuple[int, ...]]


def check_application(pool: Section, system: System, report: Diagnostics) -> None:
    """Check that the pool's user can use its directory, its application and its interpreter."""
    if not pool.is_valid("chroot", "rootfs", "chdir", "prefix"):
        return
    identity: _Identity | None = None  # `user` has an error: there is nobody to check with
    if pool.values["identity"] is not None:
        identity = pool.values["identity"].uid, pool.values["identity"].groups
    elif not system.is_root:
        identity = system.own_identity()
    _check_chdir(pool, system, report, identity)
    _check_env_file(pool, system, report, identity)
    if pool.is_valid("app"):
        _check_app(pool, system, report, identity)
    if pool.is_valid("venv", "python"):
        _check_python(pool, system, report, root_of_python(pool), identity)


def _check_chdir(pool: Section, system: System, report: Diagnostics, identity: _Identity | None) -> None:
    path = pool.values["chdir"]
    if not path or identity is None:
        return
    blocked = obstacle(system.components(path, root_of(pool)), *identity, EXECUTE)
    if blocked:
        report.add_obstacle(
            pool,
            "chdir",
            f"{_who(pool)} cannot enter '{path}': {describe(blocked)}. Change the mode, or choose another directory",
        )


def _check_env_file(pool: Section, system: System, report: Diagnostics, identity: _Identity | None) -> None:
    path = pool.values["env_file"]
    if not path:
        return
    components = system.components(path, "")
    blocked = identity and obstacle(components, *identity, READ)
    if not components[-1].mode:
        report.add_obstacle(
            pool, "env_file", f"there is no file '{components[-1].path}'. Create it, or remove the line"
        )
    elif components[-1].mode & 0o170000 != 0o100000:
        report.add_obstacle(pool, "env_file", f"'{path}' is no regular file. Name a file with NAME=VALUE lines")
    elif blocked:
        advice = "Give it to a group of that user, with mode 0640"
        report.add_obstacle(pool, "env_file", f"{_who(pool)} cannot read '{path}': {describe(blocked)}. {advice}")


def _check_app(pool: Section, system: System, report: Diagnostics, identity: _Identity | None) -> None:
    app = pool.values["app"]
    path = script_file(app)
    if path is None:
        path, _ = split_application(app)
        if not names_file(path) or app.startswith(SCRIPT):
            return
    components = system.components(path, root_of(pool))
    if not components[-1].mode:
        report.add_obstacle(
            pool,
            "app",
            f"there is no file '{components[-1].path}'. Relative paths are relative to chdir, else to prefix",
        )
        return
    blocked = identity and obstacle(components, *identity, READ)
    if blocked:
        report.add_obstacle(
            pool, "app", f"{_who(pool)} cannot read '{path}': {describe(blocked)}. Move the file, or change the mode"
        )


def _check_python(pool: Section, system: System, report: Diagnostics, root: str, identity: _Identity | None) -> None:
    values = pool.values
    name = "venv" if values["venv"] else "python"
    python = values["python"]
    components = system.components(python, root)
    if not components[-1].mode:
        report.add_obstacle(pool, name, _missing(pool, components[-1], root))
        return
    if identity is None:
        return
    if values["chroot.automount"]:
        components = components[-1:]  # the directories above it are not those of the machine
    blocked = obstacle(components, *identity, EXECUTE)
    if blocked is None and not _is_program(components[-1]):
        report.add_obstacle(pool, name, f"'{python}' is not a program. Set the path of the interpreter itself")
    elif blocked is not None:
        report.add_obstacle(pool, name, f"{_who(pool)} cannot execute '{python}': {describe(blocked)}. {_advice(pool)}")
    else:
        _check_libraries(pool, system, report, name, root, identity)


def _check_libraries(
    pool: Section, system: System, report: Diagnostics, name: str, root: str, identity: _Identity
) -> None:
    python = pool.values["python"]
    found = system.interpreter(python, root)
    what = found.other
    if found.version is not None and found.version < OLDEST:
        what = f"is Python {found.version[0]}.{found.version[1]}"
    if what:
        oldest = f"{OLDEST[0]}.{OLDEST[1]}"
        advice = "Set another path, as in python = /usr/bin/python3" if name == "python" else "Create it with one"
        report.add_obstacle(pool, name, f"'{python}' {what}; pools need CPython {oldest} or later. {advice}")
        return
    for library in found.libraries:
        components = system.components(library, root)
        if pool.values["chroot.automount"]:
            components = components[-1:]
        blocked = obstacle(components, *identity, READ | EXECUTE)
        if blocked:
            report.add_obstacle(
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
        kind = "rootfs" if pool.values["rootfs"] else "chroot"
        return (
            f"there is no '{python}' inside the {kind} '{root}' (no {component.path}). Install an interpreter there, "
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
