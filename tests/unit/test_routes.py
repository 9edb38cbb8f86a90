"""What is counted for each route: patterns of paths, the sketch and its promises, tables that are put together."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpm.scoreboard.buckets import percentile
from fpm.scoreboard.layout import routes_offset
from fpm.scoreboard.memory import Scoreboard
from fpm.scoreboard.number import COUNT_MAX
from fpm.scoreboard.route_copy import RouteCounts, Sums, copy_table
from fpm.scoreboard.route_fold import CUT, LOOKED_AT, PATHS_MAX, TEXT_MAX, Patterns, fold_path
from fpm.scoreboard.route_table import (
    BEGINS,
    BUCKETS,
    ENTRIES,
    ENTRY,
    PLACE_AFTER,
    ROUTES_SIZE,
    SAVED_MAX,
    SHORT,
    UNIT,
    USED_OFFSET,
    WATCH,
    RouteTable,
    bucket_begin,
    bucket_of,
)
from fpm.status.overview import Route
from fpm.status.reduced import without_details
from fpm.status.routes import SHOWN, read_routes, routes_since
from tests.support import overviews
from tests.support.effort import count_steps

PIECES = st.sampled_from(
    [b"/", b"-", b".", b"_", b"1", b"23", b"a", b"ff", b"zz", b"\xc3\xa9", b"<n>", b"\0", b"x" * 70]
)
PATHS = st.lists(PIECES, max_size=60).map(b"".join) | st.binary(max_size=700)
PATTERNS = Patterns()
START = 1 << 20
"""Bytes of memory at the start."""


def make_table() -> tuple[bytearray, RouteTable]:
    memory = bytearray(ROUTES_SIZE)
    return memory, RouteTable(memoryview(memory), START)


def copied(memory: bytearray) -> bytes:
    return copy_table(memoryview(memory))


def read_entries(data: bytes) -> list[RouteCounts]:
    sums = Sums()
    sums.add(data)
    return sums.read()


def routes_of(*memories: bytearray) -> dict[str, Route]:
    return {one.route: one for one in read_routes(b"".join(map(copied, memories)))}


def letters(number: int) -> str:
    """Tell paths apart by what is not folded."""
    return "".join(chr(ord("a") + int(digit)) for digit in str(number))


@pytest.mark.parametrize(
    ("path", "pattern"),
    [
        ("/", "/"),
        ("", "/"),
        ("*", "*"),
        ("/orders/1234/items/5/", "/orders/<n>/items/<n>/"),
        ("/2024-01-05/photo_17.jpg", "/<n>-<n>-<n>/photo_<n>.jpg"),
        ("/v1/page2/h264", "/v1/page2/h264"),
        ("/a/550e8400-E29B-41d4-a716-446655440000.pdf", "/a/<uuid>.pdf"),
        ("/a/550e8400-e29b-41d4-a716-446655440000x", "/a/<hash>-e29b-41d4-a716-446655440000x"),
        ("/static/app.3f2a9c8b.js", "/static/app.<hash>.js"),
        ("/deadbeef/facade", "/deadbeef/facade"),
        ("/users/01ARZ3NDEKTSV4RRFFQ69G5FAV", "/users/<hash>"),
        ("/iPhone15ProMaxCase/somethinglong2024", "/iPhone15ProMaxCase/somethinglong2024"),
        ("/reset/" + "abcdefgh" * 4, "/reset/<hash>"),
        ("/" + "é" * 40 + "/x", "/<long>/x"),
        ("/x" * 3000, "/x" * 58 + "/..."),
        ("/" + "%" * 600, "/..."),
    ],
)
def test_what_stands_for_one_of_many_is_given_by_its_kind(path: str, pattern: str) -> None:
    assert fold_path(path.encode()) == pattern.encode()


@given(PATHS)
def test_a_pattern_is_bounded_and_its_own_pattern(path: bytes) -> None:
    pattern = fold_path(path)
    assert 0 < len(pattern) <= TEXT_MAX
    assert fold_path(pattern) == pattern


@given(st.integers(0, 2**64 - 1))
def test_a_duration_is_within_its_bucket(duration: int) -> None:
    bucket = bucket_of(duration)
    assert bucket_begin(bucket) <= duration
    assert bucket == BUCKETS - 1 or duration < bucket_begin(bucket + 1)


@given(st.lists(st.integers(64, 30_000_000), min_size=1, max_size=200))
def test_a_percentile_is_within_the_bucket_of_the_true_one(durations: list[int]) -> None:
    counts = Counter(map(bucket_of, durations))
    found = percentile([counts[bucket] for bucket in range(BUCKETS)], 0.95, BEGINS)
    assert found is not None
    bucket = bucket_of(sorted(durations)[-(-95 * len(durations) // 100) - 1])
    assert bucket_begin(bucket) / 1e6 <= found <= bucket_begin(bucket + 1) / 1e6
    assert percentile((0,) * BUCKETS, 0.95, BEGINS) is None


def test_a_route_has_its_numbers() -> None:
    memory, table = make_table()
    for number in range(100):
        table.count(f"/orders/{number}", 1000 * number, 10, number % 10 == 0, 0)
    table.count("/caf\xc3\xa9\x1b", 5, 5, False, 0)
    found = routes_of(memory)
    orders = found["/orders/<n>"]
    assert (orders.requests, orders.errors, orders.growth) == (100, 10, 0)
    assert (orders.time, orders.cpu) == (pytest.approx(4.95), pytest.approx(0.001))
    assert orders.p95 == pytest.approx(0.095, rel=0.3)
    assert found["/café\x1b"].requests == 1
    assert "" not in found


def test_growth_is_the_requests_before_which_somebody_had_looked() -> None:
    memory, table = make_table()
    table.count("/leak", 1, 1, False, START + 100)
    assert table.watching == WATCH
    table.count("/short", 1, 1, False, 0)
    table.count("/short", 1, 1, False, START + 150)  # of either of the two, so it is nobody's
    table.count("/leak", 1, 1, False, START + 350)
    table.look("/leak", START + 351)  # what it did after its response
    found = {one.text: one.numbers[4] for one in read_entries(copied(memory))}
    assert found == {b"": 50, b"/leak": 301, b"/short": 0}
    for _ in range(WATCH):
        assert table.watching
        table.count("/short", 1, 1, False, START + 351)
    assert not table.watching


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32), st.integers(200, 2000))
def test_who_weighs_much_has_an_entry(seed: int, requests: int) -> None:
    """The promises of Space-Saving: what each request weighs is the same as long as all take the same time."""
    source, counted = random.Random(seed), Counter[bytes]()
    memory, table = make_table()
    for _ in range(requests):
        name = letters(int(source.paretovariate(0.5)) % 500)
        table.count(f"/{name}", 1000, 0, False, 0)
        counted[b"/" + name.encode()] += 1
    entries = {one.text: one.numbers[0] for one in read_entries(copied(memory))}
    others = entries.pop(b"")
    bound = requests / (ENTRIES - 1)
    assert all(text in entries for text, count in counted.items() if count > bound)
    for at, (text, count) in enumerate(entries.items(), 1):  # in the order of the table
        inherited = ENTRY.unpack_from(memory, at * ENTRY.size)[2] / (2 * UNIT)
        assert count <= counted[text] <= count + inherited
        assert inherited <= bound
    assert sum(entries.values()) + others == requests


def test_who_comes_seldom_and_takes_long_has_an_entry() -> None:
    memory, table = make_table()
    for number in range(20_000):
        table.count(f"/{letters(number % 700)}", 1000, 1000, False, 0)
        if number % 1000 == 500:
            table.count("/report", 5_000_000, 4_000_000, False, 0)
    assert routes_of(memory)["/report"].requests == 20


QUICK = 50
"""Microseconds of a request that does nothing."""
MANY = 10_000


def count_quick(table: RouteTable, names: Iterable[str]) -> None:
    """Count requests that do nothing, as a worker in plain Python does."""
    waiting = [(f"/{name}", QUICK) for name in names]
    for at in range(0, len(waiting), 31):
        table.count_short(waiting[at : at + 31])


def changes(memory: bytearray) -> int:
    """Count the changes of owners that have been made."""
    return int.from_bytes(memory[:4], "little") // 2


def test_a_flood_of_new_patterns_changes_few_owners() -> None:
    """So it costs little; the sums are exact."""
    memory, table = make_table()
    count_quick(table, map(letters, range(MANY)))
    assert changes(memory) <= ENTRIES - 1 + SAVED_MAX + MANY * QUICK // PLACE_AFTER
    numbers = [one.numbers for one in read_entries(copied(memory))]
    assert [sum(column) for column in zip(*numbers, strict=True)] == [MANY, 0, MANY * QUICK, MANY * QUICK, 0]
    for number in range(10):
        table.count(f"/long-{letters(number)}", PLACE_AFTER, 0, False, 0)
        assert f"/long-{letters(number)}" in routes_of(memory), "what takes long has an entry at once"


@pytest.mark.parametrize("exponent", [0.7, 1.0, 1.5])
def test_the_heavy_ones_are_found_among_many(exponent: float) -> None:
    """Zipf's law: the n-th of all routes comes as often as the first, divided by n to the power of the exponent."""
    source, ranks = random.Random(int(10 * exponent)), range(1, 3000)
    weights = [rank**-exponent for rank in ranks]
    memory, table = make_table()
    names = source.choices([letters(rank) for rank in ranks], weights, k=MANY)
    count_quick(table, names)
    found, counted = routes_of(memory), Counter(names)
    bound = MANY / (ENTRIES - 1)
    heavy = [name for name, count in counted.items() if count > bound]
    assert all(f"/{name}" in found for name in heavy)
    assert all(found[f"/{name}"].requests <= counted[name] for name in counted if f"/{name}" in found)
    assert sum(route.requests for route in found.values()) == MANY


