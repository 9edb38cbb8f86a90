"""The service under a real systemd: a small Debian that is booted once for this file."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.machine import Machine
from tests.support.service import UNIT, Service, file_text, messages
from tests.support.waiting import wait_until
from tests.support.wheel import ROOT

pytestmark = pytest.mark.root
BROKEN = {"app": "broken_import:application"}
SYSLOG_LEVELS = {"DEBUG": "7", "NOTICE": "5", "WARNING": "4", "ERROR": "3", "ALERT": "1"}


@pytest.fixture(scope="module")
def service(machine: Machine) -> Service:
    made = Service(machine)
    made.install()
    return made


def test_a_configuration_with_mistakes_is_tried_once(service: Service) -> None:
    cursor = service.cursor()
    service.configure({"www": {"pm": "statc"}})
    assert service.machine.run("systemctl", "start", UNIT).returncode != 0
    shown = service.machine.show(UNIT, "ActiveState", "Result", "ExecMainStatus", "NRestarts")
    assert shown == {"ActiveState": "failed", "Result": "exit-code", "ExecMainStatus": "78", "NRestarts": "0"}
    (entry,) = service.journal(cursor)
    assert re.match(r"pyfpm: /etc/pyfpm/pools\.d/www\.conf:\d+: \[www\] pm: .*statc", entry["MESSAGE"])
    assert entry["PRIORITY"] == "3"


def test_status_and_journal_of_a_service_with_a_failed_pool(service: Service) -> None:
    cursor = service.cursor()
    service.start({"www": {}, "bad": BROKEN})
    assert service.get("www").status == 200
    shown = service.machine.must("systemctl", "status", "--no-pager", "--lines=0", UNIT)
    assert 'Status: "Failed pools: bad"' in shown
    assert re.search(r"─\d+ \"?pyfpm: pool www", shown)
    entries = service.journal(cursor)
    assert len(entries) > 5
    for entry in entries:
        level, _, rest = entry["MESSAGE"].partition(": ")
        assert entry["PRIORITY"] == SYSLOG_LEVELS[level], entry
        assert not re.search(r"\d\d:\d\d:\d\d", rest), "the journal has the time"
        assert entry["SYSLOG_IDENTIFIER"] == "pyfpm"
    errors = [entry["MESSAGE"] for entry in entries if entry["PRIORITY"] == "3"]
    assert sum("Traceback (most recent call last)" in line for line in errors) == 1
    shown = service.machine.run("pyfpm", "logs", "-n", "1000")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert re.search(
        r"^bad error +\[.*\] ERROR: \[pool bad\]   Traceback \(most recent call last\):$", shown.stdout, re.M
    )
    refused = service.machine.run("setpriv", "--reuid=www", "--clear-groups", "pyfpm", "logs")
    assert refused.returncode == 1
    assert "journal of pyfpm.service: no permission to read the journal: call `pyfpm logs` as root" in refused.stderr


def test_a_reload_is_waited_for_and_reports_its_result(service: Service) -> None:
    service.start({"www": {}})
    master, worker = service.pid(), service.get("www").body
    service.machine.must("systemctl", "reload", UNIT)
    assert service.pid() == master
    assert service.get("www").body == worker
    cursor = service.cursor()
    shown = service.machine.path("/var/log/following")
    output = "--property=StandardOutput=file:/var/log/following"
    service.machine.must("systemd-run", "--unit=following", output, "pyfpm", "logs", "-f", "-n", "1")
    wait_until(lambda: file_text(shown), every=0.2)
    service.configure({"www": BROKEN})
    assert service.machine.run("systemctl", "reload", UNIT).returncode != 0
    wait_until(lambda: "ERROR: reload failed, nothing has changed: " in file_text(shown), every=0.2)
    service.machine.must("systemctl", "stop", "following")
    assert service.machine.show(UNIT, "ActiveState", "SubState") == {"ActiveState": "active", "SubState": "running"}
    assert service.get("www").status == 200
    assert messages(service.journal(cursor)).count("Traceback (most recent call last)") == 1


def test_logrotate_and_the_files_after_it(service: Service) -> None:
    log = service.machine.path("/var/log/pyfpm/www.access.log")
    service.start({"www": {"access.log": "/var/log/pyfpm/www.access.log"}})
    service.get("www", "/before")
    wait_until(lambda: "/before" in file_text(log))
    service.machine.must("logrotate", "--force", "/etc/logrotate.d/pyfpm")
    assert "/before" in file_text(log.with_name("www.access.log.1"))
    wait_until(log.exists)
    service.get("www", "/after")
    wait_until(lambda: "/after" in file_text(log))
    assert "/after" not in file_text(log.with_name("www.access.log.1"))


def test_the_documentation_of_the_unit_is_found(service: Service) -> None:
    page = service.machine.must("env", "MANPAGER=cat", "systemctl", "help", UNIT)
    assert "PYFPM(8)" in page
    assert "PYFPM.CONF(5)" in page


def test_a_master_that_hangs_is_replaced(service: Service) -> None:
    with service.drop_in("WatchdogSec=2\nRestartSec=0"):
        service.start({"www": {}})
        cursor, hung = service.cursor(), service.pid()
        service.machine.must("kill", "-STOP", str(hung))
        wait_until(lambda: service.pid() not in (0, hung), message=service.describe, every=0.2)
        wait_until(lambda: service.machine.show(UNIT, "ActiveState")["ActiveState"] == "active", every=0.2)
        assert "pyfpm.service: Watchdog timeout (limit 2s)!" in messages(service.journal(cursor, "init.scope"))
        said = messages(service.journal(cursor))
        assert "Fatal Python error: Aborted" in said
        assert "fpm/master/loop/loop.py" in said
        assert service.get("www").status == 200


def test_no_request_is_lost_by_a_restart_if_systemd_holds_the_socket(service: Service) -> None:
    service.configure({"www": {"app": "slow:application", "pm.max_children": 2}})
    with service.enabled("pyfpm-pool@www.socket", UNIT):
        before = service.pid()
        restarted = threading.Event()
        with ThreadPoolExecutor(4) as clients:
            replies = [clients.submit(ask_until, service, restarted.is_set) for _ in range(4)]
            try:
                service.machine.must("systemctl", "restart", UNIT)
            finally:
                restarted.set()
            statuses = [status for reply in replies for status in reply.result()]
        assert service.pid() not in (0, before)
        assert service.machine.show("pyfpm-pool@www.socket", "ActiveState")["ActiveState"] == "active"
        assert len(statuses) >= 200
        assert set(statuses) == {200}


def ask_until(service: Service, is_over: Callable[[], bool]) -> list[int]:
    """Statuses of requests of 10 ms, one after the other: 50, and more until it is over."""
    statuses = []
    while len(statuses) < 50 or not is_over():
        statuses.append(service.get("www", query="0.01").status)
    return statuses


def test_the_socket_of_systemd_outlives_a_stop_and_a_crash(service: Service) -> None:
    service.configure({"www": {}})
    with service.enabled("pyfpm-pool@www.socket"):
        assert service.get("www").status == 200, "the first request starts the service"
        service.machine.must("systemctl", "stop", UNIT)
        assert service.get("www").status == 200
        master = service.pid()
        service.machine.must("kill", "-KILL", str(master))
        wait_until(lambda: service.pid() != master, every=0.2)
        assert service.get("www").status == 200
        assert service.machine.show(UNIT, "NRestarts")["NRestarts"] == "1"


STRICT = {"seccomp": "strict", "landlock": "read /srv /usr /opt"}
SLOW = {"app": "slow:application", "request_slowlog_timeout": "100ms", "slowlog": "/var/log/pyfpm/www.slow.log"}


def lines_for_hardening() -> list[str]:
    """The directives that are comments in the unit."""
    unit = (ROOT / "contrib" / "systemd" / UNIT).read_text()
    return re.findall(r"^#([A-Z][A-Za-z]*=.*)", unit, re.MULTILINE)


def test_the_lines_for_hardening_run_with_slow_log_and_users(service: Service) -> None:
    slow, hold = service.machine.path("/var/log/pyfpm/www.slow.log"), service.machine.path("/srv/www/hold")
    with service.drop_in("\n".join(lines_for_hardening())), ThreadPoolExecutor(1) as client:
        cursor = service.cursor()
        service.start({"www": {**SLOW, "access.log": "/var/log/pyfpm/www.access.log"}, "strict": STRICT})
        hold.touch()
        try:
            reply = client.submit(service.get, "www", query="hold")
            wait_until(lambda: " application() /srv/www/slow.py:" in file_text(slow), message=service.describe)
        finally:
            hold.unlink()
        worker = reply.result().body.decode()
        assert service.machine.must("ps", "-o", "user=", "-p", worker).strip() == "www"
        assert service.get("strict").status == 200
        service.machine.must("systemctl", "reload", UNIT)
        said = service.journal(cursor)
        assert "stacks of slow requests are read by ptrace" in messages(said)
        assert "goes without" not in messages(said), "isolation = basic has all that belongs to it"
        loud = [entry["MESSAGE"] for entry in said if int(entry["PRIORITY"]) <= 4]
        assert [line for line in loud if "executing too slow" not in line] == []
        assert "Seccomp:\t2\n" in service.machine.path(f"/proc/{service.pid()}/status").read_text()
        service.stop()
        assert service.machine.show(UNIT, "Result")["Result"] == "success"


def test_the_lines_for_hardening_that_jails_can_bear(service: Service) -> None:
    lines = lines_for_hardening()
    bearable = [line for line in lines if not line.startswith(("RestrictNamespaces=", "RestrictSUIDSGID="))]
    assert 15 <= len(bearable) == len(lines) - 2
    with service.drop_in("\n".join([*bearable, "CapabilityBoundingSet=CAP_NET_ADMIN"])):
        service.start({"jail": {"isolation": "sealed"}})
        assert service.get("jail").status == 200
        assert "Failed" not in service.machine.show(UNIT, "StatusText")["StatusText"]
        service.stop()


def test_one_master_for_each_pool(service: Service) -> None:
    service.configure({"shop": {}, "blog": {"app": "echo:application"}})
    with service.enabled("pyfpm@shop.socket"):
        assert service.get("shop").status == 200
        assert service.pid("pyfpm@shop.service") != 0
        assert not service.machine.path("/run/pyfpm/blog.sock").exists()
        service.machine.must("systemctl", "start", "pyfpm@blog")
        assert service.get("blog").status == 200
        shown = service.machine.must("pyfpm", "-c", "/etc/pyfpm/pools.d/blog.conf", "status", "--format", "json")
        assert "blog" in shown
        assert "shop" not in shown
        service.machine.must("systemctl", "reload", "pyfpm@blog", "pyfpm@shop")
        cursor = service.cursor()
        service.machine.must("logrotate", "--force", "/etc/logrotate.d/pyfpm")
        for unit in ("pyfpm@blog.service", "pyfpm@shop.service"):
            wait_until(lambda unit=unit: "log file re-opened" in messages(service.journal(cursor, unit)), every=0.2)
        service.machine.must("systemctl", "stop", "pyfpm@blog")
        assert service.get("shop").status == 200


def test_pools_have_groups_below_that_of_the_unit(service: Service) -> None:
    service.start({"www": {"cgroup": "yes"}})
    group = service.machine.path(f"/sys/fs/cgroup/system.slice/{UNIT}")
    (pool,) = group.glob("pyfpm-*/pool-www")
    assert service.get("www").status == 200
    assert len((pool / "cgroup.procs").read_text().split()) == 2, "template and worker"
    service.machine.must("systemctl", "reload", UNIT)
    assert service.get("www").status == 200
    service.machine.must("systemctl", "restart", UNIT)
    assert len(list(group.glob("pyfpm-*/pool-www"))) == 1
    service.stop()
    assert not group.exists()


def test_setup_leaves_the_units_of_a_running_service_alone(service: Service) -> None:
    service.start({"www": {}})
    refused = service.machine.run("pyfpm", "setup", "--remove")
    assert refused.returncode == 1
    assert "pyfpm is running" in refused.stderr
    assert service.get("www").status == 200
    service.stop()
    removed = service.machine.must("/opt/pyfpm/bin/pyfpm", "setup", "--remove")
    assert f"remove  /usr/local/lib/systemd/system/{UNIT}\n" in removed
    assert service.machine.show(UNIT, "LoadState") == {"LoadState": "not-found"}, "systemd has been told"
    service.machine.must("/opt/pyfpm/bin/pyfpm", "setup")
    service.start({"www": {}})
    assert service.get("www").status == 200
    service.stop()
