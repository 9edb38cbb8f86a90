"""Prints values on a terminal or to a pipe; rich decides about colours and the width.

Only commands that print tables import this, when they run: it costs time and memory that the daemon must not spend.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.text import Text

from fpm.cli.columns import GAP, Cell, Column, fit, widths

PIPE_WIDTH = 1000
"""A pipe has no width, so nothing is dropped or cut."""


def make_console() -> Console:
    """Create a console for standard output, with colours and width from the terminal, NO_COLOR and COLUMNS."""
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=False)
    if not console.is_terminal and not os.environ.get("COLUMNS"):
        console.width = PIPE_WIDTH
    return console


def line(cell: Cell) -> Text:
    """Render a cell as text of any length."""
    return Text(cell.text, cell.style)


def one_line(*cells: Cell) -> Group:
    """Render cells in one line, cut with an ellipsis at the terminal's width."""
    joined = Text(no_wrap=True, overflow="ellipsis")
    for cell in cells:
        joined.append(cell.text, cell.style)
    return Group(joined)  # a text alone loses its no_wrap in print()


def table(columns: Sequence[Column], width: int, *, marked: int | None = None) -> Group:
    """Render as many of the columns as fit; the `marked` row in reverse.

    Not by rich's Table, which measures what is known here, and takes a second for a thousand rows.
    """
    kept = fit(columns, width)
    sizes = widths(kept, width)
    heads = [Cell(column.head, "bold dim") for column in kept]
    rows = zip(*(column.cells for column in kept), strict=True)
    lines = [_row(row, kept, sizes) for row in [heads, *rows]]
    if marked is not None and 0 <= marked < len(lines) - 1:
        lines[marked + 1].stylize("reverse")
    return Group(*lines)


def _row(row: Sequence[Cell], columns: Sequence[Column], sizes: Sequence[int]) -> Text:
    joined = Text(no_wrap=True, overflow="crop")
    for cell, column, size in zip(row, columns, sizes, strict=True):
        text = Text(cell.text, cell.style)
        text.truncate(size, overflow="ellipsis")
        blanks = " " * (size - text.cell_len)
        joined.append(blanks if column.right else "").append_text(text)
        joined.append("" if column.right else blanks).append(" " * GAP)
    joined.rstrip()
    return joined


def facts(pairs: Sequence[tuple[str, Cell]]) -> Group:
    """Render names and values, one pair a line, at full length."""
    size = max(len(name) for name, _ in pairs) + GAP
    return Group(*(Text.assemble((f"{name:<{size}}", "dim"), (cell.text, cell.style)) for name, cell in pairs))


def render(console: Console, parts: Sequence[RenderableType]) -> list[str]:
    """Return the lines of all parts, with colours if the console has them, without trailing spaces."""
    with console.capture() as captured:
        for part in parts:
            console.print(part)
    return [one.rstrip() for one in captured.get().splitlines()]


def show(console: Console, parts: Sequence[RenderableType]) -> None:
    """Print the parts; a reader that stops early is no error."""
    try:
        sys.stdout.write("\n".join(render(console, parts)) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # Otherwise the interpreter reports the same error when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
