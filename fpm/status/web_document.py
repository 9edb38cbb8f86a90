"""The frame of every HTML page of the daemon: head, header, footer, and what a browser is allowed to do with it."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass

from fpm.log.times import format_access_time
from fpm.status.figures import format_age
from fpm.status.overview import Daemon
from fpm.status.web_parts import badge, moment, text
from fpm.status.web_style import SCRIPT, STYLE


def _digest(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


_POLICY = (
    f"default-src 'none'; style-src '{_digest(STYLE)}'; script-src '{_digest(SCRIPT)}'; img-src data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'"
)
HEADERS = (
    ("Content-Type", "text/html; charset=utf-8"),
    ("Content-Security-Policy", f"{_POLICY}; frame-ancestors 'none'"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-store"),
)
"""What an HTTP server sends with these pages."""

_ICON = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E{}%3C/svg%3E"
_BARS = "%3Cg fill='%23{color}'%3E%3Cpath d='M1 9h3v6H1zM6.5 5h3v10h-3zM12 1h3v14h-3z'/%3E%3C/g%3E"
_LOGO = (
    '<svg viewBox="0 0 16 16" aria-hidden="true"><path fill="var(--accent)" '
    'd="M1 9h3v6H1zM6.5 5h3v10h-3zM12 1h3v14h-3z"/></svg>'
)
_FINE, _TROUBLE = "2a6fdb", "d4381f"


@dataclass(frozen=True, slots=True)
class Content:
    """One page between the frame's parts; all markup."""

    title: str
    heading: str
    body: str
    refresh: int
    """Seconds."""
    trouble: bool


def document(daemon: Daemon, content: Content) -> bytes:
    """The whole page."""
    icon = _ICON.format(_BARS.format(color=_TROUBLE if content.trouble else _FINE))
    page = (
        f'<!DOCTYPE html>\n<html lang="en" data-refresh="{content.refresh}"><head><meta charset="utf-8">'
        f'<title>{content.title}</title><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f'<link rel="icon" href="{icon}"><noscript><meta http-equiv="refresh" content="{content.refresh}"></noscript>'
        f"<style>{STYLE}</style></head>\n<body><header>{_LOGO}{content.heading}{_facts(daemon)}</header>\n"
        f"<main>{content.body}</main>\n{_footer(daemon)}<script>{SCRIPT}</script></body></html>\n"
    )
    return page.encode("utf-8", "replace")


def _facts(daemon: Daemon) -> str:
    leaving = badge("stopping", "warn") + " " if daemon.draining else ""
    return (
        f'<span class="facts">{leaving}up {format_age(daemon.now - daemon.started)} &middot; '
        f"{format_access_time(daemon.now)}</span>"
    )


def _footer(daemon: Daemon) -> str:
    last = daemon.last_reload
    outcome = "" if last is None else f"{'succeeded' if last.ok else 'failed'}, {moment(last.at, daemon.now)}"
    return (
        f"<footer>pyfpm {text(daemon.version)} &middot; pid {daemon.pid} &middot; {text(daemon.file)} &middot; "
        f"last reload: {outcome or 'none'}</footer>"
    )
