"""The compiled table of routes against that of plain Python: the same requests leave the same bytes."""

from __future__ import annotations

import gc
import random
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpm.scoreboard.route_table import ENTRIES, ENTRY, ROUTES_SIZE, SHORT, USED_OFFSET, RouteTable
from fpm.worker import hot_path
from tests.support.hot_server import needs_compiled

START = 1 << 20
CHARACTERS = "//--..0123456789abcdefABCDEFghxyzZ_~é\xff\0<>"
SIZES = [0, 1, 5, 8, 9, 16, 30, 36, 60, 119, 120, 121, 200, 511, 512, 513, 600, 1100]
PIECES = ["/shop", "/1", "/550e8400-e29b-41d4-a716-446655440000", "/00112233", "x" * 65, "/a-1.2_3", "/%s" % ("é" * 33)]


@pytest.fixture(autouse=True)
def few_to_look_at() -> Iterator[None]:
    """Each collection looks only at what the test has made: a hundred of them at all of pytest take 10 s."""
    gc.freeze()
    yield
    gc.unfreeze()


def make_path(source: random.Random) -> str:
    """Make a path: of routes that come often, of those that come once, of what nobody sends."""
    kind = source.random()
    if kind < 0.3:
        return f"/{source.choice(PIECES)}/{source.randrange(10 ** source.randrange(12))}"
    if kind < 0.6:
        return "/" + "".join(source.choices("ghjk", k=source.randrange(8)))
    if kind < 0.8:
        return "".join(source.choices(PIECES, k=source.randrange(30)))
    return "".join(source.choices(CHARACTERS, k=source.choice(SIZES)))


def make_new_path(source: random.Random) -> str:
    """Make a path whose pattern nobody has seen."""
    return "/" + "".join(source.choices("ghjklmnop", k=12))


def count_alike(source: random.Random, memory: bytearray, requests: int, make: Callable[..., str] = make_path) -> None:
    """Have both sides go on with the same table, plain Python with the short ones later, and compare."""
    module = hot_path.load()[0]
    assert module is not None
    other, peak = bytearray(memory), START
    plain, compiled = RouteTable(memoryview(memory), START), module.Routes(memoryview(other), START)
    growth = source.choice([[0, 0, 4096], [0] * 200 + [4096]])
    notes: list[tuple[str, int]] = []
    for number in range(requests):
        path, duration, failed = make(source), int(10 ** source.uniform(0, 14)), source.random() < 0.1
        if source.random() < 0.8:
            duration %= SHORT + 1
            compiled.count(path, duration, duration, False, 0)
            notes.append((path, duration))
        else:
            peak += source.choice(growth)
            one = (path, duration, source.randrange(duration + 1), failed, source.choice([0, 0, peak]))
            if notes:
                plain.count_short(notes)
            notes.clear()
            plain.count(*one)
            compiled.count(*one)
        assert plain.watching == compiled.watching
        if number % 20 == 0 and not notes:
            plain.look(path, peak)
            compiled.look(path, peak)
    if notes:
        plain.count_short(notes)
    assert memory == other
    plain.close()
    compiled.close()
    compiled.count("/", 1, 1, False, 0)
    del compiled
    gc.collect()
    other += b"nobody holds it any more"


@needs_compiled
@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32), st.sampled_from([3, 100, 400]))
def test_the_same_requests_leave_the_same_bytes(seed: int, requests: int) -> None:
    source, memory = random.Random(seed), bytearray(ROUTES_SIZE)
    for _ in range(2):
        count_alike(source, memory, requests)


@needs_compiled
@settings(deadline=None, max_examples=5)
@given(st.integers(0, 2**32))
def test_a_flood_of_new_patterns_leaves_the_same_bytes(seed: int) -> None:
    source, memory = random.Random(seed), bytearray(ROUTES_SIZE)
    for share in (1.0, 0.9):
        count_alike(
            source, memory, 1500, lambda one, new=share: (make_new_path if one.random() < new else make_path)(one)
        )


@needs_compiled
@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32))
def test_both_go_on_with_whatever_is_there(seed: int) -> None:
    source = random.Random(seed)
    memory = bytearray(ROUTES_SIZE)
    if seed % 2:
        memory[:] = source.randbytes(ROUTES_SIZE)
        memory[USED_OFFSET : USED_OFFSET + 4] = source.randrange(2 * ENTRIES).to_bytes(4, "little")
        memory[0:8] = bytes(8)
    else:
        count_alike(source, memory, 100)
        for _ in range(source.randrange(4)):
            memory[source.randrange(4 * ENTRY.size)] = source.randrange(256)
    count_alike(source, memory, 30)


@needs_compiled
def test_memory_that_is_no_table_is_refused() -> None:
    module = hot_path.load()[0]
    assert module is not None
    for size, at in ((ROUTES_SIZE - 1, 0), (0, 0), (ROUTES_SIZE + 4, 4)):
        with pytest.raises(ValueError, match="no table"):
            module.Routes(memoryview(bytearray(size))[at:], START)
    with pytest.raises((TypeError, BufferError)):
        module.Routes(bytes(ROUTES_SIZE), START)
