"""What workers count: the buckets, the blocks, their sums."""

from __future__ import annotations

import os
import random
import struct
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm.scoreboard.buckets import BOUNDS, BUCKETS, Histogram, bucket_of, percentile
from fpm.scoreboard.layout import board_size, routes_offset, slots_end, statistics_offset
from fpm.scoreboard.memory import Scoreboard
from fpm.scoreboard.statistics import (
    CLASSES,
    HISTOGRAM_SIZE,
    HISTOGRAMS,
    HISTOGRAMS_OFFSET,
    STATISTICS_SIZE,
    Statistics,
    read_statistics,
    sum_blocks,
)

NUMBERS = CLASSES + 1 + len(HISTOGRAMS) * (1 + BUCKETS)


def block(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}Q", *numbers).ljust(STATISTICS_SIZE, b"\0")


def test_the_buckets_are_log_spaced_and_have_the_bounds_that_monitors_use() -> None:
    steps = [high / low for low, high in pairwise(BOUNDS)]
    assert min(steps) > 1.2
    assert max(steps) < 1.3
    usual = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100}
    assert usual <= {bound / 1e6 for bound in BOUNDS}


@pytest.mark.parametrize(
    ("duration", "bucket"), [(0, 0), (100, 0), (101, 1), (100_000_000, BUCKETS - 2), (100_000_001, BUCKETS - 1)]
)
def test_a_bound_belongs_to_its_bucket(duration: int, bucket: int) -> None:
    assert bucket_of(duration) == bucket


@given(st.lists(st.integers(101, 100_000_000), min_size=1, max_size=300), st.sampled_from([0.5, 0.95, 0.99]))
def test_a_percentile_is_within_its_bucket_of_the_true_one(durations: list[int], part: float) -> None:
    counts = [0] * BUCKETS
    for duration in durations:
        counts[bucket_of(duration)] += 1
    ordered = sorted(durations)
    true = ordered[min(max(-int(-part * len(ordered) // 1) - 1, 0), len(ordered) - 1)] / 1e6
    found = percentile(counts, part)
    assert found is not None
    assert true / 1.29 <= found <= true * 1.29


def test_percentiles_of_nothing_and_of_what_has_no_bound() -> None:
    assert percentile([0] * BUCKETS, 0.5) is None
    assert percentile([0] * (BUCKETS - 1) + [3], 0.5) == 100.0


def test_the_sum_of_blocks_is_that_of_their_numbers() -> None:
    made = [[random.randrange(2**40) for _ in range(NUMBERS)] for _ in range(50)]
    total = read_statistics(sum_blocks(block(*numbers) for numbers in made))
    assert total.classes == tuple(map(sum, zip(*[numbers[:CLASSES] for numbers in made], strict=True)))
    begin = HISTOGRAMS_OFFSET + HISTOGRAMS.index("queue_wait") * HISTOGRAM_SIZE
    assert total.queue_wait.total == sum(numbers[begin // 8] for numbers in made)
    assert sum_blocks([bytes(STATISTICS_SIZE)] * 3) == b""
    assert read_statistics(b"") == Statistics()


@given(st.lists(st.binary(min_size=STATISTICS_SIZE, max_size=STATISTICS_SIZE), max_size=5))
def test_any_bytes_are_read(blocks: list[bytes]) -> None:
    statistics = read_statistics(sum_blocks(blocks))
    assert all(0 <= count < 2**53 for count in (*statistics.classes, *statistics.response.counts))


def test_what_has_been_counted_since() -> None:
    former, now = read_statistics(block(1, 2, 3, 4, 5, 6)), read_statistics(block(2, 4, 6, 8, 10, 12))
    assert (now - former).classes == (1, 2, 3, 4, 5)
    assert former - now == former, "the counters have begun anew"
    assert Histogram(5) + Histogram(6) == Histogram(11)


def test_blocks_of_slots_lie_behind_the_slots() -> None:
    board = Scoreboard.create(3)
    try:
        for index in range(3):
            part = board.statistics(index)
            part[:8] = struct.pack("<Q", 10 + index)
            part.release()
        assert read_statistics(board.sum_statistics()).classes[0] == 33
        assert slots_end(3) == statistics_offset(3, 0)
        assert routes_offset(3, 3) == board_size(3)
        with board.routes(2) as table:
            assert len(table)
            assert not any(table)
    finally:
        board.close()


def test_to_read_what_nobody_has_written_takes_no_memory() -> None:
    """The kernel would give it some: half a megabyte for the statistics of each pool, and more for its routes."""
    board = Scoreboard.create(256)
    try:
        used = os.fstat(board.fd).st_blocks
        assert board.sum_everything() == b""
        assert board.copy_routes(10**6) == []
        assert os.fstat(board.fd).st_blocks == used
        for index in (1, 7, 250):  # each of which lies on two pages
            with board.statistics(index) as part:
                part[:] = block(*range(index, index + NUMBERS)).ljust(STATISTICS_SIZE, b"\0")
        used = os.fstat(board.fd).st_blocks
        total = struct.unpack_from(f"<{NUMBERS}Q", board.sum_statistics())
        assert total == tuple(3 * number + 258 for number in range(NUMBERS))
        assert os.fstat(board.fd).st_blocks == used
    finally:
        board.close()


def test_an_application_that_closes_the_scoreboard_changes_nothing_but_its_cost(tmp_path: Path) -> None:
    """Another file of its own may get the number; that one is left alone."""
    (tmp_path / "other").write_bytes(bytes(1000))
    board = Scoreboard.create(2)
    fd = os.dup(board.fd)
    attached = Scoreboard.attach(fd, 2)
    try:
        with board.statistics(1) as part:
            part[:8] = struct.pack("<Q", 3)
        os.close(fd)
        assert read_statistics(attached.sum_statistics()).classes[0] == 3
        assert os.open(tmp_path / "other", os.O_RDONLY) == fd, "the lowest that is free"
        os.lseek(fd, 10, os.SEEK_SET)
        assert read_statistics(attached.sum_statistics()).classes[0] == 3
        assert os.lseek(fd, 0, os.SEEK_CUR) == 10
        os.close(fd)
    finally:
        attached.close()
        board.close()
