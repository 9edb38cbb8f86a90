"""Columns that give way on narrow terminals."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fpm.cli.columns import GAP, MORE, SHRUNK, Cell, Column, fit, fit_words, widths

NAME = Column("POOL", [Cell("shop"), Cell("a-very-long-name-of-a-pool")], 0, shrinks=True)
STATE = Column("STATE", [Cell("running"), Cell("idle")], 1)
QUEUE = Column("QUEUE", [Cell("0"), Cell("12")], 2)


def heads(columns: list[Column]) -> list[str]:
    return [column.head for column in columns]


def test_all_columns_if_there_is_room() -> None:
    columns = [NAME, STATE, QUEUE]
    full = 26 + 7 + 5 + 2 * GAP
    assert heads(fit(columns, full)) == ["POOL", "STATE", "QUEUE"]
    assert widths(columns, full) == [26, 7, 5]
    assert widths(columns, full + 50) == [26, 7, 5]


def test_a_long_text_shrinks_before_a_column_goes() -> None:
    columns = [NAME, STATE, QUEUE]
    least = SHRUNK + 7 + 5 + 2 * GAP
    assert heads(fit(columns, least)) == ["POOL", "STATE", "QUEUE"]
    assert widths(columns, least) == [SHRUNK, 7, 5]
    assert heads(fit(columns, least - 1)) == ["POOL", "STATE"]
    assert heads(fit(columns, 5)) == ["POOL"]
    assert widths([NAME], 5) == [SHRUNK]


columns_strategy = st.lists(
    st.builds(
        Column,
        st.text(min_size=1, max_size=8),
        st.lists(st.builds(Cell, st.text(max_size=40)), min_size=2, max_size=2),
        st.integers(0, 9),
        shrinks=st.booleans(),
    ),
    min_size=1,
    max_size=8,
)


@given(columns_strategy, st.integers(1, 200))
def test_what_is_kept_fits_or_cannot_be_left_out(columns: list[Column], width: int) -> None:
    kept = fit(columns, width)
    sizes = widths(kept, width)
    rest = iter(columns)
    assert all(any(column == other for other in rest) for column in kept), "in their order"
    assert all(size >= 1 for size in sizes)
    if any(column.rank for column in kept):
        assert sum(sizes) + GAP * (len(sizes) - 1) <= width


def test_a_line_is_cut_between_words() -> None:
    cells = [Cell("3 pools"), Cell(", pss 50.3 MiB"), Cell(", load 1.0")]
    assert fit_words(cells, 31) == cells
    assert [cell.text for cell in fit_words(cells, 30)] == ["3 pools", ", pss 50.3 MiB", MORE]
    assert [cell.text for cell in fit_words(cells, 22)] == ["3 pools", MORE]
    assert [cell.text for cell in fit_words(cells, 5)] == [MORE]