@pytest.mark.parametrize("before", [[], [letters(10**6 + number) for number in range(50)] * 200])
def test_who_becomes_heavy_late_is_found(before: list[str]) -> None:
    """After a flood in which nobody has had an entry, and beside 50 that have come often."""
    source = random.Random(4)
    memory, table = make_table()
    count_quick(table, before)
    count_quick(table, map(letters, range(MANY)))
    names = ["late" if source.random() < 0.04 else letters(10**5 + number) for number in range(2 * MANY)]
    count_quick(table, names)
    assert routes_of(memory)["/late"].requests > 0.8 * names.count("late")


def test_few_new_patterns_have_an_entry_at_once() -> None:
    memory, table = make_table()
    for number in range(200):
        count_quick(table, ["usual"] * 50)
        count_quick(table, [letters(number)])
        assert f"/{letters(number)}".encode() in [one.text for one in read_entries(copied(memory))]


def test_short_requests_are_counted_as_any() -> None:
    source, (one, table), (two, other) = random.Random(2), make_table(), make_table()
    notes = [(f"/{letters(source.randrange(200))}", source.randrange(SHORT + 1)) for _ in range(999)]
    table.count_short(notes)
    for path, duration in notes:
        other.count(path, duration, duration, False, 0)
    assert one == two


