"""What has become of requests: classes of responses, timeouts, durations, wherever numbers are shown."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from fpm.events.worker import RequestTimedOut
from fpm.master.pool.history import Record
from fpm.scoreboard.buckets import BOUNDS, BUCKETS, Histogram, bucket_of
from fpm.scoreboard.number import COUNT_MAX
from fpm.scoreboard.numbers import PoolNumbers
from fpm.scoreboard.snapshot import Board, ListenQueue
from fpm.scoreboard.statistics import Statistics
from fpm.status.facts import pool_facts
from fpm.status.histograms import EXEMPLAR_MAX, FAMILIES, SHOWN
from fpm.status.metrics import render_metrics
from fpm.status.model import PoolStatus, build_status
from fpm.status.overview import SlowRequest
from fpm.status.pages import render_status
from tests.support import overviews
from tests.support.configuration import Files, section
from tests.support.looking import read_metrics
from tests.support.overviews import NOW

DURATIONS = (800, 1000, 1001, 400_000, 500_000, 99_000_000, 400_000_000)
"""Microseconds."""


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def histogram(*durations: int) -> Histogram:
    counts = [0] * BUCKETS
    for duration in durations:
        counts[bucket_of(duration)] += 1
    return Histogram(sum(durations), tuple(counts))


STATISTICS = Statistics((1, 2, 3, 4, 5), 6, histogram(*DURATIONS))


def status_of(statistics: Statistics) -> PoolStatus:
    board = Board(PoolNumbers(timeouts=7, unavailable=8), ())
    return build_status(pool="www", pm="static", board=board, queue=ListenQueue(0, 0), now=100.0, statistics=statistics)


def samples_of(statistics: Statistics) -> dict[tuple[str, ...], float]:
    """The samples of /metrics, by name and all labels but the pool's."""
    pool = replace(overviews.pool(), name='50 % "www"', status=status_of(statistics), statistics=statistics)
    samples = read_metrics(render_metrics(overviews.DAEMON, [pool]))
    return {(name, *labels[1:]): value for (name, *labels), value in samples.items()}


def test_the_numbers_are_on_the_page() -> None:
    page = json.loads(render_status(status_of(STATISTICS), "json").body)
    assert [page[f"responses {digit}xx"] for digit in range(1, 6)] == [1, 2, 3, 4, 5]
    assert (page["aborted"], page["timeouts"], page["unavailable"]) == (6, 7, 8)


def test_the_numbers_are_in_the_metrics() -> None:
    samples = samples_of(STATISTICS)
    assert samples["pyfpm_responses_total", "5xx"] == 5
    assert samples["pyfpm_aborted_requests_total",] == 6
    assert samples["pyfpm_request_timeouts_total",] == 7
    assert samples["pyfpm_unavailable_responses_total",] == 8


def test_the_numbers_stand_together_among_the_facts() -> None:
    pool = replace(overviews.pool(), status=status_of(STATISTICS))
    facts = dict(pool_facts(pool, 100.0, dates=True))
    assert facts["requests"].endswith("0 errors, 6 aborted, 7 timed out")
    assert facts["responses"] == "1xx 1, 2xx 2, 3xx 3, 4xx 4, 5xx 5, 8 because it does not start"
    assert list(facts).index("responses") == list(facts).index("requests") + 1


def test_each_bound_of_the_metrics_is_one_of_ours() -> None:
    assert {round(bound * 1e6) for bound in SHOWN} <= set(BOUNDS)


def test_a_histogram_counts_each_duration_at_its_bound_and_above() -> None:
    samples = samples_of(STATISTICS)
    for bound in SHOWN:
        expected = sum(duration <= bound * 1e6 for duration in DURATIONS)
        assert samples["pyfpm_request_duration_seconds_bucket", str(bound)] == expected
    assert samples["pyfpm_request_duration_seconds_bucket", "+Inf"] == len(DURATIONS)
    assert samples["pyfpm_request_duration_seconds_count",] == len(DURATIONS)
    assert samples["pyfpm_request_duration_seconds_sum",] == sum(DURATIONS) / 1e6


