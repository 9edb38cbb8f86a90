"""What `pyfpm status --format text|json|html|xml|openmetrics` prints of a pool: its status page, and more. Pure."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fpm.log.escape import escape
from fpm.log.times import format_access_time
from fpm.status.death_text import death_line
from fpm.status.overview import LastReload, Pool
from fpm.status.pages import Pair, render_status
from fpm.status.past.figures import past_numbers


def report_pool(pool: Pool, form: str, *, full: bool) -> str:
    """PHP-FPM's page in this format; JSON and text have more.

    Args:
        full: with the processes, in text with the deaths, too.
    """
    more: list[Pair] = []
    if form == "text":
        more = [("state", pool.state), *([("directory", pool.directory)] if pool.directory else ())]
    elif form == "json":
        more = [
            *past_numbers(pool),
            ("deaths", [_spaced(asdict(death)) for death in pool.deaths]),
            ("details", _details(pool)),
            ("exceptions", [_spaced(asdict(seen)) for seen in pool.exceptions]),
        ]
    page = render_status(pool.status, f"{form}&full" if full else form, more=more)
    text = page.body.decode("utf-8", "replace").rstrip("\n")
    return "\n".join([text, *_deaths(pool)]) if form == "text" and full else text


def _details(pool: Pool) -> dict[str, Any]:
    """Texts, in an object of their own: a reader of PHP-FPM's page may take every other value for a number."""
    return {"directory": pool.directory, "user": pool.user, "python": pool.python, "logs": dict(pool.logs)}


def _spaced(values: dict[str, Any]) -> dict[str, Any]:
    return {name.replace("_", " "): value for name, value in values.items()}


def _deaths(pool: Pool) -> list[str]:
    lines = [f"{'death:':<22}{format_access_time(death.at)} {escape(death_line(death))}" for death in pool.deaths]
    return ["", *lines] if lines else []


def describe_reload(last: LastReload) -> str:
    """`succeeded, TIME` or `failed, TIME: reason`."""
    when = format_access_time(last.at)
    return f"succeeded, {when}" if last.ok else f"failed, {when}: {last.reason}"
