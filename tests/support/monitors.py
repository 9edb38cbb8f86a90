"""Programs that watch PHP-FPM, as they are found by `.ci/setup wanted` and `.ci/setup monitors`."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
import yaml

from tests.support.pools import free_port
from tests.support.processes import Child, spawn_logged

UNPACKED = Path(__file__).parents[2] / ".venv" / "monitors"
PROMETHEUS = UNPACKED / "prometheus" / "usr" / "bin" / "prometheus"
PROMTOOL = PROMETHEUS.with_name("promtool")
FLUP = UNPACKED / "flup"
NODE_MODULES = UNPACKED / "npm" / "node_modules"
ZABBIX_TEMPLATE = "usr/share/doc/zabbix-frontend-php/templates/app/php-fpm_agent/template_app_php-fpm_agent.yaml"
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


Query = Callable[[str], list[dict[str, Any]]]
"""Asks a Prometheus for an expression: the vector, empty if there is nothing (yet)."""


def need(what: str | Path) -> str:
    """The path of a program or file; the test is skipped if this machine has not got it."""
    found = shutil.which(what, path=PATH) if isinstance(what, str) else what.exists() and str(what)
    if not found:
        pytest.skip(f"{what} is not there (.ci/setup wanted, .ci/setup monitors; make test does both)")
    return found


def run(
    command: Sequence[str], *, environ: dict[str, str] | None = None, feed: str = "", timeout: float = 60.0
) -> subprocess.CompletedProcess[str]:
    """Run a monitor to its end."""
    variables = {"PATH": PATH, "LC_ALL": "C", **(environ or {})}
    return subprocess.run(
        command, env=variables, input=feed, capture_output=True, text=True, timeout=timeout, check=False
    )


@contextmanager
def prometheus(directory: Path, jobs: Sequence[Mapping[str, Any]]) -> Iterator[Query]:
    """A Prometheus with these scrape_configs, twice a second; the value asks it for an expression."""
    directory.mkdir()
    port = free_port()
    configuration = directory / "prometheus.yml"
    timing = {"scrape_interval": "500ms", "scrape_timeout": "500ms"}
    configuration.write_text(yaml.safe_dump({"global": timing, "scrape_configs": [dict(job) for job in jobs]}))
    command = [
        need(PROMETHEUS),
        f"--config.file={configuration}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    log = directory / "log"
    process = Child(spawn_logged(command, {"PATH": PATH}, log))

    def query(expression: str) -> list[dict[str, Any]]:
        assert process.alive(), log.read_text()
        address = f"http://127.0.0.1:{port}/api/v1/query?" + urlencode({"query": expression})
        try:
            with urlopen(address, timeout=60.0) as answer:
                found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        except HTTPError as error:
            if error.code != HTTPStatus.SERVICE_UNAVAILABLE:
                raise AssertionError(f"{expression}: {error.read().decode()}") from error
            return []
        except URLError:
            return []  # not listening yet, or not ready
        return found

    try:
        yield query
    finally:
        process.signal(signal.SIGTERM)
        if process.wait(10.0) is None:
            process.signal(signal.SIGKILL)
            process.wait(10.0)


class Zabbix:
    """The template "PHP-FPM by Zabbix agent", evaluated as Zabbix's server does it, with a real agent asking."""

    def __init__(self, directory: Path, *, port: int, status: str = "status") -> None:
        self.agent = need("zabbix_agentd")
        document = yaml.safe_load(Path(need(UNPACKED / "zabbix" / ZABBIX_TEMPLATE)).read_text())
        template = document["zabbix_export"]["templates"][0]
        self.items: list[dict[str, Any]] = template["items"]
        self.macros = {macro["macro"]: macro.get("value", "") for macro in template["macros"]}
        self.macros |= {"{$PHP_FPM.PORT}": str(port), "{$PHP_FPM.HOST}": "127.0.0.1"}
        self.macros |= {"{$PHP_FPM.PROCESS_NAME}": "pyfpm", "{$PHP_FPM.STATUS.PAGE}": status}
        self.configuration = directory / "zabbix_agentd.conf"
        self.configuration.write_text(f"Server=127.0.0.1\nLogType=console\nPidFile={directory}/zabbix.pid\n")

    def ask(self, key: str) -> str:
        """What the agent answers for a key of the template."""
        done = run([self.agent, "-c", str(self.configuration), "-t", self._fill(key)])
        found = re.search(r"\[(?:s|t|u|d)\|(.*)\]\s*$", done.stdout, re.DOTALL)
        assert found, f"{key}: {done.stdout}{done.stderr}"
        return found[1]

    def evaluate(self) -> dict[str, str]:
        """The values of all dependent items, by key; items about rates and changes give the value they start from."""
        masters: dict[str, str] = {}
        values = {}
        for item in self.items:
            if item.get("type") == "DEPENDENT":
                key = item["master_item"]["key"]
                if key not in masters:
                    (master,) = (one for one in self.items if one["key"] == key)
                    masters[key] = self._preprocess(master, self.ask(key)) or ""
                value = self._preprocess(item, masters[key])
                if value is not None:
                    values[item["key"]] = value
        return values

    def _fill(self, text: str) -> str:
        for macro, value in self.macros.items():
            text = text.replace(macro, value)
        return text

    def _preprocess(self, item: dict[str, Any], value: str) -> str | None:
        """The value after the item's steps; None if it is to be discarded."""
        for step in item.get("preprocessing", ()):
            parameters = [self._fill(str(parameter)) for parameter in step["parameters"]]
            if step["type"] == "JSONPATH":
                found = re.fullmatch(r"\$\.(?:\['(.+)'\]|(\w+))", parameters[0])
                assert found, parameters
                value = str(json.loads(value)[found[1] or found[2]])
            elif step["type"] == "REGEX":
                matched = re.search(parameters[0], value)
                if matched:
                    value = re.sub(r"\\(\d)", lambda group, m=matched: m[int(group[1])], parameters[1])
                elif step.get("error_handler") == "DISCARD_VALUE":
                    return None
                else:
                    assert step.get("error_handler"), f"{item['key']}: {parameters[0]} is not in {value!r}"
                    value = str(step.get("error_handler_params", ""))
            else:
                assert step["type"] in ("CHANGE_PER_SECOND", "SIMPLE_CHANGE", "DISCARD_UNCHANGED_HEARTBEAT"), step
        return value
