"""Tables as values; a narrow terminal drops the least important columns first. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fpm.frozen import dataclass
from fpm.log.escape import escape

GAP = 2
"""Spaces between columns."""
MORE = " …"


@dataclass(frozen=True, slots=True)
class Cell:
    """One value; `style` is a colour, bold or dim, or empty. What could drive a terminal is escaped."""

    text: str
    style: str = ""

    def __post_init__(self) -> None:
        if not self.text.isprintable():
            object.__setattr__(self, "text", escape(self.text))


@dataclass(frozen=True, slots=True)
class Column:
    head: str
    cells: Sequence[Cell]
    rank: int
    """0 is never dropped; of the others the highest is dropped first."""
    right: bool = False
    shrinks: bool = False
    """May be cut with an ellipsis, down to `SHRUNK` characters."""

    def width(self) -> int:
        """Return the number of characters for the widest cell."""
        return max([len(self.head), *(len(cell.text) for cell in self.cells)])

    def least(self) -> int:
        """Return the minimum number of characters."""
        return min(self.width(), max(SHRUNK, len(self.head))) if self.shrinks else self.width()


SHRUNK = 12


def fit(columns: Sequence[Column], width: int) -> list[Column]:
    """Choose the columns that fit into `width` characters, always including those of rank 0."""
    kept = list(columns)
    while sum(column.least() + GAP for column in kept) - GAP > width:
        last = max(kept, key=lambda column: column.rank)
        if last.rank == 0:
            break
        kept.remove(last)
    return kept


def widths(columns: Sequence[Column], width: int) -> list[int]:
    """Compute the columns' widths: those that may shrink share what the others leave."""
    wanted = [column.width() for column in columns]
    surplus = sum(wanted) + GAP * (len(columns) - 1) - width
    for at in sorted(range(len(columns)), key=lambda at: -wanted[at]):
        if surplus > 0 and (columns[at].shrinks or columns[at].rank == 0):
            taken = min(surplus, wanted[at] - columns[at].least() if columns[at].shrinks else wanted[at] - 1)
            wanted[at] -= taken
            surplus -= taken
    return wanted


def fit_words(cells: Iterable[Cell], width: int) -> list[Cell]:
    """Return the first cells of a line, each whole, that fit into `width` characters; a mark stands for the rest."""
    wanted = list(cells)
    sizes = [len(cell.text) for cell in wanted]
    if sum(sizes) <= width:
        return wanted
    count = len(wanted)
    while count and sum(sizes[:count]) + len(MORE) > width:
        count -= 1
    return [*wanted[:count], Cell(MORE, "dim")]
