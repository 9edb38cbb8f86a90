"""The figures of `pyfpm top`: two looks, their difference, the order."""

from __future__ import annotations

import pytest

from fpm.cli.status_rows import event_lines, head_line, pool_facts, reload_line, show_text
from fpm.cli.top import SORTS
from fpm.cli.top_figures import (
    BY_KEY,
    BY_NAME,
    SORT_KEYS,
    Look,
    compare,
    pool_columns,
    sort_pools,
    sort_workers,
    totals_line,
    worker_columns,
)
from fpm.status.overview import Pool
from fpm.status.snapshot import Snapshot
from tests.support import overviews
from tests.support.overviews import NASTY


def look(at: float, *pools: Pool, cpu: dict[tuple[int, int], float] | None = None) -> Look:
    return Look(at, Snapshot(overviews.DAEMON, pools), cpu or {})


ONE = overviews.pool("one", accepted_conn=100, workers=(overviews.busy(1, "/a", 9.0), overviews.worker(2)))
TWO = overviews.pool(
    "two", accepted_conn=7, workers=(overviews.busy(3, "/b", 1.0, pss=99_000_000),), active_processes=1
)
LATER = overviews.pool("one", accepted_conn=150, workers=ONE.workers)


def test_rates_and_cpu_shares() -> None:
    before = look(10.0, ONE, TWO, cpu={(1, 5): 2.0, (2, 5): 1.0, (3, 5): 8.0})
    now = look(12.0, LATER, TWO, cpu={(1, 5): 4.0, (2, 5): 1.1, (3, 9): 0.5})
    pools, workers = compare(before, now)
    assert [row.rate for row in pools] == [25.0, 0.0]
    assert pools[0].cpu == pytest.approx(105.0)
    assert [row.cpu for row in workers] == [pytest.approx(100.0), pytest.approx(5.0), None], "3 is another process now"
    assert pools[0].oldest is not None
    assert pools[0].oldest.pid == 1


def test_the_first_look_knows_no_rates() -> None:
    pools, workers = compare(None, look(1.0, ONE, TWO, cpu={(1, 5): 2.0}))
    assert [row.rate for row in pools] == [None, None]
    assert [row.cpu for row in workers] == [None] * 3
    assert "- req/s" in totals_line(pools, (0.5, 0.25, 0.125))


def test_counters_that_begin_anew_are_no_negative_rate() -> None:
    pools, _ = compare(look(10.0, LATER), look(11.0, ONE))
    assert pools[0].rate == 0.0
    pools, _ = compare(look(10.0, ONE), look(10.0, LATER))
    assert pools[0].rate is None


def test_every_way_of_sorting() -> None:
    pools, workers = compare(look(10.0, ONE, TWO), look(11.0, LATER, TWO))
    first = {one.name: sort_pools(pools, one)[0].pool.name for one in SORT_KEYS}
    assert first == {
        "busy": "one",
        "rate": "one",
        "queue": "one",
        "cpu": "one",
        "memory": "one",
        "time": "one",
        "name": "one",
    }
    assert [row.pool.name for row in sort_pools(pools, BY_NAME["name"], upside_down=True)] == ["two", "one"]
    assert [row.worker.pid for row in sort_workers(workers, BY_NAME["time"])] == [1, 3, 2]
    assert [row.worker.pid for row in sort_workers(workers, BY_NAME["memory"])] == [3, 1, 2]
    assert [row.worker.pid for row in sort_workers(workers, BY_NAME["busy"], upside_down=True)] == [2, 1, 3]


def test_each_key_sorts_once() -> None:
    assert len(BY_KEY) == len(BY_NAME) == len(SORT_KEYS)
    assert tuple(BY_NAME) == SORTS
    assert not set(BY_KEY) & set("qwojk ")


def test_hostile_texts_never_reach_the_terminal() -> None:
    worker = overviews.busy(1, NASTY, 3.0, request_method=NASTY, user=NASTY, state=NASTY, leaving=NASTY)
    nasty = overviews.pool(
        NASTY, listen=NASTY, app=NASTY, workers=(worker,), deaths=(overviews.DEATH,), slow=overviews.busy_shop().slow
    )
    pools, workers = compare(None, look(1.0, nasty))
    columns = [*pool_columns(pools), *worker_columns(workers)]
    shown = [cell.text for column in columns for cell in column.cells]
    shown += [cell.text for _, cell in pool_facts(nasty, overviews.NOW)]
    shown += [cell.text for cell in event_lines(nasty, overviews.NOW)]
    shown += [head_line(overviews.DAEMON), reload_line(overviews.DAEMON).text]
    assert all(text.isprintable() for text in shown)
    assert len(show_text("x" * 10_000)) < 500
