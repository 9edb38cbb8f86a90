"""A picture of the main cases as SVG: a panel a case, a bar a server, whiskers from the least to the greatest. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from bench.peers import FLOOR
from bench.report.table import amount
from bench.results import MEASURES, Result, Run, spread

CASES = ("hello", "hello-kept", "headers", "json", "chunks", "down-10m", "file-10m", "up-10m", "django", "memory")
WIDTH, COLUMNS = 960, 2
PANEL, LABELS, BARS = WIDTH // COLUMNS, 150, 210
"""Widths of a panel, of the names in it, of its longest bar."""
ROW, HEAD, GAP = 18, 34, 14
OURS, PEER, LOWEST = "#2563eb", "#9ca3af", "#d1d5db"
STYLE = "text{font:12px system-ui,sans-serif;fill:#111827}.title{font-weight:600}.small{fill:#6b7280}"


def picture(run: Run, cases: Sequence[str] = CASES) -> str:
    """The cases that the run has, two panels in a line."""
    panels = [one for one in (run.case(name) for name in cases) if one is not None and one.samples]
    body, y = [], GAP
    for at in range(0, len(panels), COLUMNS):
        line = panels[at : at + COLUMNS]
        body += [panel(result, column * PANEL, y) for column, result in enumerate(line)]
        y += max(height(result) for result in line) + GAP
    where = ", ".join(run.environment.get(name, "") for name in ("date", "machine", "kernel"))
    foot = f'<text class="small" x="{GAP}" y="{y + 12}">shorter is better; {escape(where)}</text>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 24}" role="img">'
        f"<style>{STYLE}</style>\n"
        f'<rect width="{WIDTH}" height="{y + 24}" fill="#ffffff"/>\n' + "\n".join([*body, foot]) + "\n</svg>\n"
    )


def height(result: Result) -> int:
    """Of a panel."""
    return HEAD + ROW * len(result.samples)


def panel(result: Result, x: int, y: int) -> str:
    """One case: its title, and a bar for each server."""
    name = result.measures[0]
    found = {server: spread(result.get(server, name)) for server in result.samples if result.get(server, name)}
    longest = max(one.median for one in found.values()) or 1.0
    title = f"{result.title.partition(';')[0]}: {MEASURES[name].title}"
    parts = [f'<text class="title" x="{x + GAP}" y="{y + 14}">{escape(title)}</text>']
    for number, (server, one) in enumerate(found.items()):
        top, left = y + HEAD + ROW * number - 8, x + GAP + LABELS
        color = OURS if server.startswith("pyfpm") else LOWEST if server == FLOOR else PEER
        length = BARS * one.median / longest
        low, high = (left + min(BARS * value / longest, BARS + 20) for value in (one.least, one.most))
        parts += [
            f'<text x="{x + GAP}" y="{top + 11}">{escape(server)}</text>',
            f'<rect x="{left}" y="{top}" width="{length:.1f}" height="{ROW - 5}" fill="{color}"/>',
            f'<path d="M{low:.1f} {top + 6.5}H{high:.1f}" stroke="#374151" stroke-width="1"/>',
            f'<text class="small" x="{left + max(length, high - left) + 6:.1f}" y="{top + 11}">'
            f"{escape(amount(one.median, MEASURES[name].unit))}</text>",
        ]
    return "\n".join(parts)
