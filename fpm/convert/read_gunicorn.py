"""Reads Gunicorn's configuration file, or its command line as in a unit file, a script or a Procfile. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

from fpm.convert.evaluate import read_settings
from fpm.convert.given import Given
from fpm.convert.gunicorn_options import GUNICORN
from fpm.convert.option import plain
from fpm.convert.read_script import SHELL, Script, whole_lines

_FLAGS = frozenset(
    [
        *("D", "R", "capture-output", "check-config", "daemon", "disable-redirect-access-to-syslog"),
        *("enable-stdio-inheritance", "initgroups", "log-syslog", "no-sendfile", "preload", "preload-app"),
        *("print-config", "reload", "reuse-port", "spew", "permit-obsolete-folding", "strip-header-spaces"),
        *("permit-unconventional-http-method", "permit-unconventional-http-version", "casefold-http-method"),
        *("no-control-socket", "do-handshake-on-connect", "suppress-ragged-eofs", "enable-backlog-metric"),
    ]
)
"""Options without a value."""
_COMMAND = re.compile(r"(?:^|[\s/=:])gunicorn(?:\.app\.wsgiapp)?\s+\S")
_VENV = re.compile(r"(/(?!usr/|bin/)\S+)/bin/gunicorn\s")
"""The command of a virtual environment, and that."""
_UNIT = {
    "User": "user",
    "Group": "group",
    "WorkingDirectory": "chdir",
    "UMask": "umask",
    "Environment": "raw_env",
}
"""What systemd does for a service, by the setting that does it here."""
_SUPERVISOR = {"user": "user", "directory": "chdir", "umask": "umask", "environment": "raw_env"}
"""The same of supervisord."""
NO_SETTING = "a variable of the file, no setting of Gunicorn"


def has_command(text: str) -> bool:
    """Tell whether a text calls gunicorn."""
    return any(_COMMAND.search(line) for _, line in whole_lines(text))


def read_gunicorn(text: str, path: str, cores: int) -> list[Given]:
    """Return the settings of a configuration file.

    Args:
        path: absolute, of the file.

    Raises:
        SyntaxError: it is not Python.
    """
    known = {plain(name) for option in GUNICORN.options for name in (option.name, *option.also)}
    found = read_settings(text, path, cores, lambda name: plain(name) in known)
    return [_setting(one, is_known=plain(one.name) in known) for one in found]


def _setting(given: Given, *, is_known: bool) -> Given:
    if given.name == "command" and (venv := _VENV.match(f"{given.value} ")):  # as in many tutorials
        return Given(given.line, "command", venv[1])
    if given.reason or (is_known and given.name != "command"):
        return given
    return Given(given.line, given.name, given.value, NO_SETTING)


def read_command(text: str) -> list[Given]:
    """Return the options of the first command line with gunicorn, and what is set around it.

    That is what systemd or supervisord does for the service, or what the script has done before.
    """
    found: list[Given] = []
    around = _SUPERVISOR if "[program:" in text else _UNIT if "[Service]" in text else {}
    setting = "command" if around is _SUPERVISOR else "ExecStart" if around else ""
    script = Script()
    is_read = False
    for number, line in whole_lines(text):
        name, _, value = line.partition("=")
        if name.strip() in around:
            found += _around(number, name.strip(), value.strip(), around)
        elif around is _UNIT and name.strip() in ("EnvironmentFile", "LimitNOFILE"):
            found.append(Given(number, name.strip(), value.strip().removeprefix("-")))
        elif is_read or (setting and name.strip() != setting):  # such as Description=gunicorn daemon
            continue
        elif match := _COMMAND.search(line):
            found += _command(number, line, match.end() - 1, script)
            is_read = True
        elif not setting:
            found += script.read(number, line)
    return found


def _command(number: int, line: str, begin: int, script: Script) -> list[Given]:
    """Return the options of a line, and the virtual environment of its gunicorn."""
    venv = _VENV.search(script.expand(line)[0])
    options, note = script.expand(line[begin:])
    return [*([Given(number, "command", venv[1])] if venv else []), *_options(number, options, note)]


def _around(line: int, name: str, value: str, around: Mapping[str, str]) -> list[Given]:
    where = "of the unit" if around is _UNIT else "of supervisord"
    if around is _SUPERVISOR:
        value = value.replace("%%", "%")
    if around[name] != "raw_env":
        return [Given(line, around[name], value, note=f"{name}= {where}")]
    words = shlex.shlex(value, posix=True, punctuation_chars=False)
    words.whitespace_split, words.commenters = True, ""
    words.whitespace += "," if around is _SUPERVISOR else ""
    try:
        return [Given(line, "raw_env", word, note=f"{name}= {where}") for word in words]
    except ValueError as error:
        return [Given(line, name, value, f"its quotes cannot be read ({error})")]


def _options(line: int, command: str, note: str) -> list[Given]:
    try:
        words = shlex.split(command, comments=True)
    except ValueError as error:
        return [Given(line, "gunicorn", command, f"its quotes cannot be read ({error})")]
    found: list[Given] = []
    while words:
        word = words.pop(0)
        if word in ("&", "&&", "|", ";", ">", ">>"):
            break
        if not word.startswith("-"):
            found.append(Given(line, "wsgi_app", word))
            continue
        name, equals, value = word.lstrip("-").partition("=")
        if not word.startswith("--") and len(name) > 1:  # -w4
            name, equals, value = name[0], "=", name[1:] + equals + value
        if not equals and name not in _FLAGS and words:
            value = words.pop(0)
        found.append(Given(line, name, value if equals or value else "true", SHELL if "$" in value else "", note))
    return found
