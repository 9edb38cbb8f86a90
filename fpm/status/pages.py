"""PHP-FPM's status page in its five formats, to the byte (php-fpm.md section 4, ecosystem.md section 1.2).

Every key stands in one of the two tables below; a format is a way of writing a table's keys and values. All texts are
escaped here, in PHP-FPM only some are. What pyfpm adds (fpm.status.extras) comes after all of theirs, in the text form
after the pool's own keys; `?openmetrics` stays as it is.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache

from fpm.log.escape import escape
from fpm.log.times import format_access_time
from fpm.status.extras import PoolExtras
from fpm.status.model import PoolStatus, ProcessStatus

STATUS_HEADERS = (
    ("Expires", "Thu, 01 Jan 1970 00:00:00 GMT"),
    ("Cache-Control", "no-cache, no-store, must-revalidate, max-age=0"),
)
"""On the status and the ping page alike, before Content-type."""
PING_CONTENT_TYPE = "text/plain;charset=UTF-8"

POOL_KEYS = (
    "pool",
    "process manager",
    "start time",
    "start since",
    "accepted conn",
    "listen queue",
    "max listen queue",
    "listen queue len",
    "idle processes",
    "active processes",
    "total processes",
    "max active processes",
    "max children reached",
    "slow requests",
    "memory peak",
)
"""A key is a field of PoolStatus with blanks for underscores."""
PROCESS_KEYS = (
    "pid",
    "state",
    "start time",
    "start since",
    "requests",
    "request duration",
    "request method",
    "request uri",
    "content length",
    "user",
    "script",
    "last request cpu",
    "last request memory",
)
BACKGROUND_KEYS = ("background task", "background since")
"""Of processes that work after their response; where there are none, the page is PHP-FPM's own."""
EXTRA_KEYS = (
    "generation",
    "last reload",
    "last reload failed",
    "failed",
    "failed since",
    "start failures",
    "next start",
    "children limit",
    "min spare",
    "max spare",
    "requests limit",
    "busy percent",
    "background",
    "errors",
    "recycled",
    "deaths by exit",
    "deaths by signal",
    "deaths by kill",
    "deaths by timeout",
    "deaths by oom",
    "recycled memory",
    "last death",
    "last death cause",
    "queue wait",
    "memory pss",
    "background oldest",
    "background early",
    "background limit",
)
"""Fields of PoolExtras in the same way; one that is not known (None) is left out."""
_LIMITS = {
    "children limit": "max_children",
    "requests limit": "max_requests",
    "background limit": "background_max",
}
"""Whose own names are parts of PHP-FPM's keys, which somebody may look for with grep(1)."""
_DATES = frozenset({"start time", "last reload", "failed since", "next start", "last death"})
_METRICS = (
    ("start since", "start_since", "counter", "The number of seconds since FPM has started."),
    ("accepted conn", "accepted_connections", "counter", "The number of requests accepted by the pool."),
    ("listen queue", "listen_queue", "gauge", "The number of requests in the queue of pending connections."),
    (
        "max listen queue",
        "max_listen_queue",
        "counter",
        "The maximum number of requests in the queue of pending connections since FPM has started.",
    ),
    ("listen queue len", "listen_queue_length", "gauge", "The size of the socket queue of pending connections."),
    ("idle processes", "idle_processes", "gauge", "The number of idle processes."),
    ("active processes", "active_processes", "gauge", "The number of active processes."),
    ("total processes", "total_processes", "gauge", "The number of idle + active processes."),
    (
        "max active processes",
        "max_active_processes",
        "counter",
        "The maximum number of active processes since FPM has started.",
    ),
    (
        "max children reached",
        "max_children_reached",
        "counter",
        "The number of times, the process limit has been reached, when pm tries to start more children "
        "(works only for pm 'dynamic' and 'ondemand').",
    ),
    (
        "slow requests",
        "slow_requests",
        "counter",
        "The number of requests that exceeded your 'request_slowlog_timeout' value.",
    ),
    ("memory peak", "memory_peak", "gauge", "The memory usage peak since FPM has started."),
)
_TYPE_FIRST = "listen queue len"
"""Its TYPE line comes before its HELP line, unlike all others."""

_HTML_HEAD = (
    '<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN" "http://www.w3.org/TR/xhtml1/DTD/xhtml1-strict.dtd">\n'
    '<html xmlns="http://www.w3.org/1999/xhtml" xml:lang="en" lang="en">\n'
    "<head><title>PHP-FPM Status Page</title></head>\n<body>\n"
)
_MARKUP = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#039;"})


@dataclass(frozen=True, slots=True)
class Page:
    """A response's body and its type."""

    content_type: str
    body: bytes


def render_status(status: PoolStatus, query_string: str, extras: PoolExtras | None = None) -> Page:
    """The page that a query string asks for: a format counts by its key, whatever its value; `full` lists processes."""
    keys = {part.partition("=")[0] for part in query_string.split("&")}
    processes = status.processes if "full" in keys else None
    for name in ("html", "xml", "json", "openmetrics"):
        if name in keys:
            break
    else:
        name = "text"
    content_type, render = _FORMATS[name]
    return Page(content_type, render(status, processes, extras).encode())


Processes = tuple[ProcessStatus, ...] | None
"""None: the short page."""
Subject = PoolStatus | ProcessStatus | PoolExtras


def _known(extras: PoolExtras | None) -> tuple[str, ...]:
    return tuple(key for key in EXTRA_KEYS if extras is not None and _value(extras, key) is not None)


