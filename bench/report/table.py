"""Results as text with columns: one row a server, the ratio to it, then the targets. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from bench.results import MEASURES, Measure, Result, Spread, spread
from bench.targets import Verdict, verdicts


def number(value: float) -> str:
    """Three significant digits, and thousands separated."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def amount(value: float, unit: str) -> str:
    """With its unit; microseconds in the unit that reads best."""
    if unit == "µs" and value >= 10_000:
        value, unit = value / 1000, "ms"
    return f"{number(value)} {unit}".strip()


def times(found: Spread) -> str:
    """A ratio with its spread."""
    return f"{found.median:.2f} ({found.least:.2f}..{found.most:.2f})"


def shown(result: Result) -> list[tuple[str, Measure]]:
    """The measures that the result has, in its order."""
    has = {name for of_server in result.samples.values() for name in of_server}
    return [(name, MEASURES[name]) for name in result.measures if name in has]


def rows(result: Result) -> list[list[str]]:
    """Heading and a row for each server: medians, the spread of the main measure, and what ours is of it."""
    measures = shown(result)
    main = measures[0][0]
    first = next(iter(result.samples))
    table = [["", *(measure.title for _, measure in measures), f"{first} is", "spread"]]
    for server in result.samples:
        cells = []
        for name, measure in measures:
            samples = result.get(server, name)
            cells.append(amount(spread(samples).median, measure.unit) if samples else "")
        beside = result.ratio(main, first, server) if server != first else None
        cells += [f"{beside.median:.2f} x", f"{beside.least:.2f}..{beside.most:.2f}"] if beside else ["", ""]
        table.append([server, *cells])
    return table


def sentence(verdict: Verdict) -> str:
    """A target, what was found, and whether it is met."""
    target = verdict.target
    measure = MEASURES[target.measure]
    sign = "≥" if measure.more_is_better else "≤"
    if target.peer:
        what = f"{target.ours} / {target.peer}, {measure.title} {sign} {target.limit:g}: {times(verdict.found)}"
    else:
        found = f"{number(verdict.found.median)} ({number(verdict.found.least)}..{number(verdict.found.most)})"
        what = f"{target.ours}, {measure.title} {sign} {number(verdict.limit)} {measure.unit}: {found}"
    return f"{what}  {'met' if verdict.met else 'NOT MET'}"


def text(result: Result) -> str:
    """A case for a terminal."""
    lines = ["", f"{result.case}: {result.title}", ""]
    if result.samples:
        lines += columns(rows(result))
    lines += [f"  note: {note}" for note in result.notes]
    judged = verdicts(result)
    lines += ["", *(f"  target: {sentence(verdict)}" for verdict in judged)] if judged else []
    return "\n".join(lines)


def columns(table: Sequence[Sequence[str]]) -> list[str]:
    """The first column to the left, the others to the right."""
    widths = [max(len(row[at]) for row in table) for at in range(len(table[0]))]
    lines = []
    for row in table:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  " + "  ".join(cells).rstrip())
    return lines
