"""Checks what confines a pool's system calls: the text alone, then whether this machine's kernel can do it. Pure."""

from __future__ import annotations

import re

from fpm.config.check_jail import root_of
from fpm.config.section import Diagnostics, Section
from fpm.config.system import System
from fpm.kernel.landlock import parse_rules

_ABILITY = {
    "seccomp": "seccomp",
    "landlock": "landlock",
    "apparmor_profile": "apparmor",
    "selinux_context": "selinux",
}
"""What each directive needs of the kernel (fpm.config.system.Abilities)."""
_NEEDS_NO_NEW_PRIVS = ("seccomp", "landlock")
_CONTEXT = re.compile(r"[^:\s]+:[^:\s]+:[^:\s]+(:\S+)?")


def check_kernel(pool: Section, system: System, report: Diagnostics) -> None:
    """Check `seccomp`, `landlock`, `apparmor_profile` and `selinux_context`."""
    _check_landlock(pool, report)
    _check_context(pool, report)
    for name, ability in _ABILITY.items():
        if _is_used(pool, name):
            _check_no_new_privs(pool, report, name)
        if _is_used(pool, name) and not getattr(system.abilities(), ability):
            sentence = f"{system.abilities().missing[ability]}. Remove the line to run without it"
            report.add_obstacle(pool, name, sentence)
    if _is_used(pool, "landlock"):
        _check_paths(pool, system, report)
        _check_root(pool, report)


def _is_used(pool: Section, name: str) -> bool:
    return pool.values[name] not in (None, (), "off") and pool.is_valid(name)


def _check_no_new_privs(pool: Section, report: Diagnostics, name: str) -> None:
    if name in _NEEDS_NO_NEW_PRIVS and not pool.values["no_new_privs"] and pool.is_valid("no_new_privs"):
        sentence = (
            "needs no_new_privs = yes: a setuid program must not run where it is refused what it relies on. Remove "
            f"no_new_privs = no, or the line with {name}"
        )
        report.add_error(pool, name, sentence)


def _check_landlock(pool: Section, report: Diagnostics) -> None:
    words = pool.values["landlock"]
    if not _is_used(pool, "landlock"):
        return
    try:
        parse_rules(words)
    except ValueError as error:
        report.add_error(pool, "landlock", str(error))


def _check_context(pool: Section, report: Diagnostics) -> None:
    context = pool.values["selinux_context"]
    if context and not _CONTEXT.fullmatch(context):
        report.add_error(pool, "selinux_context", f"expected user:role:type or user:role:type:level, found '{context}'")


def _check_paths(pool: Section, system: System, report: Diagnostics) -> None:
    """Check that what is allowed is there; where the pool has mounts of its own, only the start can tell."""
    if "mount" in pool.values["namespaces"] or not pool.is_valid("chroot"):
        return
    for rule in parse_rules(pool.values["landlock"]):
        last = system.components(rule.path, pool.values["chroot"] or "")[-1]
        if not last.mode:
            sentence = f"there is no '{rule.path}' ({last.path} is missing). Create it, or correct the path"
            report.add_obstacle(pool, "landlock", sentence)
            return


def _check_root(pool: Section, report: Diagnostics) -> None:
    """Say what becomes of an application at the root of a jail, which is not implied."""
    directory = pool.values["chdir"] or ("/" if root_of(pool) else "")
    if directory == "/" and all(rule.path != "/" for rule in parse_rules(pool.values["landlock"])):
        sentence = "does not allow '/' as a whole, so no module is found there. Move the application, or add read /"
        report.notice(pool.location_of("landlock"), pool.name, "landlock", sentence)
