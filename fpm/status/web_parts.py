"""The small pieces of the HTML pages: escaped texts, badges, tiles, meters, lists of facts, tables."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fpm.log.escape import escape
from fpm.log.times import format_access_time
from fpm.status.figures import format_age

TEXT_MAX = 300
"""Characters of a name or a URI that are shown."""
TRACEBACK_MAX = 65536
_METER = 100


def text(raw: str, limit: int = TEXT_MAX) -> str:
    """A text from outside as markup; whatever it is, it is only text."""
    cut = raw if len(raw) <= limit else raw[:limit] + " ..."
    return html.escape(escape(cut))


def lines(raw: str) -> str:
    """Several lines as markup, for <pre>."""
    return "\n".join([text(line, TRACEBACK_MAX) for line in raw[:TRACEBACK_MAX].split("\n")])


def badge(words: str, kind: str = "") -> str:
    """A word in a coloured field; `kind` is ok, warn, bad or nothing."""
    return f'<span class="badge {kind}">{text(words)}</span>' if kind else f'<span class="badge">{text(words)}</span>'


def moment(at: float, now: float) -> str:
    """`3 min 5 s ago`, with the full time for those who point at it."""
    return f'<span title="{format_access_time(at)}">{format_age(now - at)} ago</span>'


def tile(label: str, value: str, small: str = "", kind: str = "") -> str:
    """One figure, large; `value` is a plain one, `small` is markup."""
    more = f" <small>{small}</small>" if small else ""
    return f'<div class="card tile {kind}"><dt>{label}</dt><dd>{value.replace(" ", "&nbsp;")}{more}</dd></div>'


def tiles(those: Iterable[str]) -> str:
    """A row of tiles."""
    return f'<dl class="tiles">{"".join(those)}</dl>'


def meter(busy: int, idle: int, most: int) -> str:
    """How much of `most` workers is busy, idle, and not started."""
    whole = max(most, busy + idle, 1)
    part = busy * _METER / whole
    rest = idle * _METER / whole
    kind = "full" if busy >= most > 0 else "busy"
    return (
        f'<svg class="meter" viewBox="0 0 {_METER} 7" preserveAspectRatio="none" role="img" '
        f'aria-label="{busy} of {most} busy"><rect class="rest" width="{_METER}" height="7"/>'
        f'<rect class="idle" x="{part:.4g}" width="{rest:.4g}" height="7"/>'
        f'<rect class="{kind}" width="{part:.4g}" height="7"/></svg>'
    )


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Names and values in columns; the values are markup, and those that are empty are left out."""
    rows = [f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in pairs if value]
    return f'<dl class="card facts">{"".join(rows)}</dl>'


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a table; `content` is markup, `kind` its classes."""

    content: str
    kind: str = ""


def table(heads: Sequence[tuple[str, str]], rows: Iterable[Sequence[Cell]]) -> str:
    """A table that becomes a list of cards on a phone, each value under the name of its column.

    Args:
        heads: name and classes of each column; a name may be "".
    """
    head = "".join([f'<th scope="col" class="{kind}">{name}</th>' for name, kind in heads])
    body = []
    for row in rows:
        cells = zip(heads, row, strict=True)
        body.append(
            "".join([f'<td class="{cell.kind}" data-l="{name}">{cell.content}</td>' for (name, _), cell in cells])
        )
    rows_markup = "".join([f"<tr>{row}</tr>" for row in body])
    return (
        f'<div class="card scroll"><table class="rows"><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows_markup}</tbody></table></div>"
    )
