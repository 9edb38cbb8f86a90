"""Replaces variables in values: `$pool`, environment variables, and the copies that `env[X] = $NAME` makes. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from fpm.config.invalid_value import InvalidValue

_VARIABLE = re.compile(r"\$\{([^}]*)\}|\$pool")
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def expand(
    text: str, *, pool: str | None, environ: Mapping[str, str], missing: Callable[[str], None] | None = None
) -> str:
    """Replace `$pool`, `${NAME}` and `${NAME:-default}` in one pass.

    `pool` is None in `[global]`. The default applies when the variable is unset or empty, as in a shell and in PHP 8.3.

    Args:
        missing: told the name of a variable that is not set, which then counts as empty.

    Raises:
        InvalidValue: a variable is not set, or `$pool` stands outside a pool.
    """
    if "$" not in text:
        return text

    def replace(match: re.Match[str]) -> str:
        if match[1] is None:
            if pool is None:
                raise InvalidValue("Can't use '$pool' when the pool is not defined. It can only be used below [POOL]")
            return pool
        name, has_default, default = match[1].partition(":-")
        if not _VARIABLE_NAME.fullmatch(name):
            raise InvalidValue(f"expected ${{NAME}} or ${{NAME:-default}}, found '{match[0]}'")
        value = environ.get(name, "")
        if has_default:
            return value or default
        if name not in environ and missing is not None:
            missing(name)
        elif name not in environ:
            raise InvalidValue(
                f"the environment variable {name} is not set. Set it where pyfpm is started, or write "
                f"${{{name}:-default}}"
            )
        return value

    return _VARIABLE.sub(replace, text)


def copied_variable(text: str) -> str | None:
    """Return NAME if the value of an `env[...]` is `$NAME`, which copies it from the daemon's environment."""
    if text.startswith("$") and _VARIABLE_NAME.fullmatch(text, 1):
        return text[1:]
    return None
