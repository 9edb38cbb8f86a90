"""What to say of a whole file of another server that stands where one of ours should. Pure."""

from __future__ import annotations

import re
import shlex
from posixpath import basename

from fpm.convert.convert import guess
from fpm.convert.words import PEERS

_OURS = re.compile(r"^[ \t]*(?:\[global\]|(?:app|pm|pm\.\w+|listen\.\w+)\s*=)", re.MULTILINE)
_HEAD = re.compile(r"^[ \t]*\[\w[\w.@+~-]*\]\s*$", re.MULTILINE)
_SERVICE = re.compile(r"^[ \t]*\[Service\]\s*$", re.MULTILINE)


def hint(path: str, text: str) -> str | None:
    """Return the sentence that this file has to be converted; None if it is ours, with a foreign word or without."""
    kind = guess(basename(path), text)
    if not kind or kind == "php-fpm":
        return None
    if kind == "gunicorn":  # its words alone also stand in a section of ours
        if not path.endswith(".py") and (_OURS.search(text) or (_HEAD.search(text) and not _SERVICE.search(text))):
            return None
    elif _OURS.search(text):
        return None
    command = f"pyfpm convert {shlex.quote(path)}"
    return f"{path} looks like a configuration of {PEERS[kind].title}. `{command}` prints a pool file of it."
