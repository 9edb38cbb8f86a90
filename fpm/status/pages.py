"""PHP-FPM's status page in its five formats, to the byte.

Keys come from fpm.scoreboard.numbers.PoolNumbers and fpm.status.model.ProcessStatus; a format is a way of writing keys
and values. All texts are escaped here, in PHP-FPM only some are. What pyfpm adds comes after all of theirs, in the text
form after the pool's own keys; `?openmetrics` stays as it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from functools import lru_cache
from typing import Any

from fpm.frozen import dataclass
from fpm.log.escape import escape
from fpm.log.times import format_access_time
from fpm.scoreboard.numbers import OWN_ROWS, PHP_ROWS, ROWS, show_number
from fpm.status.model import PoolStatus, ProcessStatus

STATUS_HEADERS = (
    ("Expires", "Thu, 01 Jan 1970 00:00:00 GMT"),
    ("Cache-Control", "no-cache, no-store, must-revalidate, max-age=0"),
)
"""On the status and the ping page alike, before Content-type."""
PING_CONTENT_TYPE = "text/plain;charset=UTF-8"

POOL_KEYS = ("pool", "process manager", *(row.key for row in PHP_ROWS.values()))
OWN_KEYS = tuple(row.key for row in OWN_ROWS.values())
BACKGROUND_KEYS = ("background task", "background since")
"""Of processes that work after their response; where there are none, the page is PHP-FPM's own."""
PROCESS_KEYS = tuple(
    key for key in (one.name.replace("_", " ") for one in fields(ProcessStatus)) if key not in BACKGROUND_KEYS
)
_DATES = frozenset(row.key for row in ROWS.values() if row.unit == "time")
_TYPE_FIRST = "listen queue len"
"""Its TYPE line comes before its HELP line, unlike all others."""

_HTML_HEAD = (
    '<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN" "http://www.w3.org/TR/xhtml1/DTD/xhtml1-strict.dtd">\n'
    '<html xmlns="http://www.w3.org/1999/xhtml" xml:lang="en" lang="en">\n'
    "<head><title>PHP-FPM Status Page</title></head>\n<body>\n"
)
_MARKUP = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#039;"})

Pair = tuple[str, Any]
"""Key and value: a text, a number, or (for JSON) a list."""


@dataclass(frozen=True, slots=True)
class Page:
    """A response's body and its type."""

    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class _Values:
    """What a page shows, whatever its format."""

    status: PoolStatus
    pool: Sequence[Pair]
    processes: Sequence[Sequence[Pair]] | None
    """None: the short page."""
    own: Sequence[Pair]


def render_status(status: PoolStatus, query_string: str, *, own: bool = True, more: Iterable[Pair] = ()) -> Page:
    """The page that a query string asks for: a format counts by its key, whatever its value; `full` lists processes.

    Args:
        own: with the keys that PHP-FPM does not have.
        more: what comes after them.
    """
    values = _Values(
        status,
        [("pool", status.pool), ("process manager", status.process_manager), *_pairs_of(status, PHP_ROWS)],
        [_process_pairs(one) for one in status.processes] if "full" in _keys(query_string) else None,
        [*_pairs_of(status, OWN_ROWS), *more] if own else (),
    )
    content_type, render = _FORMATS[form_of(query_string)]
    return Page(content_type, render(values).encode())


def form_of(query_string: str) -> str:
    """Return the format that a query string asks for; of several, the first one in PHP-FPM's order."""
    keys = _keys(query_string)
    return next((name for name in ("html", "xml", "json", "openmetrics") if name in keys), "text")


def _keys(query_string: str) -> set[str]:
    return {part.partition("=")[0] for part in query_string.split("&")}


def _pairs_of(status: PoolStatus, names: Iterable[str]) -> Iterator[Pair]:
    for name in names:
        value = show_number(status.numbers, name)
        if value is not None:
            yield ROWS[name].key, value


def _process_pairs(process: ProcessStatus) -> list[Pair]:
    keys = PROCESS_KEYS + BACKGROUND_KEYS if process.background_task else PROCESS_KEYS
    return [(key, getattr(process, key.replace(" ", "_"))) for key in keys]


def _text(values: _Values) -> str:
    parts = [_text_block(values.pool), _text_block(values.own)]
    for process in values.processes or ():
        parts += ["\n************************\n", _text_block(process)]
    return "".join(parts)


def _text_block(pairs: Sequence[Pair]) -> str:
    lines = []
    for key, value in pairs:
        name = "request URI" if key == "request uri" else key
        lines.append(f"{name + ':':<22}{escape(_words(key, value))}\n")
    return "".join(lines)


