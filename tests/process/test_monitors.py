"""Programs that watch PHP-FPM, unmodified, watch pyfpm; those that cannot be had are played by their raw records.

What each of them needs is in docs/monitoring.md. Every one asks a pool that has served a known number of requests.
"""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path
from urllib.request import urlopen

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_strictly
from prometheus_client.parser import text_string_to_metric_families

from tests.support import raw_fastcgi
from tests.support.fpm import Daemon, Start
from tests.support.monitors import FLUP, NODE_MODULES, PROMTOOL, Zabbix, need, prometheus, run
from tests.support.nginx import StartNginx
from tests.support.pools import free_port, wait_numbers, wait_state
from tests.support.waiting import wait_until

SERVED = 3
"""Requests to the application before the first monitor comes."""
POOL = {"pm.status_path": "/status", "ping.path": "/ping", "pm.max_children": 2}


@pytest.fixture(scope="module")
def fpm(shared_daemon: Start) -> Daemon:
    made = shared_daemon({"www": POOL})
    made.wait_workers("www", 2)
    for _ in range(SERVED):
        assert made.get("www").status == 200
    return made


@pytest.fixture
def served(fpm: Daemon) -> int:
    """How many requests the pool has served, both of whose workers are idle again."""
    return int(wait_numbers(fpm, "www", idle_processes=2)["accepted conn"])


@pytest.fixture
def port(fpm: Daemon, nginx: StartNginx) -> int:
    """An HTTP port of 127.0.0.1 whose server shows the pool."""
    number = free_port()
    nginx(
        f"listen 127.0.0.1:{number};\nlocation / {{ include fastcgi_params; fastcgi_pass unix:{fpm.address('www')}; }}"
    )
    return number


# --- over FastCGI --------------------------------------------------------------------------------------------------


def cgi_fcgi(fpm: Daemon, path: str, query: str | None = None) -> str:
    """What cgi-fcgi prints, CRLF as LF; php-fpm-healthcheck calls it like this."""
    variables = {"SCRIPT_NAME": path, "SCRIPT_FILENAME": path, "REQUEST_METHOD": "GET"}
    if query is not None:
        variables["QUERY_STRING"] = query
    done = run([need("cgi-fcgi"), "-bind", "-connect", str(fpm.address("www"))], environ=variables)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout


def test_cgi_fcgi(fpm: Daemon, served: int) -> None:
    head, _, body = cgi_fcgi(fpm, "/status", "json&full").partition("\n\n")
    assert head.splitlines()[-1] == "Content-type: application/json"
    page = json.loads(body)
    assert page["accepted conn"] == served + 1
    assert len(page["processes"]) == 2
    assert cgi_fcgi(fpm, "/ping").partition("\n\n")[2] == "pong"


def test_php_fpm_healthcheck(fpm: Daemon, served: int) -> None:
    """The probe of many containers: the first four lines are taken off (`tail -n +5`), then `grep "^key:"`."""
    rest = "\n".join(cgi_fcgi(fpm, "/status").splitlines()[4:])
    for key, value in {"pool": "www", "accepted conn": str(served + 1), "listen queue": "0"}.items():
        assert re.findall(rf"^{key}: +(.*)$", rest, re.MULTILINE) == [value]
    assert cgi_fcgi(fpm, "/status").splitlines()[4].startswith("pool:")


DATADOG = """
    import io, json, socket, sys
    from flup.client.fcgi_app import FCGIApp

    class App(FCGIApp):
        def _getConnection(self):  # the one line that Python 3 needs, as in the copy that Datadog ships
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(self._connect)
            return sock

    def get(path, query):
        def start(status, headers):
            told.append((status.decode(), {name.decode(): value.decode() for name, value in headers}))
        environ = {"REQUEST_METHOD": "GET", "SCRIPT_NAME": path, "SCRIPT_FILENAME": path, "QUERY_STRING": query,
                   "CONTENT_LENGTH": "0", "SERVER_PROTOCOL": "HTTP/1.1", "GATEWAY_INTERFACE": "CGI/1.1",
                   "wsgi.input": io.BytesIO(), "wsgi.errors": sys.stderr}
        body = b"".join(App(connect=sys.argv[1])(environ, start)).decode()
        return [*told.pop(), body]

    told = []
    print(json.dumps([get("/status", "json"), get("/ping", "")]))
"""


