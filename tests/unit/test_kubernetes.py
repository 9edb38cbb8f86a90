"""The example files for Kubernetes: right by its schemas, and in agreement with each other and with pyfpm."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from fpm.scoreboard.numbers import ROWS
from tests.support.configuration import Files

FILES = Path(__file__).parents[2] / "contrib" / "kubernetes"
VERSIONS = ("1.27", "1.30", "1.33")
"""Releases of Kubernetes by whose schemas they are judged."""
PRE_STOP = re.compile(r"^sleep (\d+); ")
SPARE = 5
"""Seconds for SIGTERM, SIGKILL and what else a stop needs after process_control_timeout."""


def read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FILES / name).read_text())
    return found


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
def pod() -> dict[str, Any]:
    found: dict[str, Any] = read("deployment.yaml")["spec"]["template"]
    return found


@pytest.fixture
def pool(pod: dict[str, Any]) -> dict[str, Any]:
    (found,) = (one for one in pod["spec"]["containers"] if one["name"] == "pool")
    return dict(found)


@pytest.fixture
def configuration() -> str:
    """The pool's file; its application is on another machine."""
    return str(read("config.yaml")["data"]["pyfpm.conf"])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", sorted(path.name for path in FILES.iterdir()))
def test_a_file_is_right_by_the_schema(name: str, version: str) -> None:
    kubernetes_validate.validate(read(name), version, strict=True)


def test_a_word_that_kubernetes_does_not_know_is_noticed() -> None:
    wrong = read("service.yaml")
    wrong["spec"]["selectors"] = wrong["spec"].pop("selector")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def test_the_files_speak_of_the_same_things(pod: dict[str, Any], pool: dict[str, Any]) -> None:
    deployment, service, scaler = read("deployment.yaml"), read("service.yaml"), read("autoscaler.yaml")
    labels = pod["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == service["spec"]["selector"] == labels
    target = scaler["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == (deployment["kind"], deployment["metadata"]["name"])
    ports = {port["name"]: port["containerPort"] for one in pod["spec"]["containers"] for port in one["ports"]}
    assert {port["targetPort"] for port in service["spec"]["ports"]} <= set(ports)
    assert f"listen {ports['http']};" in read("config.yaml")["data"]["nginx.conf"]
    volumes = {volume["name"] for volume in pod["spec"]["volumes"]}
    assert {mount["name"] for one in pod["spec"]["containers"] for mount in one["volumeMounts"]} == volumes
    (name,) = (volume["configMap"]["name"] for volume in pod["spec"]["volumes"] if "configMap" in volume)
    assert name == read("config.yaml")["metadata"]["name"]


def test_the_configuration_is_pyfpms(
    files: Files, pod: dict[str, Any], pool: dict[str, Any], configuration: str
) -> None:
    config = files.load(configuration.replace("/run/pyfpm", str(files.directory)).replace("/srv/shop", "/"))
    (shop,) = config.pools
    assert (
        f"unix:{shop.listen}".replace(str(files.directory), "/run/pyfpm") in read("config.yaml")["data"]["nginx.conf"]
    )
    ports = {port["name"]: port["containerPort"] for port in pool["ports"]}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert ports[pool[probe]["httpGet"]["port"]] == 9001
    assert "status_listen = 9001" in configuration
    assert pod["metadata"]["annotations"]["prometheus.io/port"] == "9001"
    assert pool["readinessProbe"]["httpGet"]["path"] == f"/readyz/{shop.name}"
    probe = pool["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] > shop.startup_timeout


def test_a_pod_has_the_time_that_its_requests_have(files: Files, pod: dict[str, Any], configuration: str) -> None:
    config = files.load(configuration.replace("/run/pyfpm", str(files.directory)).replace("/srv/shop", "/"))
    for container in pod["spec"]["containers"]:
        found = PRE_STOP.match(container["lifecycle"]["preStop"]["exec"]["command"][-1])
        assert found
        needed = int(found[1]) + config.global_.process_control_timeout + SPARE
        assert pod["spec"]["terminationGracePeriodSeconds"] >= needed


def test_the_autoscaler_asks_for_a_metric_that_there_is() -> None:
    (metric,) = read("autoscaler.yaml")["spec"]["metrics"]
    assert metric["pods"]["metric"]["name"] in {f"pyfpm_{row.metric.name}" for row in ROWS.values() if row.metric}
