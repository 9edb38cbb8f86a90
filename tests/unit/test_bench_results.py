"""What the benchmark makes of its samples: ratios, targets, tables, documents, a picture."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from bench.peers import FLOOR, PHP, PLAIN, PYFPM, UWSGI, UWSGI_FASTCGI
from bench.report.document import BEGIN, END, behind, document, figures, markdown, with_figures
from bench.report.picture import picture
from bench.report.table import amount, columns, number, rows, text
from bench.results import MEASURES, Result, Run, Spread, ratio, run_from_json, spread
from bench.targets import TARGETS, Target, verdicts

TOP = Path(__file__).parents[2]


def hello() -> Result:
    """Three rounds; in the second the machine was busy, for all alike."""
    result = Result("hello", "Hello world; 4 workers", ("cpu", "rate"))
    for busy in (1, 3, 1):
        result.add(PYFPM, cpu=30.0 * busy, rate=9000 / busy, master=0.1)
        result.add(UWSGI_FASTCGI, cpu=50.0 * busy, rate=7000 / busy)
        result.add(PHP, cpu=25.0 * busy, rate=9500 / busy)
        result.add(FLOOR, cpu=10.0 * busy, rate=20000 / busy)
    return result


def a_run() -> Run:
    return Run({"date": "2026-01-01", "machine": "2 x CPU <b>", "kernel": "Linux 6"}, [hello()])


def test_a_ratio_is_taken_round_by_round() -> None:
    assert ratio([30, 90, 30], [50, 150, 60]) == Spread(0.6, 0.5, 0.6)


def test_what_has_taken_nothing_is_no_divisor() -> None:
    assert ratio([1, 2], [0, 4]) == Spread(0.5, 0.5, 0.5)
    assert ratio([1], [0]) is None
    assert ratio([], [1]) is None


def test_a_spread_is_the_median_and_both_ends() -> None:
    assert spread([5, 1, 2]) == Spread(2, 1, 5)


@pytest.mark.parametrize(
    ("target", "met", "limit"),
    [
        (Target("hello", "cpu", 0.6, UWSGI_FASTCGI), True, 0.6),
        (Target("hello", "cpu", 0.59, UWSGI_FASTCGI), False, 0.59),
        (Target("hello", "rate", 1.2, UWSGI_FASTCGI), True, 1.2),
        (Target("hello", "rate", 1.3, UWSGI_FASTCGI), False, 1.3),
        (Target("hello", "cpu", 30.0), True, 30.0),
        (Target("hello", "cpu", 29.0), False, 29.0),
        (Target("hello", "cpu", 29.0, beyond="master"), False, 29.1),
        (Target("hello", "cpu", 29.9, beyond="master"), True, 30.0),
    ],
)
def test_a_target_is_met_by_the_median(target: Target, met: bool, limit: float) -> None:
    verdict = target.judge(hello())
    assert verdict is not None
    assert (verdict.met, verdict.limit) == (met, pytest.approx(limit))


@pytest.mark.parametrize("target", [Target("hello", "cpu", 1.0, UWSGI), Target("hello", "cpu", 1.0, UWSGI, PLAIN)])
def test_what_did_not_take_part_is_not_judged(target: Target) -> None:
    assert target.judge(hello()) is None


def test_targets_are_of_measures_that_exist() -> None:
    assert {one.measure for one in TARGETS} <= set(MEASURES)
    assert {one.beyond for one in TARGETS if one.beyond} <= set(MEASURES)


def test_a_run_comes_back_from_its_file() -> None:
    run = a_run()
    again = run_from_json(json.loads(json.dumps(run.as_json())))
    assert again == run
    assert document(again) == document(run)


@pytest.mark.parametrize(
    ("value", "shown"), [(0.123, "0.12"), (1.5, "1.50"), (15.04, "15.0"), (150.4, "150"), (12345.6, "12,346")]
)
def test_numbers_have_three_digits(value: float, shown: str) -> None:
    assert number(value) == shown


def test_many_microseconds_are_milliseconds() -> None:
    assert amount(9000, "µs") == "9,000 µs"
    assert amount(15000, "µs") == "15.0 ms"


def test_a_row_has_medians_and_what_ours_is_of_it() -> None:
    table = rows(hello())
    assert table[0] == ["", "CPU per request", "requests/s", "pyfpm is", "spread"]
    assert table[2] == ["uWSGI FastCGI", "50.0 µs", "7,000 /s", "0.60 x", "0.60..0.60"]


def test_columns_are_aligned() -> None:
    lines = columns([["", "a"], ["name", "1,000"]])
    assert lines == ["            a", "  name  1,000"]


def test_the_text_has_targets_and_notes() -> None:
    result = hello()
    result.note("flup6 does not take part")
    result.note("flup6 does not take part")
    shown = text(result)
    assert shown.count("flup6 does not take part") == 1
    assert "pyfpm / uWSGI FastCGI, CPU per request ≤ 0.75: 0.60 (0.60..0.60)  met" in shown
    assert "pyfpm / PHP-FPM, CPU per request ≤ 0.6: 1.20 (1.20..1.20)  NOT MET" in shown
    assert len(verdicts(result)) == 4


def test_where_others_are_ahead_is_said_but_for_the_floor() -> None:
    assert behind(a_run()) == ["- hello, CPU per request: PHP-FPM 25.0 µs, pyfpm 30.0 µs"]


def test_more_is_better_for_a_rate() -> None:
    result = Result("hello-64", "", ("rate",))
    result.add(PYFPM, rate=1000.0)
    result.add(UWSGI, rate=2000.0)
    assert behind(Run({}, [result])) == ["- hello-64, requests/s: uWSGI 2,000 /s, pyfpm 1,000 /s"]


def test_a_case_in_which_nobody_took_part_is_said() -> None:
    run = Run({}, [Result("hello", "Hello", ("cpu",), notes=["nobody is installed"])])
    assert "Not measured." in document(run)
    assert behind(run) == ["Nowhere in this run."]
    ET.fromstring(picture(run))


def test_the_picture_is_well_formed_and_has_a_bar_for_each() -> None:
    root = ET.fromstring(picture(a_run()))
    bars = [one for one in root.iter("{http://www.w3.org/2000/svg}rect") if one.get("x")]
    assert len(bars) == 4
    assert "2 x CPU <b>" in "".join(root.itertext())


def test_the_readme_gets_its_figures_between_the_marks() -> None:
    readme = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    written = with_figures(readme, a_run())
    assert written == f"before\n{figures(a_run())}\nafter\n"
    assert with_figures(written, a_run()) == written
    assert "| Hello world | CPU per request | uWSGI FastCGI | 0.60 |" in written
    assert with_figures("no marks", a_run()) == "no marks"


def test_a_table_for_a_document() -> None:
    assert markdown([["", "a"], ["b", "1"]]) == ["|  | a |", "| --- | ---: |", "| b | 1 |"]


def test_the_page_without_figures_is_up_to_date() -> None:
    page = (TOP / "docs" / "performance.md").read_text()
    head, _, _ = document(Run({})).partition("\nThere are no figures yet.")
    assert page.startswith(head)
