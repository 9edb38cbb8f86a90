"""What is printed of a reload before it happens."""

from __future__ import annotations

import pytest

from fpm.cli.waiting_for import plan_words

NEW = "pool shop: new generation, code from /srv/shop"
SAME = [f"pool p{number}: unchanged" for number in range(11)]


@pytest.mark.parametrize(
    ("plan", "shown"),
    [
        ([], []),
        ([NEW, *SAME[:10]], [NEW, *SAME[:10]]),
        ([*SAME, NEW], [NEW, "11 other pools: unchanged"]),
        (SAME, ["11 pools: unchanged"]),
    ],
)
def test_many_unchanged_pools_are_counted(plan: list[str], shown: list[str]) -> None:
    assert plan_words(plan) == shown
