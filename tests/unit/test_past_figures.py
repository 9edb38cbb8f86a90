"""What `pyfpm status`, `pyfpm top` and the JSON say of the past."""

from __future__ import annotations

import json
from typing import Any

from fpm.cli.status_past import NOTE, NOTE_WITHOUT, lately_column, p95_column, past_note
from fpm.cli.status_rows import pool_columns, state_cell
from fpm.cli.top_figures import Sample as TopSample
from fpm.cli.top_figures import compare, pool_object
from fpm.status.overview import Pool
from fpm.status.past.figures import past_facts, past_numbers
from fpm.status.past.recent import WINDOWS, Recent, Window
from fpm.status.reports import report_pool
from fpm.status.snapshot import Snapshot
from tests.support import overviews
from tests.unit.test_past_history import served


def pool(**changes: Any) -> Pool:
    """A pool with errors since its start, and others of late."""
    covered = {60: 60.0, 300: 300.0, 3600: 420.0}
    windows = [
        Window(seconds, covered[seconds], served(seconds, micros=20_000, failures=3), seconds, 1, 2, 4)
        for seconds in WINDOWS
    ]
    values = {"recent": Recent(12.5, tuple(windows)), "rate": 12.5, "errors": 99, "slow_requests": 98}
    return overviews.pool(**{**values, **changes})


UNKNOWN = pool(recent=None, rate=None)


def test_columns_are_of_late_as_far_as_that_is_known() -> None:
    pools = [pool(), UNKNOWN]
    found = {column.head: [cell.text for cell in column.cells] for column in pool_columns(pools)}
    assert found["REQ/S"] == ["12.5", "-"]
    assert found["P95"][1] == "-"
    assert [found["ERRORS"], found["SLOW"], found["DEATHS"]] == [["1", "99"], ["2", "98"], ["4", "1"]]
    assert found["5XX"] == ["3", str(UNKNOWN.statistics.classes[4])]
    assert [cell.style for cell in lately_column("ERRORS", pools, 1).cells] == ["red", "red"]
    assert p95_column([pool()], 1).cells[0].text.endswith(" ms")
    assert (past_note(pools), past_note([UNKNOWN])) == (NOTE, NOTE_WITHOUT)


def test_a_saturated_pool_is_said_to_be() -> None:
    full = pool(idle=0, active=20, listen_queue=3)
    assert state_cell(full).text == "saturated"
    assert state_cell(pool()).text == "running"


def test_each_window_has_a_line() -> None:
    facts = dict(past_facts(pool()))
    assert facts["last minute"].startswith("1.0 req/s, p50 ")
    assert facts["last 5 minutes"].endswith(", 3 responses 5xx, 1 error, 2 slow, 4 deaths")
    assert facts["last hour"].endswith(" (of 7 min)")
    assert past_facts(UNKNOWN) == []


def test_numbers_for_programs() -> None:
    numbers = dict(past_numbers(pool()))
    assert all(isinstance(number, int) for number in numbers.values())
    assert (numbers["requests 5m"], numbers["5xx 5m"], numbers["errors 1h"], numbers["deaths 1m"]) == (300, 3, 1, 4)
    assert 15_000 < numbers["p50 5m"] <= numbers["p95 5m"] <= numbers["p99 5m"] < 26_000
    page = json.loads(report_pool(pool(), "json", full=False))
    assert page["p95 5m"] == numbers["p95 5m"]
    assert list(page).index("p95 5m") > list(page).index("accepted conn")
    assert "p95 5m" not in json.loads(report_pool(UNKNOWN, "json", full=False))


def test_top_knows_rates_from_the_first_picture_on() -> None:
    (row,), _ = compare(None, TopSample(1.0, Snapshot(overviews.DAEMON, (pool(),)), {}))
    assert row.rate == 12.5
    assert 0.015 < pool_object(row)["p95_seconds"] < 0.026
    (row,), _ = compare(None, TopSample(1.0, Snapshot(overviews.DAEMON, (UNKNOWN,)), {}))
    assert (row.rate, pool_object(row)["p95_seconds"]) == (None, None)