@given(PATHS | st.text("/v123-_0.af", max_size=50).map(str.encode))
def test_a_remembered_pattern_is_the_paths_own(path: bytes) -> None:
    assert PATTERNS[path.decode("latin-1")] == fold_path(path)


def test_what_is_remembered_is_bounded() -> None:
    patterns = Patterns()
    for number in range(3 * PATHS_MAX):
        assert patterns[f"/v{number}/{number}"] == b"/v%d/<n>" % number
        assert patterns[f"/{letters(number)}-{'x' * (number % 40)}9"]
    assert max(map(len, (patterns, patterns._kept, patterns._known))) <= PATHS_MAX


STEPS, STEPS_OF_A_FLOOD = 70, 90
"""Of the interpreter for a request's part of the table, of some 1,500 for all of it."""


@pytest.mark.parametrize(
    ("make", "steps"),
    [
        (lambda number: "list", STEPS),
        (lambda number: f"v1/orders/{number + 10000}/items", STEPS + 60),
        (lambda number: f"{letters(number + 10**6)}-{number}.html", STEPS_OF_A_FLOOD),
    ],
)
def test_a_request_costs_few_steps(make: Callable[[int], str], steps: int) -> None:
    _, table = make_table()
    count_quick(table, map(letters, range(2 * MANY)))
    count_quick(table, map(make, range(1000)))
    notes = [(f"/{make(number)}", QUICK) for number in range(1000, 1400)]
    assert count_steps(lambda: table.count_short(notes)) < steps * len(notes)


