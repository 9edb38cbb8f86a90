"""The example files for containers: right by the Compose specification, and in agreement with each other and pyfpm."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from fpm.config.from_options import load_options
from fpm.config.model import Config
from fpm.config.options_values import PREFIX

TOP = Path(__file__).parents[2]
FILES = TOP / "contrib" / "containers"
SCHEMA = TOP / ".venv" / "monitors" / "compose" / "compose" / "config" / "compose_spec.json"
SPARE = 5
"""Seconds for SIGTERM, SIGKILL and what else a stop needs after process_control_timeout."""


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FILES / "compose.yaml").read_text())
    return found


def instructions() -> list[tuple[str, str]]:
    """The instructions of the Containerfile: name, rest; a line that is continued is one."""
    text = re.sub(r"\\\n *", "", (FILES / "Containerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines]


def variables() -> dict[str, str]:
    (text,) = (rest for name, rest in instructions() if name == "ENV")
    return dict(word.split("=", 1) for word in shlex.split(text))


def config(directory: Path, more: dict[str, str]) -> Config:
    """What the image's variables say, with the paths of the container in a directory of the test."""
    given = {name: text for name, text in (variables() | more).items() if name.startswith(PREFIX)}
    environ = {name: text.replace("/run/pyfpm", str(directory)) for name, text in given.items()}
    found = load_options([], name=None, environ=environ | {"PYFPM_USER": "root"}, prefix="/", allow_root=True)
    assert [notice for notice in found.notices if notice.startswith(PREFIX) and "USER" not in notice] == []
    return found


def test_compose_is_right_by_the_specification() -> None:
    if not SCHEMA.exists():
        pytest.skip("docker-compose, which has the schema, could not be installed: see .ci/setup monitors")
    judge = jsonschema.Draft201909Validator(json.loads(SCHEMA.read_text()))
    judge.validate(compose())
    wrong = compose()
    wrong["services"]["shop"]["healthchek"] = wrong["services"]["shop"].pop("healthcheck")
    with pytest.raises(jsonschema.ValidationError, match="healthchek"):
        judge.validate(wrong)


def test_the_image_has_variables_that_pyfpm_knows(tmp_path: Path) -> None:
    settings = config(tmp_path, {}).global_
    (pool,) = config(tmp_path, {}).pools
    assert (settings.log_format, pool.access_format, settings.sigterm) == ("json", "json", "graceful")
    assert (settings.error_log, pool.access_log) == ("/dev/stdout", "/dev/stdout")
    image = instructions()
    assert ("STOPSIGNAL", "SIGQUIT") in image
    assert ("CMD", '["pyfpm", "run"]') in image
    (user,) = (rest for name, rest in image if name == "USER")
    assert user.partition(":")[0] != "0"
    assert [name for name, _ in image].index("USER") < [name for name, _ in image].index("ENV")


def test_compose_and_nginx_speak_of_the_same_things(tmp_path: Path) -> None:
    services = compose()["services"]
    (pool,) = config(tmp_path, services["shop"]["environment"]).pools
    assert pool.pm_max_children == 8
    assert services["shop"]["healthcheck"]["test"][-1] == pool.name
    nginx = (FILES / "nginx.conf").read_text()
    assert f"fastcgi_pass unix:{variables()['PYFPM_LISTEN']};" in nginx
    (port,) = re.findall(r"listen (\d+);", nginx)
    assert services["web"]["ports"] == [f"127.0.0.1:8080:{port}"]
    for service in services.values():
        assert "sockets:/run/pyfpm" in service["volumes"]


def test_a_container_has_the_time_that_its_requests_have(tmp_path: Path) -> None:
    needed = config(tmp_path, {}).global_.process_control_timeout + SPARE
    for service in compose()["services"].values():
        assert int(service["stop_grace_period"].removesuffix("s")) >= needed
