"""Location tables against what the running interpreter says of its own code objects."""

from __future__ import annotations

import ast
import asyncio
import dataclasses
import inspect
import typing
from collections.abc import Iterator
from types import CodeType, ModuleType

import pytest
from hypothesis import given, strategies

from fpm.stacks.reading.lines import line_of

MODULES = [ast, asyncio.base_events, dataclasses, inspect, typing]


def codes_of(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes_of(constant)


def lines_of(code: CodeType) -> dict[int, int | None]:
    """Offset of each instruction and its line, as the interpreter has it."""
    found = {}
    for start, end, line in code.co_lines():
        found.update(dict.fromkeys(range(start, end, 2), line))
    return found


def check(code: CodeType) -> None:
    for offset, line in lines_of(code).items():
        assert line_of(code.co_linetable, code.co_firstlineno, offset) == line, (code, offset)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_all_instructions_of_a_module(module: ModuleType) -> None:
    whole = compile(inspect.getsource(module), str(module.__file__), "exec")
    count = 0
    for code in codes_of(whole):
        if len(code.co_code) < 3000:
            check(code)
            count += 1
    assert count > 20


def test_positions_agree_too() -> None:
    code = codes_of.__code__
    for index, (line, *_) in enumerate(code.co_positions()):
        assert line_of(code.co_linetable, code.co_firstlineno, index * 2) == line


@pytest.mark.parametrize("gap", [0, 1, 5, 31, 32, 63, 64, 200, 2**11, 2**16, 2**20])
def test_lines_far_apart_forwards_and_backwards(gap: int) -> None:
    nothing = "\n" * gap
    # The loop's end jumps back to its head, and the call's arguments stand after its name.
    source = f"def f(a):\n while a:{nothing}\n  a(1,{nothing}2,{nothing}3)\n{nothing} return a\n"
    for code in codes_of(compile(source, "far", "exec")):
        check(code)


def test_a_frame_that_has_not_begun_is_at_its_first_line() -> None:
    code = check.__code__
    for offset in (-1, -2, -(2**63)):
        assert line_of(code.co_linetable, code.co_firstlineno, offset) == code.co_firstlineno


def test_beyond_the_table_there_is_no_line() -> None:
    code = check.__code__
    assert line_of(code.co_linetable, code.co_firstlineno, len(code.co_code)) is None
    assert line_of(b"", 1, 0) is None


@given(
    strategies.binary(max_size=200) | strategies.lists(strategies.sampled_from([0x7F, 0xFF, 0xF0, 0x80])).map(bytes),
    strategies.integers(-(2**31), 2**31),
    strategies.integers(-(2**63), 2**64),
)
def test_any_bytes_give_a_line_or_none(table: bytes, first: int, offset: int) -> None:
    line = line_of(table, first, offset)
    assert line is None or isinstance(line, int)


def test_a_number_without_an_end_is_no_long_number() -> None:
    # Half a megabyte that says "more follows": a shift by as many bits would never end.
    assert line_of(b"\xf0" + b"\x7f" * (1 << 19), 1, 100) is None