def test_datadog(fpm: Daemon, served: int) -> None:
    """Its check asks through flup's client, which sends an empty FCGI_DATA record, and wants CRLF."""
    need(FLUP / "flup")
    script = fpm.directory / "datadog.py"
    script.write_text(textwrap.dedent(DATADOG))
    # Old code: what Python warns of in it is not about pyfpm.
    command = [need("python3"), "-W", "ignore", str(script), str(fpm.address("www"))]
    done = run(command, environ={"PYTHONPATH": str(FLUP)})
    assert not done.stderr
    (status, headers, body), ping = json.loads(done.stdout)
    assert status == "200 OK"
    assert headers["content-type"] == "application/json"
    page = json.loads(body)
    wanted = ["accepted conn", "active processes", "idle processes", "listen queue", "max children reached"]
    assert [int(page[key]) for key in [*wanted, "total processes", "slow requests"]] == [served + 1, 1, 1, 0, 0, 2, 0]
    assert page["pool"] == "www"
    assert ping[2] == "pong"


NODE = """
    const client = require("fastcgi-client")({sockFile: process.argv[2]});
    client.on("ready", () => client.request({
        REQUEST_METHOD: "GET", SCRIPT_NAME: "/status", SCRIPT_FILENAME: "/status", QUERY_STRING: "json",
    }, (error, request) => {
        if (error) throw error;
        let text = "", errors = "";
        request.stdout.on("data", data => text += data);
        request.stderr.on("data", data => errors += data);
        request.stdout.on("end", () => {
            console.log(JSON.stringify([request.getExitStatus(), text, errors]));
            process.exit(0);
        });
        request.stdin.end();
    }));
"""


def test_node_client(fpm: Daemon, served: int) -> None:
    """It asks FCGI_GET_VALUES first and is ready only after a right answer, then keeps the connection."""
    need(NODE_MODULES / "fastcgi-client")
    script = fpm.directory / "client.js"
    script.write_text(NODE)
    done = run([need("node"), str(script), str(fpm.address("www"))], environ={"NODE_PATH": str(NODE_MODULES)})
    assert done.returncode == 0, done.stderr
    status, text, errors = json.loads(done.stdout)
    assert (status, errors) == (0, "")
    assert json.loads(text.partition("\r\n\r\n")[2])["accepted conn"] == served + 1


def test_telegraf(fpm: Daemon, served: int) -> None:
    """Its client never ends STDIN, and puts the path there; the first line of the answer must be the pool."""
    params = {"REQUEST_METHOD": "GET", "SCRIPT_NAME": "/status", "SCRIPT_FILENAME": "/status", "CONTENT_LENGTH": "0"}
    with raw_fastcgi.Wire(fpm.address("www")) as wire:
        wire.send(raw_fastcgi.begin())
        wire.send(raw_fastcgi.stream(raw_fastcgi.PARAMS, raw_fastcgi.pairs(params)))
        wire.send(raw_fastcgi.stream(raw_fastcgi.STDIN, b"/status", end=False))
        reply = wire.read_reply()
    assert reply.ended
    assert not reply.stderr
    fields = dict(line.split(":", 1) for line in reply.body.decode().splitlines())
    assert next(iter(fields)) == "pool"
    assert int(fields["accepted conn"]) == served + 1


def test_phpfpmtop(fpm: Daemon) -> None:
    """It numbers its request 0, which is the number of management records, and adds its name to the query."""
    params = raw_fastcgi.web_params("/status", query="full&json& (phpfpmtop)") | {"SCRIPT_FILENAME": "/status"}
    with raw_fastcgi.Wire(fpm.address("www")) as wire:
        wire.send(raw_fastcgi.request_bytes(params, request=0))
        reply = wire.read_reply(request=0)
    assert reply.ended
    assert not reply.stderr
    page = json.loads(reply.body)
    assert all(isinstance(process["last request memory"], int) for process in page["processes"])


def test_exporters_of_tomasens_client(fpm: Daemon) -> None:
    """hipages and bakins: a number in the first header line is taken for the status; every number is an integer."""
    query = raw_fastcgi.web_params("/status", query="json&full") | {"SCRIPT_FILENAME": "/status"}
    reply = raw_fastcgi.exchange(fpm.address("www"), query)
    name, value = reply.head[0]
    assert (name, value) == ("Expires", "Thu, 01 Jan 1970 00:00:00 GMT")
    page = json.loads(reply.body)
    numbers = {key: value for key, value in page.items() if key not in ("pool", "process manager", "processes")}
    ours = set(list(numbers)[13:])  # what stands after PHP-FPM's own keys may be of any kind
    assert all(type(value) is int for key, value in numbers.items() if key not in ours)
    for process in page["processes"]:
        assert process["state"] in ("Idle", "Running")
        assert type(process["start time"]) is int


