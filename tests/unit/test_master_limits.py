"""The limits of a pool as its page shows them: what is set, in words."""

from __future__ import annotations

from fpm.master.status.limits import NAMES, effective_limits
from tests.support.pool_model import pool_config


def test_what_is_off_is_told_of_the_limits_of_a_request_alone() -> None:
    shown = dict(effective_limits(pool_config()))
    assert shown["request_terminate_timeout"] == "off"
    assert shown["request_slowlog_timeout"] == "off"
    assert shown["startup_timeout"] == "1 min"
    assert {"pm.max_memory", "rlimit_files", "rlimit_as", "cgroup.cpu_max", "cpu_affinity"}.isdisjoint(shown)


def test_values_are_in_words() -> None:
    given = {
        "request_terminate_timeout": "90s",
        "pm.max_memory": "256M",
        "rlimit_files": "4096",
        "rlimit_as": "2G",
        "rlimit_core": "unlimited",
        "pm.background_max": "3",
    }
    shown = dict(effective_limits(pool_config(**given)))
    assert [shown[name] for name in given] == ["1 min 30 s", "256 MiB", "4096", "2.0 GiB", "unlimited", "3"]
    assert list(shown) == [name for name in NAMES if name in shown]
