"""The error log's lines, and workers' output made into lines."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fpm.log.lines import (
    Level,
    LineAssembler,
    format_head,
    format_line,
    format_lines,
    guard_bare,
    parse_level,
    pool_prefix,
    room_beside,
    split_to_fit,
)

NOW = 1758463391.123456
CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202e]")


def test_head() -> None:
    assert re.fullmatch(r"\[\d\d-[A-Z][a-z]{2}-2025 \d\d:\d\d:11\] WARNING: ", format_head(Level.WARNING, NOW))
    assert re.fullmatch(r"\[\d\d-Sep-2025 \d\d:\d\d:11\.123456\] DEBUG: pid 7: ", format_head(Level.DEBUG, NOW, 7))


def test_levels_have_an_order_and_names() -> None:
    assert Level.DEBUG < Level.NOTICE < Level.WARNING < Level.ERROR < Level.ALERT
    assert parse_level("notice") is Level.NOTICE
    assert parse_level("no such level") is Level.ERROR


def test_long_message_is_cut() -> None:
    head = format_head(Level.NOTICE, NOW)
    line = format_line(Level.NOTICE, "a" * 2000, NOW, limit=1024)
    assert line == head + "a" * (1024 - len(head) - 3) + "..."
    fitting = "a" * (1024 - len(head))
    assert format_line(Level.NOTICE, fitting, NOW, limit=1024) == head + fitting


def test_a_message_cannot_forge_an_entry() -> None:
    line = format_line(Level.NOTICE, "a\n[21-Sep-2025 14:03:11] ALERT: b\r\x1b[31m\u202e\ttab", NOW, limit=1024)
    assert line.endswith("a\\x0a[21-Sep-2025 14:03:11] ALERT: b\\x0d\\x1b[31m\\xe2\\x80\\xae\ttab")


def test_a_traceback_is_whole_and_every_line_is_an_entry() -> None:
    text = "cannot import:\nTraceback (most recent call last):\n  File x\nValueError: " + "y" * 300 + "\n"
    lines = format_lines(Level.ERROR, text, NOW, limit=200, prefix=pool_prefix("www"))
    head = format_head(Level.ERROR, NOW) + "[pool www] "
    assert all(line.startswith(head) and len(line) <= 200 for line in lines)
    first, *rest = [line.removeprefix(head) for line in lines]
    assert all(line.startswith("  ") for line in rest), "as no entry of the master's does"
    assert first + "".join(line[2:] for line in rest) == text.replace("\n", "")


def test_an_undecorated_line_cannot_be_taken_for_an_entry() -> None:
    assert guard_bare("[29-Nov-2026 00:00:00] ALERT: forged") == r"\x5b29-Nov-2026 00:00:00] ALERT: forged"
    assert guard_bare("<0>the machine is on fire") == r"\x3c0>the machine is on fire"
    for line in ("", "plain", "[2026-11-29 00:00:00] of Gunicorn's form", "<p>text</p>", " [29-Nov-2026 "):
        assert guard_bare(line) == line


def test_one_line_is_one_entry() -> None:
    assert format_lines(Level.ERROR, "x\n", NOW, limit=99) == [format_line(Level.ERROR, "x", NOW, limit=99)]


def test_what_is_beside_a_line_is_counted() -> None:
    room = room_beside('[pool www] child 123 said into stderr: ""', 1024)
    first, second = LineAssembler(room).feed(b"a" * (room + 7) + b"\n")
    text = f'[pool www] child 123 said into stderr: "{first}"'
    assert len(format_line(Level.WARNING, text, NOW, limit=1024)) == 1024
    assert format_line(Level.WARNING, text, NOW, limit=1024).endswith('aaa"')
    assert second == "a" * 7
    assert room_beside("x" * 2000, 1024) == 1


def test_an_open_line_comes_at_the_end() -> None:
    assembler = LineAssembler(100)
    assert assembler.feed(b"first\nlast") == ["first"]
    (rest,) = assembler.close()
    assert rest == "last"
    assert assembler.close() == []


def test_ends_of_lines() -> None:
    assert LineAssembler(9).feed(b"a\r\nb\n\n\rc\n") == ["a", "b", "", "\\x0dc"]


def test_bytes_of_all_kinds() -> None:
    assembler = LineAssembler(1000)
    assert assembler.feed("ä€😀\t".encode() + b"\xff\x80\x00\x1b\n") == ["ä€😀\tÿ\\x80\\x00\\x1b"]


def assemble(data: bytes, cuts: list[int], room: int) -> tuple[list[str], list[str]]:
    assembler = LineAssembler(room)
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    lines = [line for start, end in itertools.pairwise(edges) for line in assembler.feed(data[start:end])]
    return lines, assembler.close()


pieces = st.lists(st.sampled_from([b"a", b"\n", b"\r", b"\r\n", b"\xe2\x82\xac", b"\xe2", b"\xff", b"\x1b", b"bcdef"]))


@given(st.one_of(st.binary(), pieces.map(b"".join)), st.lists(st.integers(0, 10_000)), st.integers(1, 40))
@example(b"aaaa\r\n", [5], 4)
@example(b"aaaa\rb\n", [5], 4)
@example("aaa€\n".encode(), [4], 4)
def test_any_split_gives_the_same_lines(data: bytes, cuts: list[int], room: int) -> None:
    assert assemble(data, cuts, room) == assemble(data, [], room)


@given(st.binary(), st.integers(20, 40))
@example(b"\x00\x00\x00\t  \xa0\xa0\xc2", 20)
def test_lines_fit_and_are_harmless(data: bytes, room: int) -> None:
    lines, rest = assemble(data, [], room)
    for line in [*lines, *rest]:
        assert len(line.encode()) <= room
        assert not CONTROL.search(line)


@given(st.text(st.characters(codec="utf-8")), st.integers(12, 30))
def test_pieces_make_the_line(text: str, room: int) -> None:
    assert "".join(split_to_fit(text, room)) == text


@pytest.mark.parametrize("room", [0, -5])
def test_no_room_still_ends(room: int) -> None:
    assert LineAssembler(room).feed(b"ab\n") == ["a", "b"]


def test_memory_is_bounded() -> None:
    assembler = LineAssembler(100)
    lines = [line for _ in range(100) for line in assembler.feed(b"x" * 1000)]
    assert len(lines) == 999
    assert assembler.close() == ["x" * 100]
