"""A configuration without a file: values from options of the command line and from PYFPM_* variables. Pure.

A variable is PYFPM_ and the name of a directive in upper case, with an underscore for each dot: PYFPM_PM_MAX_CHILDREN.
PYFPM_GLOBAL_NAME is a directive of [global]; GLOBAL_ may be left out where no directive of a pool has this name. The
same goes for options: `--set NAME=VALUE` and `--set global.NAME=VALUE`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from fpm.config.directives import DIRECTIVES
from fpm.config.tables.entry import Directive, Scope
from fpm.frozen import dataclass

PREFIX = "PYFPM_"
APP = "PYFPM_APP"
NAME = "PYFPM_NAME"
"""The name of the pool."""
POOL = "app"
"""Its default."""
DEFAULTS = {"pm": "static", "pm.max_children": "4", "clear_env": "no"}
"""Directives of the pool that nobody gives. Containers get their settings by variables, so the application has them."""
OWN_OPTIONS = {
    "app": "--app",
    "listen": "--listen",
    "user": "--user",
    "chdir": "--chdir",
    "pythonpath": "--pythonpath",
    "venv": "--venv",
    "pm.max_children": "--workers",
}
"""Directives of the pool that have an option of their own; for the others there is `--set`."""
_GLOBAL = "global."
_STATEMENT = re.compile(r"\b([Ww])rite ([a-z_.]+) = ")
_INJECTED = ("PYFPM_PORT", "PYFPM_SERVICE_")
"""Variables that Kubernetes sets in every pod beside a Service of the name pyfpm."""
_BY_VARIABLE: dict[str, tuple[Scope, Directive]] = {
    name: (scope, directive)
    for scope in ("global", "pool")  # the latter replaces what both have
    for directive in DIRECTIVES[scope].values()
    if directive.array != "key"
    for name in ([directive.attribute] if scope == "pool" else [f"global_{directive.attribute}", directive.attribute])
}


@dataclass(frozen=True, slots=True)
class Given:
    """One value.

    Attributes:
        scope: of the section that it belongs to.
        name: as written before the `=` in a file, `env[NAME]` for example.
        text: the value; nothing in it is replaced.
        origin: the option or the variable, for messages.
    """

    scope: Scope
    name: str
    text: str
    origin: str


def read_variables(environ: Mapping[str, str]) -> tuple[list[Given], list[str]]:
    """Read the PYFPM_* variables of an environment.

    Returns:
        The values, those of lists split at spaces, and the names of variables that are no directive's.
    """
    given: list[Given] = []
    unknown: list[str] = []
    for variable, text in sorted(environ.items()):
        if not variable.startswith(PREFIX) or variable == NAME or variable.startswith(_INJECTED):
            continue
        found = _BY_VARIABLE.get(variable.removeprefix(PREFIX).lower())
        if found is None or not variable.isupper():
            unknown.append(variable)
            continue
        scope, directive = found
        if directive.array == "list":
            given += [Given(scope, f"{directive.name}[]", word, variable) for word in text.split()]
        else:
            given.append(Given(scope, directive.name, text, variable))
    return given, unknown


def read_settings(settings: Iterable[str]) -> Iterator[Given]:
    """Read the values of `--set`.

    Raises:
        ValueError: one is not NAME=VALUE; its text is the argument.
    """
    for setting in settings:
        name, equals, text = setting.partition("=")
        name = name.strip()
        if not equals or not name:
            raise ValueError(setting)
        scope, name = _scope_of(name)
        yield Given(scope, name, text.strip(), f"--set {name}")


def _scope_of(name: str) -> tuple[Scope, str]:
    lower = name.lower()
    if lower.startswith(_GLOBAL):
        return "global", name[len(_GLOBAL) :]
    plain = lower.partition("[")[0].strip()
    return ("global" if plain in DIRECTIVES["global"] and plain not in DIRECTIVES["pool"] else "pool"), name


def merge(*sources: Iterable[Given]) -> list[Given]:
    """Merge values; a directive in a later source replaces that of those before, also a list as a whole."""
    merged: list[Given] = []
    for source in sources:
        values = list(source)
        replaced = {(value.scope, value.name) for value in values}
        merged = [value for value in merged if (value.scope, value.name) not in replaced] + values
    return merged


def control_variable(environ: Mapping[str, str]) -> str:
    """Return the control socket of a daemon that variables describe, so that commands beside it find it; else ""."""
    return (environ.get("PYFPM_GLOBAL_CONTROL") or environ.get("PYFPM_CONTROL") or "") if environ.get(APP) else ""


def speak_of_options(complaint: str) -> str:
    """Return a complaint of the checks that advises an option instead of a line of a file."""

    def option(found: re.Match[str]) -> str:
        own = OWN_OPTIONS.get(found[2])
        return f"{'G' if found[1] == 'W' else 'g'}ive {f'{own} ' if own else f'--set {found[2]}='}"

    return _STATEMENT.sub(option, complaint)
