"""The dashboard and the alerts in contrib/grafana: a real Prometheus that scrapes pyfpm understands all of them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from fpm.cli.main import cli
from tests.support.fpm import Start
from tests.support.looking import fetch, read_metrics
from tests.support.monitors import PROMTOOL, Query, need, prometheus, run
from tests.support.pools import free_port
from tests.support.waiting import wait_until

GRAFANA = Path(__file__).parents[2] / "contrib" / "grafana"
ALERTS = GRAFANA / "pyfpm-alerts.yml"
CASES = Path(__file__).parents[1] / "support" / "alert_tests.yml"
SOMETIMES = {"pyfpm_last_reload_ok", "pyfpm_last_reload_time_seconds", "pyfpm_queue_wait_seconds"}
"""Known only once there was a reload, or a queue."""


def board() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((GRAFANA / "pyfpm-dashboard.json").read_text())
    return found


def panels() -> list[dict[str, Any]]:
    """Those that show something."""
    return [panel for panel in board()["panels"] if panel["type"] != "row"]


def rules() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]
    return found


def chosen(expression: str) -> str:
    """What the dashboard asks Prometheus, with everything chosen."""
    for name, value in {"$__rate_interval": "1m", "$instance": ".*", "$pool": ".*"}.items():
        expression = expression.replace(name, value)
    assert "$" not in expression
    return expression


def names_in(text: str) -> set[str]:
    """The names of our metrics."""
    return set(re.findall(r"\bpyfpm_[a-z_]+\b", text))


def test_every_expression_finds_what_it_asks_for(daemon: Start, tmp_path: Path) -> None:
    """Also each metric that they name is on our page, in whatever state the pool is."""
    port = free_port()
    fpm = daemon({"www": {}}, global_={"status_listen": f"127.0.0.1:{port}"})
    assert fpm.get("www").status == 200

    def shown() -> set[str]:
        return {key[0] for key in read_metrics(fetch(port, "/metrics").body)}

    wait_until(lambda: "pyfpm_memory_pss_bytes" in shown())  # a helper reads it
    used = set().union(*(names_in(path.read_text()) for path in GRAFANA.iterdir()))
    assert len(used) > 25
    assert used - shown() <= SOMETIMES
    job = {"job_name": "pyfpm", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
    with prometheus(tmp_path / "prometheus", [job]) as query:
        wait_until(lambda: query("count_over_time(pyfpm_ready[1m]) > 2"), message="no scrape succeeds")
        for expression in [chosen(target["expr"]) for panel in panels() for target in panel["targets"]]:
            assert query(expression) or names_in(expression) & SOMETIMES, expression
        understood(query, [chosen(mark["expr"]) for mark in board()["annotations"]["list"]])
        understood(query, [rule["expr"] for rule in rules()])


def understood(query: Query, expressions: list[str]) -> None:
    """Ask them: nothing has happened, so none of them finds anything."""
    for expression in expressions:
        assert query(expression) == [], expression


def test_the_alerts_ring_when_they_should() -> None:
    done = run([need(PROMTOOL), "check", "rules", str(ALERTS)])
    assert done.returncode == 0, done.stdout + done.stderr
    tested = run([need(PROMTOOL), "test", "rules", str(CASES)])
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_each_alert_has_a_case_and_says_what_to_do() -> None:
    cases = yaml.safe_load(CASES.read_text())["tests"][0]
    rung = [sample["labels"] for case in cases["promql_expr_test"] for sample in case.get("exp_samples", ())]
    series = " ".join(one["series"] for one in cases["input_series"] if 'pool="fine"' in one["series"])
    for rule in rules():
        assert any(f'alertname="{rule["alert"]}"' in labels for labels in rung), rule["alert"]
        if "pool" in rule["annotations"]["summary"]:
            assert names_in(rule["expr"]) <= names_in(series), "the pool without trouble has these as well"
        commands = re.findall(r"`([^`]+)`", rule["annotations"]["description"])
        assert commands, rule["alert"]
        words = [command.split() for command in commands if command.startswith("pyfpm ")]
        assert {word for _, word, *_ in words} <= set(cli.list_commands(None))  # type: ignore[arg-type]
    assert not any('pool="fine"' in labels for labels in rung)


def test_the_dashboard_is_whole() -> None:
    everything = board()["panels"]
    assert len({panel["id"] for panel in everything}) == len(everything)
    assert all(panel["targets"][0]["expr"] for panel in panels())
    assert {panel["datasource"]["uid"] for panel in panels()} == {"${datasource}"}
    places = [
        (panel["gridPos"]["x"] + x, panel["gridPos"]["y"] + y)
        for panel in everything
        for x in range(panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["h"])
    ]
    assert len(set(places)) == len(places), "panels lie above each other"
    assert all(x < 24 for x, _ in places)
