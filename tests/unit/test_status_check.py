"""`pyfpm status --check`: thresholds, what is in order, and the one line of a plugin."""

from __future__ import annotations

import re

import pytest

from fpm.cli.check_status import local_lines, numbers_of, plugin_line
from fpm.status.alarm import MEASURES, Reading, State, Verdict, judge_pool, parse_limits, worst_first
from fpm.status.thresholds import parse_range

DEFAULT = parse_limits((), ())
FINE = {
    "accepted conn": 1234,
    "listen queue": 0,
    "listen queue len": 511,
    "active processes": 2,
    "idle processes": 3,
    "children limit": 5,
    "busy percent": 40,
    "background oldest": 0,
    "failed": 0,
    "requests 5m": 100,
    "5xx 5m": 1,
    "errors 5m": 10,
    "deaths 5m": 0,
    "p95 5m": 120000,
}
VALUE = r"(?:U|-?\d+(?:\.\d+)?(?:%|s|c)?)"
RANGE = r"(?:@?(?:~|-?[\d.]+)?:?(?:-?[\d.]+)?)?"
PERFORMANCE = re.compile(rf"(?:'[^'=]+'|[^' =]+)={VALUE};{RANGE};{RANGE};(?:-?[\d.]+)?(?:;(?:-?[\d.]+)?)?")
"""Monitoring Plugins Development Guidelines, section 2.6."""


def judged(name: str = "shop", *, state: str = "", warning: tuple[str, ...] = (), **changed: float) -> Verdict:
    values = FINE | {key.replace("_", " "): value for key, value in changed.items()}
    return judge_pool(Reading(name, state, values), parse_limits(warning, ()))


@pytest.mark.parametrize(
    ("text", "alerts", "fine"),
    [
        ("10", [-0.1, 10.1], [0, 10]),
        ("10:", [9.9, -1], [10, 1e12]),
        ("~:10", [10.1], [-1e12, 10]),
        ("10:20", [9.9, 20.1], [10, 20]),
        ("@10:20", [10, 15, 20], [9.9, 20.1]),
        ("-5:-1.5", [0, -5.1], [-5, -1.5]),
        ("~:", [], [-1e12, 1e12]),
    ],
)
def test_ranges(text: str, alerts: list[float], fine: list[float]) -> None:
    """The table of the guidelines."""
    found = parse_range(text)
    assert [found.alerts(value) for value in alerts] == [True] * len(alerts)
    assert [found.alerts(value) for value in fine] == [False] * len(fine)


def test_short_times_are_shown() -> None:
    verdict = judged(p95_5m=203, warning=("p95=0.0001",))
    assert (verdict.state, list(verdict.reasons)) == (State.WARNING, ["p95 is 0.000203 s"])
    assert " 'shop p95'=0.000203s;;;0; " in plugin_line([verdict], DEFAULT, is_one=False)


@pytest.mark.parametrize("text", ["", "@", "x", "20:10", "1:2:3", "1.2.3", "~", "10%", ":.", "nan", "1e3"])
def test_no_ranges(text: str) -> None:
    with pytest.raises(ValueError, match="is no range"):
        parse_range(text)


@pytest.mark.parametrize("text", ["busy", "load=3", "=3", "busy=x"])
def test_no_thresholds(text: str) -> None:
    with pytest.raises(ValueError, match="is no"):
        parse_limits([text], ())


def test_a_pool_in_order() -> None:
    assert judged().state is State.OK
    assert judged(requests_5m=3, **{"5xx 5m": 1}).state is State.OK, "one of three is no share"