def _json(values: _Values) -> str:
    pool = _json_members(values.pool)
    own = values.own
    if values.processes is None:  # Checkmk's php_fpm_pools takes everything here for a number but PHP-FPM's own texts
        own = [(key, _as_number(values.status, key) if isinstance(value, str) else value) for key, value in own]
    more = "," + _json_members(own) if own else ""
    if values.processes is None:
        return f"{{{pool}{more}}}"
    members = ",".join([f"{{{_json_members(process)}}}" for process in values.processes])
    return f'{{{pool}, "processes":[{members}]{more}}}'


def _as_number(status: PoolStatus, key: str) -> int:
    """The number that a text of ours stands for: of a cause of death the wait status (wait(2)); 0: none."""
    return int(getattr(status.numbers, next(name for name, row in OWN_ROWS.items() if row.key == key)))


def _json_members(pairs: Sequence[Pair]) -> str:
    return ",".join([f'"{key}":{_json_value(key, value)}' for key, value in pairs])


def _json_value(key: str, value: str | float | list[Any] | dict[str, Any]) -> str:
    if isinstance(value, str | list | dict):
        text = json.dumps(value)
        return text.replace("/", "\\/") if key == "request uri" else text
    return _number(value)


def _xml(values: _Values) -> str:
    parts = ['<?xml version="1.0" ?>\n<status>\n', *(f"{one}\n" for one in _xml_elements(values.pool))]
    if values.processes is not None:
        parts.append("<processes>\n")
        parts += [f"<process>{''.join(_xml_elements(one))}</process>\n" for one in values.processes]
        parts.append("</processes>\n")
    return "".join([*parts, *(f"{one}\n" for one in _xml_elements(values.own)), "</status>"])


def _xml_elements(pairs: Sequence[Pair]) -> list[str]:
    tags = [key.replace(" ", "-") for key, _ in pairs]
    texts = [value if isinstance(value, str) else _number(value) for _, value in pairs]
    return [f"<{tag}>{_markup(text)}</{tag}>" for tag, text in zip(tags, texts, strict=True)]


def _html(values: _Values) -> str:
    rows = [
        f"<tr><th>{key}</th><td>{_markup(_words(key, value))}</td></tr>\n" for key, value in [*values.pool, *values.own]
    ]
    parts = [_HTML_HEAD, "<table>\n", *rows]
    if values.processes is None:
        return "".join([*parts, "</table>\n</body></html>"])
    keys = [key for key, _ in max(values.processes, key=len)] if values.processes else PROCESS_KEYS
    parts += ['</table>\n<table border="1">\n<tr>', *(f"<th>{key}</th>" for key in keys), "</tr>\n"]
    missing: dict[str, Any] = {"background task": "", "background since": 0}
    for process in values.processes:
        known = missing | dict(process)
        cells = "".join([f"<td>{_markup(_words(key, known[key]))}</td>" for key in keys])
        parts.append(f"<tr>{cells}</tr>\n")
    return "".join([*parts, "</table></body></html>"])


def _openmetrics(values: _Values) -> str:
    """PHP-FPM's page has no labels and nothing more when `full`; ours is fpm.status.metrics."""
    status = values.status
    reached = f"Could pool {escape(status.pool)} using a {status.process_manager} PM on PHP-FPM be reached?"
    lines = [f"# HELP phpfpm_up {reached}", "# TYPE phpfpm_up gauge", "phpfpm_up 1"]
    for name, row in PHP_ROWS.items():
        php = row.php
        if php is None or not php.name:
            continue
        head = [f"# HELP phpfpm_{php.name} {php.help}", f"# TYPE phpfpm_{php.name} {php.kind}"]
        lines += reversed(head) if row.key == _TYPE_FIRST else head
        lines.append(f"phpfpm_{php.name} {show_number(status.numbers, name)}")
    return "\n".join([*lines, "# EOF\n"])


_FORMATS = {
    "text": ("text/plain;charset=UTF-8", _text),
    "json": ("application/json", _json),
    "xml": ("text/xml;charset=UTF-8", _xml),
    "html": ("text/html;charset=UTF-8", _html),
    "openmetrics": ("application/openmetrics-text; version=1.0.0; charset=utf-8", _openmetrics),
}


def _words(key: str, value: str | float) -> str:
    """A value as a text, not escaped yet: times as dates, "-" for never."""
    if isinstance(value, str):
        return value
    if key in _DATES:
        return _date(int(value)) if value else "-"
    return _number(value)


@lru_cache(maxsize=256)
def _date(moment: int) -> str:
    # Workers are often made many at a time.
    return format_access_time(moment)


def _number(value: float) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(int(value))


def _markup(text: str) -> str:
    return escape(text).translate(_MARKUP)
