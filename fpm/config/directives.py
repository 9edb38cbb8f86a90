"""The table of directives: look-up by name, and suggestions for names that are none. Pure."""

from __future__ import annotations

from fpm.config.tables import application, bounds, environment, global_directives, jail, kernel, logs, manager, socket
from fpm.config.tables.entry import Directive, DirectiveGroup, Scope
from fpm.convert.php_fpm_options import NOT_FOR_PYTHON

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

SPELLINGS = {"rlimit_nproc": "rlimit_processes"}
"""Other names of directives: RLIMIT_NPROC is what setrlimit(2) calls it, as the limits beside it are called."""


def find(scope: Scope, name: str) -> Directive | None:
    """Find the directive with this name, in upper or lower case, for a section of this scope."""
    lower = name.lower()
    return DIRECTIVES[scope].get(SPELLINGS.get(lower, lower))


def unknown(scope: Scope, name: str, text: str = "", *, in_code: bool = False) -> str:
    """Return the sentence that follows `NAME: ` for a name that is no directive of this scope.

    Args:
        text: the value that it was to have.
        in_code: it is the name of an argument, as in Pool(...).
    """
    lower = name.lower()
    if lower in NOT_FOR_PYTHON:
        return NOT_FOR_PYTHON[lower]
    if scope == "global" and lower in POOL_DIRECTIVES:
        place = "Give it to Pool(...)" if in_code else "Move it into the section of a pool, such as [www]"
        return f"is a pool directive. {place}"
    if scope == "pool" and lower in GLOBAL_DIRECTIVES:
        place = "Give it to Settings(...)" if in_code else "Move it into [global]"
        return f"is a global directive, not a pool directive. {place}"
    from difflib import get_close_matches  # for mistakes only, as is the next

    from fpm.convert.words import advise

    advice = advise(lower, text, in_global=scope == "global", in_code=in_code)
    if advice:
        return advice
    if "[" in lower and not lower.endswith("]"):
        return f"the ']' is missing. Write {name.partition('[')[0]}[NAME] = value"
    near = get_close_matches(lower, [*DIRECTIVES[scope], INCLUDE], n=1, cutoff=0.6)
    if near:
        return f"unknown directive. Did you mean '{near[0]}'?"
    return "unknown directive. pyfpm.conf(5) lists them all"
