"""Values on a terminal, or in a pipe: colours and the width are rich's business.

Imported only by the commands that show something, when they do: it takes time and memory that the daemon does not want
to spend.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.text import Text

from fpm.cli.columns import GAP, Cell, Column, fit, widths

PIPE_WIDTH = 1000
"""A pipe has no width, so nothing is left out of it."""


def make_console() -> Console:
    """A console for standard output; colours and width as terminal, NO_COLOR and COLUMNS say."""
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=False)
    if not console.is_terminal and not os.environ.get("COLUMNS"):
        console.width = PIPE_WIDTH
    return console


def line(cell: Cell) -> Text:
    """One cell as text of any length."""
    return Text(cell.text, cell.style)


def one_line(*cells: Cell) -> Text:
    """Cells in one line, cut with an ellipsis where the terminal ends."""
    joined = Text(no_wrap=True, overflow="ellipsis")
    for cell in cells:
        joined.append(cell.text, cell.style)
    return joined


def table(columns: Sequence[Column], width: int) -> Group:
    """As many of the columns as there is room for.

    Not rich's Table, which measures for itself what is known here, and takes a second for a thousand rows.
    """
    kept = fit(columns, width)
    sizes = widths(kept, width)
    heads = [Cell(column.head, "bold dim") for column in kept]
    rows = zip(*(column.cells for column in kept), strict=True)
    return Group(*(_row(row, kept, sizes) for row in [heads, *rows]))


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
    """Names and values, one a line, at full length."""
    size = max(len(name) for name, _ in pairs) + GAP
    return Group(*(Text.assemble((f"{name:<{size}}", "dim"), (cell.text, cell.style)) for name, cell in pairs))


def render(console: Console, parts: Sequence[RenderableType]) -> list[str]:
    """The lines of all parts, with colours if the console has them, without trailing spaces."""
    with console.capture() as captured:
        for part in parts:
            console.print(part)
    return [one.rstrip() for one in captured.get().splitlines()]


def show(console: Console, parts: Sequence[RenderableType]) -> None:
    """Print the parts; a reader who goes away early is no error."""
    try:
        sys.stdout.write("\n".join(render(console, parts)) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter would complain once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
