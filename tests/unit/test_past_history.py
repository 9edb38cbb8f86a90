"""The past of pools: points at falling resolution that add up, windows, gaps, marks; all in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm.scoreboard.buckets import BUCKETS, Histogram, bucket_of
from fpm.scoreboard.statistics import HISTOGRAMS, Statistics
from fpm.status.past.counts import COUNT_TOP, NOTHING, NUMBERS, Sums, check_counts, pack_counts
from fpm.status.past.history import History
from fpm.status.past.marks import MARKS, add_mark
from fpm.status.past.points import Row, Tier
from fpm.status.past.recent import WINDOWS, Mark, MarkKind, Moment, Recent, Window
from fpm.status.past.sample import Counted, Landmarks, Sample
from fpm.status.past.track import COARSE_POINTS, FINE_POINTS, GAP, KEPT, MIDDLE_POINTS, SHORTEST, Track
from fpm.status.snapshot import Snapshot
from tests.support import overviews

T = 1_795_000_000.0
START = Landmarks(started=T - 9000, executed=T - 9000, version="1.0", generation=1)


def served(count: int, *, micros: int = 1000, failures: int = 0) -> Statistics:
    """What has been counted after so many responses, each of the same time."""
    counts = [0] * BUCKETS
    counts[bucket_of(micros)] = count
    histogram = Histogram(count * micros, tuple(counts))
    return Statistics((0, count - failures, 0, 0, failures), 0, histogram, histogram, Histogram(), histogram)


def sample(at: float, requests: int = 0, *, start: float = T - 9000, **changes: object) -> Sample:
    """A pool at a moment, `at` seconds after T."""
    counted = Counted(requests, 0, 0, 0, served(requests) if requests else NOTHING)
    values = {"idle": 2, "active": 0, "queue": 0, "is_saturated": False, "counted": counted, "landmarks": START}
    return Sample(T + at, start, **{**values, **changes})  # type: ignore[arg-type]


def tracked(samples: Iterable[Sample]) -> Track:
    track = Track()
    for one in samples:
        track.add(one)
    return track


def window(recent: Recent, seconds: int) -> Window:
    return recent.windows[WINDOWS.index(seconds)]


# ---------------------------------------------------------------------------------------------------------- counts

NUMBER = st.integers(0, 3) | st.integers(0, COUNT_TOP)


@st.composite
def statistics(draw: st.DrawFn) -> Statistics:
    def some(size: int) -> tuple[int, ...]:
        numbers = [0] * size
        for place in draw(st.lists(st.integers(0, size - 1), max_size=6)):
            numbers[place] = draw(NUMBER)
        return tuple(numbers)

    histograms = [Histogram(draw(NUMBER), some(BUCKETS)) for _ in HISTOGRAMS]
    return Statistics(some(5), draw(NUMBER), *histograms)


@given(st.lists(statistics(), max_size=5))
def test_counts_that_are_packed_add_up_and_go_away_again(parts: list[Statistics]) -> None:
    sums = Sums()
    for part in parts:
        sums.add(check_counts(pack_counts(part)))
    found = sums.as_statistics()
    assert found.classes == tuple(sum(part.classes[at] for part in parts) for at in range(5))
    assert found.aborted == sum(part.aborted for part in parts)
    for name in HISTOGRAMS:
        histograms = [getattr(part, name) for part in parts]
        assert getattr(found, name).total == sum(one.total for one in histograms)
        assert getattr(found, name).counts == tuple(sum(one.counts[at] for one in histograms) for at in range(BUCKETS))
    for part in parts:
        sums.add(pack_counts(part), -1)
    assert sums.as_statistics() == NOTHING


@given(st.binary(max_size=80))
def test_counts_of_foreign_bytes_are_refused_or_harmless(data: bytes) -> None:
    sums = Sums()
    try:
        sums.add(check_counts(data))
    except ValueError:
        return
    assert max(sums.as_statistics().response.counts) <= COUNT_TOP


def test_nothing_costs_nothing() -> None:
    assert pack_counts(Statistics()) == b""
    assert NUMBERS <= 256


# ---------------------------------------------------------------------------------------------------------- points


@given(
    st.lists(
        st.tuples(st.floats(0.1, 40.0), st.integers(0, 500), st.integers(0, 9), st.integers(0, 600)),
        min_size=2,
        max_size=300,
    )
)
def test_points_add_up_to_what_came_in(steps: list[tuple[float, int, int, int]]) -> None:
    track, at, requests, expected, seen = Track(), 0.0, 0, 0, 0.0
    base: Sample | None = None
    most = 0
    for passed, more, active, queue in steps:
        at, requests = at + passed, requests + more
        one = sample(at, requests, active=active, queue=queue)
        if base is None or one.at - base.at >= 4.5:
            if base is not None and one.at - base.at < GAP:
                expected += requests - base.counted.requests
                seen += one.at - base.at
                most = max(most, queue)
            base = one
        track.add(one)
    moments = track.moments(T + at)
    if T + at - T < 600:  # all of it is in the finest tier still, or merged with exactly the same sums
        assert round(sum(one.rate * one.span for one in moments)) == expected
        assert sum(one.span for one in moments) == pytest.approx(seen, rel=1e-5)
    assert max((one.queue for one in moments), default=0) <= max(queue for *_, queue in steps)
    if at < 3000 and base is not None:
        hour = window(track.recent(replace(base)), 3600)
        assert (hour.requests, hour.statistics.count, hour.statistics.response.count) == (expected,) * 3
        assert hour.covered == pytest.approx(seen, rel=1e-4)


def moments_of(track: Track, now: float) -> Sequence[Moment]:
    moments = track.moments(now)
    for former, later in pairwise(moments):
        assert later.at - later.span >= former.at - 1.0, "no two points tell of the same time"
    return moments


def test_six_hours_at_falling_resolution_in_bounded_memory() -> None:
    track = tracked(sample(5.0 * at, 10 * at) for at in range(5500))
    end = 5.0 * 5499
    moments = moments_of(track, T + end)
    assert (len(track.fine), len(track.middle), len(track.coarse)) == (FINE_POINTS, MIDDLE_POINTS, COARSE_POINTS)
    assert 5.7 * 3600 < moments[-1].at - moments[0].at <= KEPT
    assert {round(one.rate, 3) for one in moments} == {2.0}
    assert {round(one.span) for one in moments} == {5, 30, 180}
    assert all(later.at - later.span == pytest.approx(former.at, abs=0.1) for former, later in pairwise(moments))
    assert moments[0].p95 == pytest.approx(0.001, rel=0.3)
    brief = track.brief_moments()
    assert len(brief) in range(60, 63)
    assert {round(one.rate, 3) for one in brief} == {2.0}


def test_merged_points_keep_the_most_busy_moment() -> None:
    loads = {at: (at % 7, at % 11) for at in range(1000)}
    track = tracked(sample(5.0 * at, at, active=busy, queue=queue) for at, (busy, queue) in loads.items())
    old = [one for one in track.moments(T + 4995) if one.span > 100]
    assert old
    assert {(one.active, one.queue) for one in old} == {(6, 10)}


def test_looks_of_people_make_no_finer_history() -> None:
    track = tracked(sample(0.5 * at, at) for at in range(100))
    assert [round(one.span, 1) for one in track.moments(T + 50)] == [4.5] * 11
    assert window(track.recent(sample(49.9, 105)), 60).requests == 105, "the newest look counts all the same"


def test_a_last_sample_says_how_long_its_news_must_wait() -> None:
    track = tracked([sample(0, 5), sample(5, 7)])
    assert track.add(sample(5.125, 7), SHORTEST) == 0.0, "it has none"
    assert track.add(sample(5.125, 9), SHORTEST) == pytest.approx(0.075)
    assert track.add(sample(5.125, 7, landmarks=replace(START, last_death=T + 5.1)), SHORTEST) > 0, "a mark"
    assert window(track.recent(sample(5.125, 7)), 60).requests == 2
    assert track.add(sample(5.25, 9), SHORTEST) == 0.0
    assert window(track.recent(sample(5.25, 9)), 60).requests == 4
    assert [round(one.span, 2) for one in track.moments(T + 6)] == [5.0, 0.25]


@pytest.mark.parametrize("second", [sample(100, 9), sample(5, 2)])
def test_a_gap_and_a_new_beginning_make_no_point(second: Sample) -> None:
    track = tracked([sample(0, 5), second])
    assert track.moments(second.at) == ()
    assert track.recent(second).rate is None
    track.add(sample(second.at - T + 5, 12, start=second.start))
    (moment,) = track.moments(second.at + 5)
    assert moment.rate == pytest.approx((12 - second.counted.requests) / 5)


@pytest.mark.parametrize("before", [[], [sample(0, 5)]])
def test_a_pool_that_has_just_begun_has_counted_from_nothing(before: list[Sample]) -> None:
    track = tracked([*before, sample(7, 20, start=T + 2)])
    (moment,) = track.moments(T + 7)
    assert (moment.span, moment.rate) == (5.0, 4.0)
    assert window(track.recent(sample(8, 23, start=T + 2)), 60).requests == 23


def test_a_clock_that_is_set_back_takes_away_what_has_not_been_yet() -> None:
    track = tracked(sample(5.0 * at, 10 * at) for at in range(400))
    track.add(sample(1000, 5000))
    assert max(one.at for one in track.moments(T + 1000)) <= T + 1000
    found = track.recent(sample(1000, 5000))
    assert window(found, 300).covered == pytest.approx(300, abs=60)
    assert window(found, 300).requests == pytest.approx(600, abs=120)


def test_windows_forget_by_time_alone() -> None:
    track = tracked(sample(5.0 * at, 10 * at) for at in range(1000))
    recent = track.recent(sample(4995, 9990))
    assert [round(one.covered) for one in recent.windows] == [60, 300, 3600]
    assert [one.requests for one in recent.windows] == [120, 600, 7200]
    assert recent.rate == pytest.approx(2.0)
    assert all(one.response_time(0.95) == pytest.approx(0.001, rel=0.3) for one in recent.windows)
    later = track.recent(sample(4995 + 400, 9990))
    assert [one.requests for one in later.windows] == [0, 0, 6420]  # a point belongs to the time of its middle
    assert later.rate is None
    assert [one.requests for one in track.recent(sample(9000, 9990)).windows] == [0, 0, 0]


def test_failures_of_the_last_five_minutes() -> None:
    counted = [Counted(at, 2 * at, 3 * at, at // 2, served(at, failures=at // 3)) for at in range(600)]
    track = tracked(sample(5.0 * at, at, counted=one) for at, one in enumerate(counted))
    found = window(track.recent(sample(5.0 * 599, counted=counted[-1])), 300)
    assert (found.requests, found.errors, found.slow, found.deaths, found.failures) == (60, 120, 180, 30, 20)


def test_saturation_has_a_beginning() -> None:
    full = [at >= 3 for at in range(10)]
    track = tracked(sample(5.0 * at, is_saturated=one) for at, one in enumerate(full))
    assert track.recent(sample(47, is_saturated=True)).saturated_since == T + 15
    assert track.recent(sample(47)).saturated_since is None
    track.add(sample(50))
    assert track.recent(sample(52, is_saturated=True)).saturated_since == T + 52


def test_any_numbers_are_kept_as_far_as_they_can_be_true() -> None:
    wild = Counted(2**53 - 1, 2**53 - 1, 2**32, 2**53, served(2**53 - 1))
    track = tracked([sample(0), sample(5, counted=wild), *(sample(10 + 5 * at, counted=wild) for at in range(2000))])
    assert [one.requests for one in track.recent(sample(10009, counted=wild)).windows] == [0, 0, 0]
    assert [one.statistics for one in track.recent(sample(10009, counted=wild)).windows] == [NOTHING] * 3


def test_a_tier_is_a_ring() -> None:
    tier = Tier(3)
    for at in range(7):
        tier.append(Row(T + at, 1.0, 1, 2, 3, 4, 5, 6, 7, 8, -1.0), b"%d" % at)
    assert [row.at - T for row in tier.rows()] == [4, 5, 6]
    assert [row.at - T for row in tier.backwards()] == [6, 5, 4]
    assert tier.counts == [b"4", b"5", b"6"]


# ----------------------------------------------------------------------------------------------------------- marks


def happened(*landmarks: Landmarks, deaths: Sequence[int] = ()) -> list[tuple[MarkKind, float, str]]:
    counts = [*deaths, *[0] * len(landmarks)]
    samples = [sample(5.0 * at, landmarks=one, counted=Counted(deaths=counts[at])) for at, one in enumerate(landmarks)]
    return [(mark.kind, mark.at - T, mark.text) for mark in tracked(samples).marks]


def test_marks_tell_what_has_happened_between_two_samples() -> None:
    begun = (MarkKind.START, -9000.0, "1.0")
    assert happened(START) == [begun]
    deployed = replace(START, generation=2, last_reload=T + 3, directory="/srv/2")
    assert happened(START, deployed, deployed) == [begun, (MarkKind.DEPLOY, 3.0, "generation 2, /srv/2")]
    refused = replace(START, last_reload=T + 3, reload_error="No module named 'x'")
    assert happened(START, refused, refused)[1:] == [(MarkKind.RELOAD_FAILED, 3.0, "No module named 'x'")]
    failed = replace(START, failed_since=T + 2, error="it exits")
    assert happened(START, failed, failed, START)[1:] == [
        (MarkKind.FAILED, 2.0, "it exits"),
        (MarkKind.RECOVERED, 15.0, ""),
    ]
    upgraded = replace(START, executed=T + 4, version="1.1")
    assert happened(START, upgraded, upgraded)[1:] == [(MarkKind.UPGRADE, 4.0, "1.1")]
    restarted = replace(START, started=T + 4, executed=T + 4)
    assert happened(START, restarted)[1:] == [(MarkKind.START, 4.0, "1.0")]


def test_deaths_of_a_minute_are_one_mark() -> None:
    dead = [replace(START, last_death=T + 5.0 * at, death_status=9) for at in range(1, 4)]
    assert happened(START, dead[0], deaths=[0, 1])[1:] == [(MarkKind.DEATH, 5.0, "on signal 9 (SIGKILL)")]
    assert happened(START, dead[0], deaths=[0, 3])[1][2] == "3 deaths, the last one on signal 9 (SIGKILL)"
    assert [kind for kind, *_ in happened(START, *dead, deaths=[0, 1, 2, 3])] == [MarkKind.START, MarkKind.DEATH]


def test_marks_are_bounded_and_keep_the_deploys() -> None:
    marks: list[Mark] = []
    add_mark(marks, Mark(T, MarkKind.DEPLOY))
    for at in range(200):
        add_mark(marks, Mark(T + 100.0 * at, MarkKind.DEATH, "x"))
    assert len(marks) == MARKS
    assert marks[0].kind is MarkKind.DEPLOY


def test_a_new_pool_of_an_old_daemon_is_a_deploy() -> None:
    assert [mark.kind for mark in tracked([sample(0, start=T - 3)]).marks] == [MarkKind.DEPLOY]


# ------------------------------------------------------------------------------------------------------- all pools


def snapshot(at: float, *names: str) -> Snapshot:
    pools = tuple(overviews.pool(name, recent=None) for name in names)
    return Snapshot(replace(overviews.DAEMON, now=T + at, started=T - 100), pools)


def test_history_knows_whether_it_has_gone_on() -> None:
    history = History()
    for at, has_news in ((0, True), (3, False), (5, True)):
        history.has_news = False
        history.add(snapshot(at, "www", "shop"))
        assert history.has_news is has_news


def test_history_forgets_pools_that_are_gone() -> None:
    history = History()
    history.add(snapshot(0, "www", "shop"))
    history.add(snapshot(5, "shop"))
    assert set(history.tracks) == {"shop"}
    gone = history.complete(overviews.pool("www", recent=None), overviews.DAEMON)
    assert gone.recent is None
    known = history.complete(overviews.pool("shop"), replace(overviews.DAEMON, now=T + 6))
    assert known.recent is not None
    assert known.rate == 0.0
    assert [len(known.history), known.numbers.queue_wait] == [1, 0]
    assert [mark.kind for mark in known.marks] == [MarkKind.START]
