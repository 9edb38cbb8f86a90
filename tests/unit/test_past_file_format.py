"""The file of the past: it comes back as it was, and damaged or foreign bytes are refused."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm.scoreboard.statistics import Statistics
from fpm.status.past.file_format import HEAD, pack_copy, pack_track, read_copy, read_tracks
from fpm.status.past.sample import Counted
from fpm.status.past.track import SHORTEST, Track
from tests.unit.test_past_history import START, T, sample, served, tracked

BUSY = [
    sample(
        5.0 * at,
        20 * at,
        active=at % 5,
        queue=at % 3,
        is_saturated=at > 3990,
        landmarks=replace(START, generation=1 + at // 900),
    )
    for at in range(4000)
]
END = BUSY[-1].at - T


def pack(tracks: Mapping[str, Track], number: int = 3) -> bytes:
    return pack_copy(number, {name: pack_track(track) for name, track in tracks.items()})


SMALL = pack({"shop": tracked(BUSY[:40])})


def test_the_past_comes_back() -> None:
    track = tracked(BUSY)
    copy = read_copy(pack({"shop": track, "new": Track()}) + b"what a longer copy has left")
    assert copy.number == 3
    found = read_tracks(copy)
    assert found.keys() == {"shop", "new"}
    again = found["shop"]
    assert (again.marks, again.saturated_since) == (track.marks, track.saturated_since)
    later = sample(END + 2, 20 * 3999 + 8)
    before, after = track.recent(later), again.recent(later)
    assert after.windows[2].statistics.count == after.windows[2].requests
    hour = replace(before.windows[2], covered=pytest.approx(before.windows[2].covered, rel=1e-3))
    assert after == replace(before, windows=(*before.windows[:2], hour))
    assert again.moments(T + END) == track.moments(T + END)
    assert {round(one.rate, 3) for one in again.moments(T + END)} == {4.0}
    # It goes on as if nothing had happened, and is no longer than it was.
    for one in (sample(END + 5 * at, 20 * (3999 + at)) for at in range(1, 300)):
        track.add(one)
        again.add(one)
    assert again.recent(sample(END + 1496, 20 * 4299)) == track.recent(sample(END + 1496, 20 * 4299))
    assert len(pack({"shop": again})) < 40_000


@given(st.lists(st.tuples(st.floats(0.25, 25.0), st.integers(0, 9)), min_size=1, max_size=60))
def test_nothing_is_lost_or_counted_twice(steps: list[tuple[float, int]]) -> None:
    """However short the spans are that the points cover, as where a daemon stops soon after its start."""
    track, at, requests = Track(), 0.0, 0
    for passed, more in steps:
        at, requests = at + passed, requests + more
        track.add(sample(at, requests, start=T), SHORTEST)
    again = read_tracks(read_copy(pack({"shop": track})))["shop"]
    later = sample(at, requests, start=T)
    for known, found in zip(track.recent(later).windows, again.recent(later).windows, strict=True):
        assert (found.requests, found.statistics) == (known.requests, known.statistics)
        assert found.covered == pytest.approx(known.covered, rel=1e-4, abs=1e-3)


def test_where_there_is_no_room_for_the_finest_points() -> None:
    """Those of 30 s are there, as in the file of a former version, which has no others."""
    track = tracked(BUSY)
    brief = pack_track(track, with_fine=False)
    found = read_tracks(read_copy(pack_copy(3, {"new": brief, "old": brief.replace(b', "fine": 0', b"")})))
    later = sample(END + 2, 20 * 3999 + 8)
    hour, known = track.recent(later).windows[2], track.moments(T + END)
    for again in found.values():
        moments = again.moments(T + END)
        assert len(moments) == len(known) - 120 + 600 // 30
        assert (moments[0].at, moments[-1].at) == (known[0].at, known[-1].at)
        after = again.recent(later).windows
        assert after[2] == replace(hour, covered=pytest.approx(hour.covered, rel=1e-3))
        assert after[0].requests == pytest.approx(track.recent(later).windows[0].requests, abs=120)


def test_a_former_version_leaves_the_finest_points_aside() -> None:
    """What it reads is where it always was."""
    track = tracked(BUSY)
    whole, brief = pack_track(track), pack_track(track, with_fine=False)
    assert whole.partition(b"\n")[2].startswith(brief.partition(b"\n")[2])


def test_a_long_life_is_no_obstacle() -> None:
    long = Counted(2**50, 0, 0, 0, Statistics((0, 2**50, 0, 0, 0), 0, response=served(1, micros=2**52).response))
    track = tracked([sample(0, counted=long)])
    again = read_tracks(read_copy(pack({"shop": track})))["shop"]
    assert again.base is not None
    assert again.base.counted == long


@given(st.data())
def test_damaged_bytes_are_refused(data: st.DataObject) -> None:
    whole = bytearray(SMALL)
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    try:
        copy = read_copy(bytes(whole))
    except ValueError:
        return
    assert HEAD.size - 8 <= place < HEAD.size, "the number alone can be anything"
    assert read_tracks(copy)


@pytest.mark.parametrize("data", [b"", b"x" * 100, b"\0" * 100])
def test_foreign_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"short|no history"):
        read_copy(data)


@given(st.binary(max_size=200))
def test_a_copy_with_anything_in_it_is_read_or_refused(data: bytes) -> None:
    packed = pack_copy(1, {"shop": data})
    with pytest.raises(ValueError, match=r"."):
        read_tracks(read_copy(packed))


def test_a_cut_copy_is_refused() -> None:
    with pytest.raises(ValueError, match="damaged"):
        read_copy(SMALL[:-1])


def test_there_is_a_bound() -> None:
    with pytest.raises(ValueError, match="there is room for 1000"):
        pack_copy(1, {"shop": random.Random(1).randbytes(2000)}, most=1000)