def _keys_of(process: ProcessStatus) -> tuple[str, ...]:
    return PROCESS_KEYS + BACKGROUND_KEYS if process.background_task else PROCESS_KEYS


def _text(status: PoolStatus, processes: Processes, extras: PoolExtras | None) -> str:
    parts = [_text_block(status, POOL_KEYS)]
    if extras is not None:
        parts.append(_text_block(extras, _known(extras)))
    for process in processes or ():
        parts += ["\n************************\n", _text_block(process, _keys_of(process))]
    return "".join(parts)


def _text_block(of: Subject, keys: tuple[str, ...]) -> str:
    names = ("request URI" if key == "request uri" else key for key in keys)
    return "".join(
        [f"{name + ':':<22}{escape(value)}\n" for name, value in zip(names, _texts(of, keys, True), strict=True)]
    )


def _json(status: PoolStatus, processes: Processes, extras: PoolExtras | None) -> str:
    pool = _json_members(status, POOL_KEYS)
    more = "," + _json_members(extras, _known(extras)) if extras is not None else ""
    if processes is None:
        return f"{{{pool}{more}}}"
    members = ",".join([f"{{{_json_members(process, _keys_of(process))}}}" for process in processes])
    return f'{{{pool}, "processes":[{members}]{more}}}'


def _json_members(of: Subject, keys: tuple[str, ...]) -> str:
    return ",".join([f'"{key}":{_json_value(key, _value(of, key))}' for key in keys])


def _json_value(key: str, value: str | float) -> str:
    if isinstance(value, str):
        text = json.dumps(value)
        return text.replace("/", "\\/") if key == "request uri" else text
    return _number(value)


def _xml(status: PoolStatus, processes: Processes, extras: PoolExtras | None) -> str:
    parts = ['<?xml version="1.0" ?>\n<status>\n', *(f"{one}\n" for one in _xml_elements(status, POOL_KEYS))]
    if processes is not None:
        parts.append("<processes>\n")
        parts += [f"<process>{''.join(_xml_elements(one, _keys_of(one)))}</process>\n" for one in processes]
        parts.append("</processes>\n")
    if extras is not None:
        parts += [f"{one}\n" for one in _xml_elements(extras, _known(extras))]
    return "".join([*parts, "</status>"])


def _xml_elements(of: Subject, keys: tuple[str, ...]) -> list[str]:
    tags = [key.replace(" ", "-") for key in keys]
    return [f"<{tag}>{_markup(value)}</{tag}>" for tag, value in zip(tags, _texts(of, keys, False), strict=True)]


def _html(status: PoolStatus, processes: Processes, extras: PoolExtras | None) -> str:
    values = list(zip(POOL_KEYS, _texts(status, POOL_KEYS, True), strict=True))
    if extras is not None:
        values += zip(_known(extras), _texts(extras, _known(extras), True), strict=True)
    parts = [_HTML_HEAD, "<table>\n"]
    parts += [f"<tr><th>{key}</th><td>{_markup(value)}</td></tr>\n" for key, value in values]
    if processes is None:
        return "".join([*parts, "</table>\n</body></html>"])
    keys = max(map(_keys_of, processes), key=len, default=PROCESS_KEYS)
    parts += ['</table>\n<table border="1">\n<tr>', *(f"<th>{key}</th>" for key in keys), "</tr>\n"]
    for process in processes:
        cells = "".join([f"<td>{_markup(value)}</td>" for value in _texts(process, keys, True)])
        parts.append(f"<tr>{cells}</tr>\n")
    return "".join([*parts, "</table></body></html>"])


def _openmetrics(status: PoolStatus, processes: Processes, extras: PoolExtras | None) -> str:
    """PHP-FPM's page has no labels and nothing more when `full`; ours is fpm.status.metrics."""
    reached = f"Could pool {escape(status.pool)} using a {status.process_manager} PM on PHP-FPM be reached?"
    lines = [f"# HELP phpfpm_up {reached}", "# TYPE phpfpm_up gauge", "phpfpm_up 1"]
    for key, name, kind, text in _METRICS:
        head = [f"# HELP phpfpm_{name} {text}", f"# TYPE phpfpm_{name} {kind}"]
        lines += reversed(head) if key == _TYPE_FIRST else head
        lines.append(f"phpfpm_{name} {_value(status, key)}")
    return "\n".join([*lines, "# EOF\n"])


_FORMATS = {
    "text": ("text/plain;charset=UTF-8", _text),
    "json": ("application/json", _json),
    "xml": ("text/xml;charset=UTF-8", _xml),
    "html": ("text/html;charset=UTF-8", _html),
    "openmetrics": ("application/openmetrics-text; version=1.0.0; charset=utf-8", _openmetrics),
}


def _value(of: Subject, key: str) -> str | float:
    value: str | float = getattr(of, _LIMITS.get(key) or key.replace(" ", "_"))
    return value


def _texts(of: Subject, keys: tuple[str, ...], dates: bool) -> list[str]:
    """The values, not escaped yet; times as dates ("-" for never) or as epoch seconds."""
    values = [_value(of, key) for key in keys]
    return [
        value
        if isinstance(value, str)
        else (_date(int(value)) if value else "-")
        if dates and key in _DATES
        else _number(value)
        for key, value in zip(keys, values, strict=True)
    ]


@lru_cache(maxsize=256)
def _date(moment: int) -> str:
    # Workers are often made many at a time.
    return format_access_time(moment)


def _number(value: float) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(int(value))


def _markup(text: str) -> str:
    return escape(text).translate(_MARKUP)
