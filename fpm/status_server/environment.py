"""The templates of the HTML pages, compiled, with what they may call. They escape whatever they are given. Pure."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from datetime import timedelta
from functools import lru_cache, partial
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from fpm.log.escape import escape
from fpm.log.times import format_iso, format_iso_offset, local_time
from fpm.scoreboard.numbers import PoolNumbers
from fpm.scoreboard.route_table import BEGINS
from fpm.status.death_text import death_notes, request_words
from fpm.status.figures import (
    format_age,
    format_count,
    format_duration,
    format_percentile,
    format_rate,
    format_size,
    format_span,
)
from fpm.status.trouble import BADGES, Trouble
from fpm.status_server.front import rate_of

TEXT_MAX = 300
"""Characters of a name or a URI that are shown."""
LINES_MAX = 65536
"""Characters of a traceback, or of another text of several lines."""
PAGES = ("overview.html", "pool.html")
_TEMPLATES = (
    *PAGES,
    "base.html",
    "parts.html",
    "pool_past.html",
    "pool_workers.html",
    "pool_trouble.html",
    "pool_counts.html",
)


def _read(name: str) -> str:
    return files("fpm.status_server").joinpath("templates", name).read_text()


def _digest(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


_STYLE, _SCRIPT = _read("style.css"), _read("refresh.js")
POLICY = (
    f"default-src 'none'; style-src '{_digest(_STYLE)}'; script-src '{_digest(_SCRIPT)}'; img-src data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'"
)
"""What a page may do: run the one script, and send its one form back to where it came from."""


def _finalize(value: Any) -> Any:
    """What is shown of a value: of a text from outside no control characters, and not more than TEXT_MAX."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return escape(value if len(value) <= TEXT_MAX else value[:TEXT_MAX] + " ...")
    return value


def _lines(raw: str) -> Markup:
    """Several lines, for <pre>."""
    return Markup("\n").join(escape(line) for line in raw[:LINES_MAX].split("\n"))


def _cut_lines(raw: Iterable[str]) -> Markup:
    """A stack, each line of it cut like every other text."""
    return Markup("\n").join(_finalize(line) for line in raw)


def _offset(moment: float) -> str:
    """As in `+01:00`."""
    return format_iso_offset(moment)[19:]


def _clock(moment: float, now: float) -> Markup:
    """The time alone where it is less than half a day ago, else the date as well."""
    text = format_iso(moment)
    shown = text[11:] if timedelta() <= local_time(now) - local_time(moment) < timedelta(hours=12) else text
    return Markup('<time datetime="{}" title="{}">{}</time>').format(format_iso_offset(moment), text, shown)


def _meter(numbers: PoolNumbers) -> Markup:
    """How many of the workers that there may be are busy, idle, and not started; a page has hundreds of them."""
    most, busy, idle = numbers.max_children, numbers.active, numbers.idle
    whole = max(most, busy + idle, 1)
    kind = "full" if busy >= most > 0 else "busy"
    at, wide = busy * 100 / whole, idle * 100 / whole
    return Markup(
        f'<svg class="meter" viewBox="0 0 100 7" preserveAspectRatio="none" role="img" '
        f'aria-label="{busy:d} of {most:d} busy"><rect class="rest" width="100" height="7"/>'
        f'<rect class="idle" x="{at:.4g}" width="{wide:.4g}" height="7"/>'
        f'<rect class="{kind}" width="{at:.4g}" height="7"/></svg>'
    )


@lru_cache(maxsize=100)
def _state(trouble: Trouble, state: str) -> Markup:
    """The trouble of a pool, or its state."""
    word = BADGES.get(trouble, state)
    return Markup('<span class="badge {}">{}</span>').format(_KINDS.get(word, ""), _finalize(word))


def make_environment() -> Environment:
    """Compile the templates, while the files and the modules for it are within reach."""
    made = Environment(
        loader=DictLoader({name: _read(name) for name in _TEMPLATES}),
        autoescape=True,
        finalize=_finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(_FILTERS)
    made.globals.update(policy=POLICY, script=Markup(_SCRIPT), style=Markup(_STYLE), zip=zip)
    made.globals.update(state=_state, hot=" hot", badges={trouble: BADGES.get(trouble, "") for trouble in Trouble})
    parts = vars(made.get_template("parts.html").module)
    made.globals.update({name: macro for name, macro in parts.items() if not name.startswith("_")})
    for name in _TEMPLATES:
        made.get_template(name)
    return made


_KINDS = {
    "running": "ok",
    "starting": "warn",
    "stopping": "warn",
    "slow": "warn",
    "errors": "bad",
    "saturated": "bad",
    "failed": "bad",
}
_FILTERS = {
    "age": format_age,
    "clock": _clock,
    "count": lambda count: "-" if count is None else format_count(count),
    "cut_lines": _cut_lines,
    "exact": format_iso_offset,
    "fate": request_words,
    "iso": format_iso,
    "lines": _lines,
    "meter": _meter,
    "notes": death_notes,
    "offset": _offset,
    "quote": lambda name: quote(name, safe="", errors="surrogatepass"),
    "rate": format_rate,
    "rate_of": lambda pool: format_rate(rate_of(pool)),
    "percentile": format_percentile,
    "route_percentile": partial(format_percentile, bounds=BEGINS),
    "seconds": format_duration,
    "size": format_size,
    "span": format_span,
    "unbroken": lambda value: Markup.escape(value).replace(" ", Markup("&nbsp;")),
}