@pytest.mark.parametrize(
    ("changed", "state", "reason"),
    [
        ({"failed": 1}, State.CRITICAL, "its application does not start"),
        ({"state": "failed"}, State.CRITICAL, "is failed"),
        ({"state": "starting"}, State.WARNING, "is starting"),
        (
            {"active_processes": 5, "idle_processes": 0, "listen_queue": 7},
            State.WARNING,
            "saturated: all 5 workers busy, 7 requests wait",
        ),
        ({"5xx 5m": 6}, State.WARNING, "6 % of its responses are 5xx"),
        ({"5xx 5m": 21}, State.CRITICAL, "21 % of its responses are 5xx"),
        (
            {"requests_5m": 6, "5xx 5m": 6},
            State.CRITICAL,
            "30 % of its responses are 5xx (6 of 6, which count as 20)",
        ),
        ({"deaths_5m": 1}, State.WARNING, "workers that died in 5 minutes: 1"),
        ({"warning": ("p95=0.1",)}, State.WARNING, "p95 is 0.12 s"),
        ({"warning": ("errors=1",)}, State.WARNING, "exceptions a minute: 2"),
        ({"warning": ("queue=10:",)}, State.WARNING, "waiting requests: 0"),
        ({"warning": ("background=60",), "background_oldest": 61}, State.WARNING, "has gone on for 61 s"),
    ],
)
def test_a_pool_that_is_not(changed: dict[str, object], state: State, reason: str) -> None:
    verdict = judged(**changed)  # type: ignore[arg-type]
    assert verdict.state is state
    assert len(verdict.reasons) == 1
    assert reason in verdict.reasons[0]


def test_defaults_can_be_replaced() -> None:
    assert judged(warning=("deaths=~:",), deaths_5m=3).state is State.OK


def test_what_is_not_known_is_no_alarm() -> None:
    verdict = judge_pool(Reading("shop", "", {"listen queue": 0}), parse_limits(["p95=1"], ["5xx=1"]))
    assert verdict.state is State.OK
    assert " p95=U;;;0; 5xx=U;5;20;0;100 " in plugin_line([verdict], DEFAULT, is_one=True)


def test_the_line_of_one_pool() -> None:
    text, _, data = plugin_line([judged()], DEFAULT, is_one=True).partition(" | ")
    assert text == "PYFPM OK: pool shop in order, 2 of 5 workers busy, p95 0.12 s"
    assert data.split() == [
        "busy=40%;;;0;100",
        "queue=0;;;0;511",
        "p95=0.12s;;;0;",
        "5xx=1%;5;20;0;100",
        "errors=2;;;0;",
        "deaths=0;0;;0;",
        "background=0s;;;0;",
        "requests=1234c;;;0",
    ]


def test_the_worst_comes_first_and_the_others_are_counted() -> None:
    verdicts = worst_first([judged("a"), judged("b", deaths_5m=1), judged("c", failed=1), judged("d")])
    line = plugin_line(verdicts, DEFAULT, is_one=False)
    assert line.startswith(
        "PYFPM CRITICAL: pool c: its application does not start (pyfpm explain c); "
        "pool b: workers that died in 5 minutes: 1 (pyfpm explain b); 2 pools in order | "
        "pools=4;;;0 warning=1;;;0;4 critical=1;;;0;4 'c busy'="
    )


@pytest.mark.parametrize("count", [0, 1, 2, 20, 500])
@pytest.mark.parametrize("name", ["shop", "a b", "o'clock=|5", "x\ny|z", "ü"])
def test_every_line_is_what_a_monitor_reads(count: int, name: str) -> None:
    verdicts = [judged(f"{name}{number}", failed=number % 2) for number in range(count)]
    line = plugin_line(verdicts, DEFAULT, is_one=False)
    assert "\n" not in line
    assert line.count("|") == 1
    assert len(line) < 8192
    data = line.partition(" | ")[2]
    found = re.findall(rf"{PERFORMANCE.pattern}(?= |$)", data)
    assert " ".join(found) == data
    assert len({part.partition("=")[0] for part in found}) == len(found)


def test_a_local_check_of_checkmk() -> None:
    lines = local_lines([judged("shop", failed=1), judged('b"|log')], DEFAULT, is_one=False).splitlines()
    metrics = "busy=40|queue=0|p95=0.12|5xx=1;5;20|errors=2|deaths=0;0|background=0"
    assert lines == [
        f'2 "pyfpm shop" {metrics} its application does not start (pyfpm explain shop)',
        f'0 "pyfpm b__log" {metrics} pool b"_log in order, 2 of 5 workers busy, p95 0.12 s',
    ]


def test_only_numbers_of_a_page_are_believed() -> None:
    page = {"pool": "x", "a": 1, "b": 2.5, "c": "3", "d": True, "e": None, "f": [1], "g": float("inf"), "h": 10**400}
    assert numbers_of(page) == {"a": 1, "b": 2.5}


def test_each_measure_has_a_value_where_all_is_known() -> None:
    assert all(measure.of(FINE) is not None for measure in MEASURES.values())