def test_the_next_worker_goes_on() -> None:
    memory, table = make_table()
    source = random.Random(1)
    for _ in range(3000):
        table.count(f"/{letters(int(source.paretovariate(0.5)) % 500)}", 1000, 0, False, 0)
    copy, former = bytearray(memory), table
    next_one = RouteTable(memoryview(copy), START)
    for _ in range(3000):
        name = f"/{letters(int(source.paretovariate(0.5)) % 500)}"
        former.count(name, 1000, 0, False, 0)
        next_one.count(name, 1000, 0, False, 0)
    assert copy == memory


@pytest.mark.parametrize(
    ("offset", "value"),
    [
        (0, 1),  # its worker has died while an entry changed its owner
        (USED_OFFSET, ENTRIES),
        (ENTRY.size + 4, TEXT_MAX + 1),
        (ENTRY.size + 4, 0),
        (ENTRY.size + 22, 1),  # of a number, the 49th bit
        (4, 1),
    ],
)
def test_a_table_that_is_not_sound_is_begun_anew(offset: int, value: int) -> None:
    memory, table = make_table()
    table.count("/a", 1, 1, False, 0)
    memory[offset] = value
    RouteTable(memoryview(memory), START).count("/b", 1, 1, False, 0)
    assert list(routes_of(memory)) == ["/b"]


@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=3 * ENTRY.size), st.integers(0, 2**32 - 1))
def test_any_bytes_can_be_read_and_gone_on_with(begin: bytes, seed: int) -> None:
    memory = bytearray(random.Random(seed).randbytes(ROUTES_SIZE))
    memory[: len(begin)] = begin
    memory[0] &= 0xFE
    memory[USED_OFFSET : USED_OFFSET + 4] = (seed % ENTRIES).to_bytes(4, "little")
    for route in read_routes(copied(memory) + begin):
        assert 0 <= route.requests <= COUNT_MAX
        assert route.p95 is None or route.p95 >= 0
    table = RouteTable(memoryview(memory), START)
    table.count("/a", 1, 1, False, 2 * START)
    assert routes_of(memory)["/a"].requests == 1


def test_the_routes_of_a_pool_are_those_of_its_slots_together() -> None:
    board = Scoreboard.create(3)
    try:
        for index in (0, 2):
            table = RouteTable(board.routes(index), START)
            for number in range(60):
                for _ in range(number + 1):
                    table.count(f"/{letters(number)}", 2000, 1000, number == 59, 0)
            table.close()
        tables = board.copy_routes(1 << 20)
        assert [len(one) for one in tables] == [61 * ENTRY.size] * 2
        assert len(board.copy_routes(61 * ENTRY.size)) == 1
    finally:
        board.close()
    routes = read_routes(b"".join(tables))
    assert len(routes) == SHOWN + 1
    assert routes[0] == Route(
        "/fj", 120, 120, pytest.approx(0.24), pytest.approx(0.12), routes[0].p95, 0, routes[0].buckets
    )
    assert [one.requests for one in routes[:SHOWN]] == [2 * number for number in range(60, 10, -1)]
    assert (routes[-1].route, routes[-1].requests) == ("", 2 * sum(range(11)))
    assert routes_offset(3, 1) - routes_offset(3, 0) == ROUTES_SIZE


def test_what_was_counted_before_can_be_left_out() -> None:
    memory, table = make_table()
    table.count("/a", 1000, 500, True, START + 10)
    table.count("/b", 1000, 500, False, 0)
    former = read_routes(copied(memory))
    for _ in range(3):
        table.count("/a", 100_000, 500, False, 0)
    now = read_routes(copied(memory))
    (route,) = routes_since(now, former)
    assert (route.route, route.requests, route.errors, route.growth) == ("/a", 3, 0, 0)
    assert route.time == pytest.approx(0.3)
    assert route.p95 == pytest.approx(0.1, rel=0.4)
    assert routes_since(former, now) == list(former)[:1], "a route that has begun anew counts in full"


def test_a_cut_path_tells_so() -> None:
    path = b"/a" * (LOOKED_AT // 2) + b"/b"
    assert fold_path(path).endswith(CUT)


def test_an_address_without_details_shows_no_routes() -> None:
    pool = overviews.pool(routes=(Route("/reset/secret", 1, 0, 0.1, 0.1, 0.1, 0),))
    assert without_details(overviews.overview(pool)).pools[0].routes == ()
