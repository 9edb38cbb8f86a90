"""The table of directives: look-up by name, suggestions, and PHP-FPM's directives that do not apply to Python. Pure."""

from __future__ import annotations

from fpm.config.tables import application, bounds, environment, global_directives, jail, kernel, logs, manager, socket
from fpm.config.tables.entry import Directive, DirectiveGroup, Scope

GROUPS: tuple[DirectiveGroup, ...] = (
    *global_directives.GROUPS,
    *application.GROUPS,
    *socket.GROUPS,
    *manager.GROUPS,
    *logs.GROUPS,
    *environment.GROUPS,
    *jail.GROUPS,
    *kernel.GROUPS,
    *bounds.GROUPS,
)


def _directives(scope: Scope) -> dict[str, Directive]:
    groups = (group for group in GROUPS if group.scope == scope)
    return {directive.name: directive for group in groups for directive in group.directives}


GLOBAL_DIRECTIVES = _directives("global")
POOL_DIRECTIVES = _directives("pool")
DIRECTIVES: dict[Scope, dict[str, Directive]] = {"global": GLOBAL_DIRECTIVES, "pool": POOL_DIRECTIVES}

INCLUDE = "include"
"""Read by the loader, in any section."""

_PHP_INI = (
    "php.ini settings have no meaning for Python. Pass settings to the application with env[NAME] = value, "
    "or keep them in its own settings module"
)

NOT_FOR_PYTHON: dict[str, str] = {
    "events.mechanism": "is not supported, pyfpm always uses epoll. Remove the line",
    "listen.setfib": "has no meaning on Linux (it selects a routing table on BSD systems). Remove the line; for a "
    "separate network see network",
    "php_value": _PHP_INI,
    "php_flag": _PHP_INI,
    "php_admin_value": _PHP_INI,
    "php_admin_flag": _PHP_INI,
    "php_admin_value_file": _PHP_INI,
    "apparmor_hat": "is not supported. Remove the line; apparmor_profile sets a profile for the pool",
}


SPELLINGS = {"rlimit_nproc": "rlimit_processes"}
"""Other names of directives: RLIMIT_NPROC is what setrlimit(2) calls it, as the limits beside it are called."""


def find(scope: Scope, name: str) -> Directive | None:
    """Find the directive with this name, in upper or lower case, for a section of this scope."""
    lower = name.lower()
    return DIRECTIVES[scope].get(SPELLINGS.get(lower, lower))


def unknown(scope: Scope, name: str) -> str:
    """Return the sentence that follows `NAME: ` for a name that is no directive of this scope."""
    lower = name.lower()
    if lower in NOT_FOR_PYTHON:
        return NOT_FOR_PYTHON[lower]
    if scope == "global" and lower in POOL_DIRECTIVES:
        return "is a pool directive. Move it into the section of a pool, such as [www]"
    if scope == "pool" and lower in GLOBAL_DIRECTIVES:
        return "is a global directive, not a pool directive. Move it into [global]"
    from difflib import get_close_matches  # for mistakes only

    near = get_close_matches(lower, [*DIRECTIVES[scope], INCLUDE], n=1, cutoff=0.6)
    if near:
        return f"unknown directive. Did you mean '{near[0]}'?"
    return "unknown directive. pyfpm.conf(5) lists them all"
