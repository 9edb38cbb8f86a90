"""Checks what confines a pool's system calls: the text alone, then whether this machine's kernel can do it. Pure."""

from __future__ import annotations

from fpm.config.section import Diagnostics, Section
from fpm.config.system import System


def check_kernel(pool: Section, system: System, report: Diagnostics) -> None:
    """Check `seccomp`: it needs no_new_privs, and a kernel that has it."""
    if _is_used(pool, "seccomp"):
        _check_no_new_privs(pool, report, "seccomp")
        if pool.is_valid("seccomp") and not system.abilities().seccomp:
            _add_missing(pool, system, report, "seccomp", "seccomp")


def _is_used(pool: Section, name: str) -> bool:
    return pool.values[name] not in (None, (), "off") and pool.is_valid(name)


def _check_no_new_privs(pool: Section, report: Diagnostics, name: str) -> None:
    if not pool.values["no_new_privs"] and pool.is_valid("no_new_privs"):
        sentence = (
            f"needs no_new_privs = yes: a setuid program must not run with what it does not expect to be refused. "
            f"Remove no_new_privs = no, or set {name} = off"
        )
        report.add_error(pool, name, sentence)


def _add_missing(pool: Section, system: System, report: Diagnostics, name: str, ability: str) -> None:
    report.add_obstacle(pool, name, f"{system.abilities().missing[ability]}. Remove the line to run without it")