def test_the_series_of_a_pool_that_has_served_nothing_are_there() -> None:
    samples = samples_of(Statistics())
    for name, _, _ in FAMILIES:
        assert samples[f"pyfpm_{name}_bucket", "+Inf"] == samples[f"pyfpm_{name}_sum",] == 0
    assert samples["pyfpm_responses_total", "2xx"] == 0


def test_the_worst_that_a_pool_can_write_is_read_by_a_strict_parser() -> None:
    worst = Histogram(COUNT_MAX, (COUNT_MAX,) * BUCKETS)
    samples = samples_of(Statistics((COUNT_MAX,) * 5, COUNT_MAX, worst, worst, worst, worst))
    assert samples["pyfpm_request_cpu_seconds_count",] == BUCKETS * COUNT_MAX


def exemplars_of(*slow: SlowRequest) -> dict[str, tuple[dict[str, str], float, float]]:
    """The exemplars of the histogram of durations by `le`: labels, value and time."""
    pool = overviews.pool(slow=slow, statistics=STATISTICS)
    page = render_metrics(overviews.DAEMON, [pool, overviews.pool("other")], exemplars=True).decode()
    samples = [one for family in text_string_to_metric_families(page) for one in family.samples if one.exemplar]
    assert {one.name for one in samples} <= {"pyfpm_request_duration_seconds_bucket"}
    assert all(one.labels["pool"] == "shop" for one in samples)
    return {
        one.labels["le"]: (one.exemplar.labels, one.exemplar.value, float(one.exemplar.timestamp)) for one in samples
    }


def test_exemplars_are_the_newest_slow_requests_of_their_buckets() -> None:
    """A strict parser reads them."""
    found = exemplars_of(
        SlowRequest(NOW, 9, 7.0, "GET /runs", running=True),
        SlowRequest(NOW - 1, 7, 7.5, "GET /new", running=False),
        SlowRequest(NOW - 2, 7, 6.0, "GET /old", running=False),
        SlowRequest(NOW - 3, 8, 0.5, "GET /bound", running=False),
        SlowRequest(NOW - 4, 8, 400.0, "GET /" + overviews.NASTY, running=False),
    )
    assert list(found) == ["0.5", "10.0", "+Inf"]
    assert found["10.0"] == ({"pid": "7", "request": "GET /new"}, 7.5, NOW - 1)
    assert found["0.5"][0]["request"] == "GET /bound"


def test_the_labels_of_an_exemplar_are_no_longer_than_allowed() -> None:
    """The strict parser refuses what is longer."""
    labels, _, _ = exemplars_of(SlowRequest(NOW, 4_194_304, 7.0, "GET /" + '"' * 500, running=False))["10.0"]
    assert sum(len(name) + len(value) for name, value in labels.items()) == EXEMPLAR_MAX


def test_there_are_no_exemplars_unless_they_are_wanted() -> None:
    pool = overviews.pool(slow=(SlowRequest(NOW, 7, 7.0, "GET /", running=False),))
    assert b" # {" not in render_metrics(overviews.DAEMON, [pool])


def test_a_request_that_is_interrupted_and_then_ended_has_timed_out_once(files: Files) -> None:
    record = Record(files.pool(section("www")), 1.0)

    def happen(limit: str, action: str, *, again: bool = False) -> None:
        record.take(
            RequestTimedOut("a:b", "GET /", 2.0, limit, action, again=again, pool="www", pid=7)  # type: ignore[arg-type]
        )

    happen("request_terminate_timeout", "interrupting")
    happen("request_terminate_timeout", "terminating", again=True)
    assert record.values.timeouts == 1
    happen("request_terminate_timeout", "terminating")
    assert record.values.timeouts == 2
    happen("background_timeout", "terminating")
    assert record.values.timeouts == 2, "the response was complete"
