"""The value of `app`: what it may look like, and its parts. Pure."""

from __future__ import annotations

import re
import shlex

from fpm.config.invalid_value import InvalidValue
from fpm.protocol.application import SCRIPT

_MODULE = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_APPLICATION = re.compile(rf"(?P<where>{_MODULE}|[^:]*\.py|[^:]*/[^:]*\.wsgi):(?P<name>{_MODULE})(?P<call>\(\))?")


def parse_application(text: str) -> str:
    """Check the text of `app`.

    Raises:
        InvalidValue: says what was expected.
    """
    if _APPLICATION.fullmatch(text):
        return text
    if text.startswith(SCRIPT):
        return _script(text)
    raise InvalidValue(f"expected module:callable, path/to/file.py:callable or module:factory(), found '{text}'")


def _script(text: str) -> str:
    try:
        words = shlex.split(text.removeprefix(SCRIPT))
    except ValueError as error:  # a quote that is not closed
        raise InvalidValue(f"cannot parse the words after 'script:' ({error}), found '{text}'") from None
    is_module = len(words) > 1 and words[0] == "-m"
    if not is_module and not (words and words[0].startswith("/")):
        raise InvalidValue(f"expected script:/absolute/path or script:-m module, and arguments, found '{text}'")
    return text


def script_file(app: str) -> str | None:
    """Return the file of a checked `app` that is a script; None for `script:-m` and for callables."""
    if not app.startswith(SCRIPT) or _APPLICATION.fullmatch(app):
        return None
    word = shlex.split(app.removeprefix(SCRIPT))[0]
    return word if word.startswith("/") else None


def split_application(app: str) -> tuple[str, str]:
    """Split a checked `app`, no script, into module or path of a .py file, and callable (`()` if it is a factory)."""
    where, _, name = app.rpartition(":")
    return where, name
