"""The words of other servers in our own configuration: what to write in their place. Pure."""

from __future__ import annotations

from fpm.convert.gunicorn_options import GUNICORN
from fpm.convert.mod_wsgi_options import MOD_WSGI
from fpm.convert.option import NOT_CARRIED, Option, Peer
from fpm.convert.php_fpm_options import PHP_FPM
from fpm.convert.unit_options import UNIT
from fpm.convert.uwsgi_options import UWSGI
from fpm.convert.values import Unfit, convert

PEERS: dict[str, Peer] = {peer.key: peer for peer in (UWSGI, GUNICORN, PHP_FPM, UNIT, MOD_WSGI)}
_SHORT = 2
"""Names of fewer letters are switches of a command line, not words."""


def advise(name: str, text: str, *, in_global: bool, in_code: bool) -> str | None:
    """Return the sentence that follows `NAME: ` for an option of another server; None if no server has it.

    Args:
        text: the value given; "" if none.
        in_global: it stands in [global].
        in_code: it is an argument of a call, not a line of a file.
    """
    if len(name) < _SHORT:
        return None
    by_advice: dict[str, list[tuple[str, str]]] = {}
    for peer in PEERS.values():
        option = peer.find(name)
        if option is not None and peer is not PHP_FPM:
            advice = _advice(peer, option, text, in_global, in_code)
            by_advice.setdefault(advice, []).append((peer.title, _note(option)))
    if not by_advice:
        return None
    parts = []
    for advice, several in by_advice.items():
        notes = {note for _, note in several}
        note = notes.pop() if len(notes) == 1 else ""  # what differs is said of one server only
        parts.append(f"is an option of {_join([title for title, _ in several])}. {advice}{note}")
    return "; it ".join(part.rstrip(".") for part in parts)


def _join(titles: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(titles[:-1]), titles[-1])))


def _advice(peer: Peer, option: Option, text: str, in_global: bool, in_code: bool) -> str:
    line = "argument" if in_code else "line"
    if option.how in NOT_CARRIED:
        return f"Remove the {line}: {option.note}"
    lines = [_spell(name, value, in_code) for name, value in _directives(peer, option, text)]
    where = ""
    if option.is_global and not in_global:
        where = " in Settings(...)" if in_code else " in [global]"
    elif in_global and not option.is_global:
        where = " in Pool(...)" if in_code else " in the section of a pool"
    return f"Write {' and '.join(lines)}{where}"


def _note(option: Option) -> str:
    """Return what follows the advice, in parentheses."""
    is_said = option.how in NOT_CARRIED or option.how in ("threads", "address") or option.ours == "listen.owner"
    return f" ({option.note})" if option.note and not is_said else ""


def _spell(name: str, value: str, in_code: bool) -> str:
    if not in_code:
        return f"{name} = {value}"
    return f"{name.replace('.', '_')}={value if value.isdigit() else repr(value)}"


_EXAMPLES = {
    "seconds": "30s",
    "minutes": "5m",
    "megabytes": "256M",
    "bytes": "256M",
    "number": "1000",
    "octal": "0660",
    "umask": "027",
    "address": "/run/pyfpm/NAME.sock",
    "path_list": "DIR:DIR",
    "venv": "/srv/NAME/venv",
    "yes": "yes",
    "no": "no",
}


def _directives(peer: Peer, option: Option, text: str) -> list[tuple[str, str]]:
    """Return the directives with their values."""
    default = peer.callable_
    if option.how == "module":
        where, _, name = text.partition(":")
        return [("app", f"{where or 'module'}:{name or default}")]
    if option.how == "file":
        return [("app", f"{text or 'path/to/file.py'}:{default}")]
    if option.how == "callable":
        return [("app", f"module:{text or default}")]
    if option.how == "factory":
        return [("app", "module:factory()")]
    if option.how == "mount":
        return [("script_name", "/prefix"), ("app", f"module:{default}")]
    if option.how == "variable":
        name, _, value = text.partition("=")
        return [(f"env[{name if name.isidentifier() else 'NAME'}]", value or "value")]
    if option.ours == "listen.owner":
        owner, _, group = (text if text.strip(":") else "OWNER:GROUP").partition(":")
        return [*([("listen.owner", owner)] if owner else []), *([("listen.group", group)] if group else [])]
    value = _converted(option, text)
    if option.how == "workers":
        return [("pm", "static"), ("pm.max_children", value)]
    if option.how == "threads":
        return [("pm.max_children", "PROCESSES * THREADS")]
    return [(option.ours, value)]


def _converted(option: Option, text: str) -> str:
    try:
        return convert(option.how, text)
    except Unfit:
        return _EXAMPLES.get(option.how, "4" if option.how in ("workers", "least", "first") else "VALUE")