# --- over HTTP -----------------------------------------------------------------------------------------------------


def test_zabbix(fpm: Daemon, served: int, port: int) -> None:
    zabbix = Zabbix(fpm.directory, port=port)
    values = zabbix.evaluate()
    assert len(values) == 15
    assert "php-fpm.version" not in values, "the one item that needs PHP"
    assert values["php-fpm.name"] == "www"
    assert values["php-fpm.ping"] == "1"
    assert values["php-fpm.process_manager"] == "static"
    assert int(values["php-fpm.conn_accepted.rate"]) >= served + 1
    assert (values["php-fpm.processes_active"], values["php-fpm.processes_total"]) == ("1", "2")
    # master, template, two workers: by the name in /proc/PID/comm
    assert int(zabbix.ask('proc.num["{$PHP_FPM.PROCESS_NAME}"]')) >= 4


def test_zabbix_asks_for_one_pool_of_all(looking_port: int, tmp_path: Path) -> None:
    """The macros of docs/monitoring.md."""
    values = Zabbix(tmp_path, port=looking_port, status="status/www").evaluate()
    assert len(values) == 15
    assert (values["php-fpm.name"], values["php-fpm.ping"]) == ("www", "1")
    assert values["php-fpm.conn_accepted.rate"] == str(SERVED)


def test_prometheus(fpm: Daemon, served: int, port: int) -> None:
    page = {
        "job_name": "www",
        "metrics_path": "/status",
        "params": {"openmetrics": [""]},
        "static_configs": [{"targets": [f"127.0.0.1:{port}"]}],
    }
    with prometheus(fpm.directory / "prometheus", [page]) as query:
        wait_until(lambda: query("up == 1"), message="Prometheus cannot scrape the page")
        (found,) = wait_until(lambda: query(f"phpfpm_accepted_connections > {served}"))
        assert found["metric"]["job"] == "www"
        assert query("phpfpm_total_processes")[0]["value"][1] == "2"


def test_promtool_reads_php_fpms_page(fpm: Daemon) -> None:
    """With the complaints that PHP-FPM's page has earned: counters without `_total`, and no others."""
    page = fpm.get("www", "/status", query="openmetrics").body.decode()
    done = run([need(PROMTOOL), "check", "metrics"], feed=page)
    complaints = (done.stdout + done.stderr).splitlines()
    assert done.returncode == 3
    assert len(complaints) == 6
    assert all(line.endswith('counter metrics should have "_total" suffix') for line in complaints)
    assert {family.name for family in text_string_to_metric_families(page)} >= {"phpfpm_up", "phpfpm_memory_peak"}


# --- our own metrics -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def looking_port(shared_daemon: Start) -> int:
    """The port of `[global] status_listen` of a daemon with two pools, one of which has failed."""
    number = free_port()
    made = shared_daemon(
        {"www": POOL, "bad": {"app": "broken_import:application"}},
        global_={"status_listen": f"127.0.0.1:{number}"},
        started=False,
    )
    made.expect_log("pool bad")
    made.start()
    wait_state(made, "bad", "failed")
    made.wait_workers("www", 2)
    for _ in range(SERVED):
        assert made.get("www").status == 200
    wait_numbers(made, "www", idle_processes=2)
    return number


def fetch(port: int, path: str) -> tuple[str, str]:
    """Content type and body over HTTP."""
    with urlopen(f"http://127.0.0.1:{port}{path}", timeout=20.0) as answer:
        return answer.headers["Content-Type"], answer.read().decode()


def test_strict_parsers_read_our_metrics(looking_port: int) -> None:
    content_type, page = fetch(looking_port, "/metrics")
    assert content_type == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    samples = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parse_strictly(page)
        for sample in family.samples
    }
    assert samples["pyfpm_requests_total", (("pool", "www"),)] == SERVED
    assert samples["pyfpm_workers", (("pool", "www"), ("state", "idle"))] == 2
    assert samples["pyfpm_ready", (("pool", "www"),)] == 1
    assert samples["pyfpm_failed", (("pool", "bad"),)] == 1
