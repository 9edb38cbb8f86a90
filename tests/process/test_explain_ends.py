"""`pyfpm explain` names what ends processes and requests, and what keeps code from serving, by file and line or pid."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.support.fpm import Daemon, Start
from tests.support.held import holding
from tests.support.pools import write_app
from tests.support.reloads import refused, write_version
from tests.support.waiting import wait_until

HANGING = """
import os, time

def connect():
    while os.path.exists("hang"):
        time.sleep(0.01)

connect()
from hello import application
"""
"""Its import waits as long as a file exists."""
BROKEN = """
def compute():
    return 1 / 0
compute()
"""
POOLS: dict[str, dict[str, Any]] = {
    "crash": {"app": "ends:application"},
    "leave": {"app": "ends:application"},
    "memory": {"app": "ends:application", "rlimit_as": "400M", "pm.max_memory_hard": "100M"},
    "leak": {"app": "ends:application", "rlimit_files": 64},
    "deploy": {"app": "deployed:application"},
    "broken": {"app": "broken_import:application"},
    "hang": {"app": "hanging:application", "startup_timeout": "9s"},
}


def explain(fpm: Daemon, pool: str, *, status: int = 1) -> str:
    """What the command prints; its exit status says whether something is wrong."""
    done = fpm.cli("explain", pool)
    assert done.returncode == status, f"{done.returncode}: {done.stdout}{done.stderr}\nthe log:\n{fpm.log()}"
    return done.stdout


def place(fpm: Daemon, app: str, code: str) -> str:
    """The line of an application that is this code, as a pattern for what `explain` says: "(ends.py:12)"."""
    lines = [line.strip() for line in (fpm.apps / f"{app}.py").read_text().splitlines()]
    return re.escape(f"({app}.py:{lines.index(code) + 1})")


def ask(fpm: Daemon, pool: str, path: str, query: str = "") -> int:
    """The pid of the pool's only worker, which then gets this request."""
    pid = int(wait_until(lambda: fpm.get(pool, "/").body))
    fpm.get(pool, path, query=query)
    return pid


def death_of(fpm: Daemon, pool: str, pid: int) -> dict[str, Any]:
    """Wait for a worker's certificate."""
    return wait_until(lambda: next((one for one in fpm.figures(pool)["deaths"] if one["pid"] == pid), {}))


def test_each_trouble_is_named(daemon: Start) -> None:
    fpm = daemon(POOLS, started=False)
    write_version(fpm, 1)
    write_app(fpm, "hanging", HANGING)
    (fpm.apps / "hang").touch()
    fpm.expect_log(r"\[pool \w+\] ")  # each of them is in trouble
    fpm.start(ready=False)
    wait_until(lambda: fpm.control.exists() and fpm.processes("template hang"))
    _an_import_hangs(fpm)
    wait_until(lambda: "crash is fine: 0 of 1 worker busy" in fpm.cli("explain", "crash").stdout)
    assert "crash is fine" in explain(fpm, "crash", status=0)
    _a_crash(fpm)
    _exits(fpm)
    _memory(fpm)
    _descriptors(fpm)
    fpm.wait_ready()
    _imports_fail(fpm)
    _a_deploy_is_refused(fpm)


def _an_import_hangs(fpm: Daemon) -> None:
    line = place(fpm, "hanging", "time.sleep(0.01)")
    (template,) = fpm.processes("template hang")
    wanted = rf"it has been starting for \d+ s, importing hanging\.connect {line}.* \(pid {template.pid}\)"
    # It may not have come so far at first; a short import is no trouble.
    found = wait_until(lambda: re.findall(f"{wanted}.*", fpm.cli("explain", "hang").stdout))
    assert "nothing serves meanwhile" in found[0]


def _a_crash(fpm: Daemon) -> None:
    pid = ask(fpm, "crash", "/crash", "a=1")
    death_of(fpm, "crash", pid)
    said = explain(fpm, "crash")
    line = place(fpm, "ends", "ctypes.string_at(0)")
    assert said.startswith("crash is failing requests: ")
    assert re.search(
        rf"^crash: worker {pid} crashed with SIGSEGV in ends\.scale {line} while it served GET /crash\?a=1 ", said, re.M
    )


def _exits(fpm: Daemon) -> None:
    pid = ask(fpm, "leave", "/leave", "3")
    death_of(fpm, "leave", pid)
    other = ask(fpm, "leave", "/exit", "4")
    fpm.get("leave", "/find", query="tea")
    fpm.get("leave", "/find", query="tea")
    fpm.get("leave", "/connect", query="1")
    fpm.get("leave", "/log", query="milk")
    fpm.wait_log("LookupError: no milk")
    said = explain(fpm, "leave")
    line = place(fpm, "ends", "os._exit(int(number))")
    wanted = rf"^exit: worker {pid} exited with code 3, as os\._exit\(\) does, in ends\.leave {line} while it served "
    assert re.search(rf"{wanted}GET /leave\?3 ", said, re.M)
    line = place(fpm, "ends", "sys.exit(int(number))")
    assert re.search(
        rf"^sys-exit: GET /exit\?4 calls sys\.exit\(4\) in ends\.give_up {line}, which ends the request, "
        rf"not the worker, by pid {other} ",
        said,
        re.M,
    )
    line = place(fpm, "ends", "return {}[number]")
    failed = r"GET /find\?tea fails with KeyError: 'tea' in ends\.find"
    wanted = rf"^exception: {failed} {line}, 2 times in .*, last by pid {other} "
    assert re.search(wanted, said, re.M)
    line = place(fpm, "ends", 'urllib.request.urlopen(f"http://127.0.0.1:{number}/")')
    refused_to = r"URLError: <urlopen error \[Errno 111\] Connection refused> \(127\.0\.0\.1:1\)"
    assert re.search(rf"^exception: GET /connect\?1 fails with \S*{refused_to} in ends\.connect {line}, ", said, re.M)
    line = place(fpm, "ends", 'raise LookupError(f"no {number}") from error')
    assert re.search(
        rf"^exception: GET /log\?milk logs LookupError: no milk in ends\.log {line}, by pid {other} ", said, re.M
    )
    assert "KeyError: 'milk'" not in said, "it has become the other one"


def _memory(fpm: Daemon) -> None:
    pid = ask(fpm, "memory", "/load", "9000")
    with holding(fpm, "/grow?150", pool="memory"):
        death_of(fpm, "memory", pid)
    said = explain(fpm, "memory")
    line = place(fpm, "ends", "KEPT.append(bytearray(int(number) << 20))")
    wanted = rf"^out-of-memory: GET /load\?9000 fails with MemoryError in ends\.load {line} because .*, by pid {pid} "
    assert re.search(wanted, said, re.M)
    line = place(fpm, "ends", "time.sleep(0.01)")
    wanted = (
        rf"^out-of-memory: worker {pid} was terminated by the master because it used more than "
        rf"pm\.max_memory_hard, at .*, in ends\.grow {line} while it served GET /grow\?150 "
    )
    assert re.search(wanted, said, re.M)


def _descriptors(fpm: Daemon) -> None:
    pid = ask(fpm, "leak", "/export", "35")
    counted = rf"worker {pid} has \d\d of 64 descriptors open: \d\d files in .*/ \(as .*/export-\w+\)"
    said = explain(fpm, "leak")
    assert said.startswith("leak needs attention: "), "before anything fails"
    assert re.search(rf"^descriptors: {counted}", said, re.M)
    assert ask(fpm, "leak", "/export", "35") == pid
    fpm.wait_log(r"\[Errno 24\]")
    said = explain(fpm, "leak")
    line = place(fpm, "ends", 'KEPT.append(tempfile.NamedTemporaryFile(prefix="export-"))  # noqa: SIM115')
    assert said.startswith("leak is failing requests: ")
    assert re.search(
        rf"^descriptors: GET /export\?35 fails with OSError: \[Errno 24\] .* in ends\.export {line} because the worker "
        rf"has no descriptor left, by pid {pid} ",
        said,
        re.M,
    )
    assert re.search(rf"^descriptors: {counted}", said, re.M)


def _imports_fail(fpm: Daemon) -> None:
    said = explain(fpm, "hang")
    line = place(fpm, "hanging", "time.sleep(0.01)")
    assert said.startswith("hang is down: its application does not start (")
    assert re.search(
        r"^does-not-start: .*, clients get 503: the application was not imported within 9 s \(startup_timeout\) in "
        rf"hanging\.connect {line}$",
        said,
        re.M,
    )
    assert "template" not in said, "its end is said already"
    said = explain(fpm, "broken")
    line = place(fpm, "broken_import", "import a_module_that_does_not_exist  # noqa: F401")
    error = r"ModuleNotFoundError: No module named 'a_module_that_does_not_exist'"
    wanted = rf"^does-not-start: .* failed starts, .*, clients get 503: {error} in broken_import\.<module> {line}$"
    assert re.search(wanted, said, re.M)


def _a_deploy_is_refused(fpm: Daemon) -> None:
    write_version(fpm, 2, BROKEN)
    refused(fpm, "deploy")
    line = place(fpm, "deployed", "return 1 / 0")
    said = explain(fpm, "deploy")
    assert said.startswith("deploy needs attention: ")
    assert re.search(
        r"^reload-failed: the last reload has failed \d+ s ago: ZeroDivisionError: division by zero in "
        rf"deployed\.compute {line}; generation 1 serves on$",
        said,
        re.M,
    )
    found = json.loads(fpm.cli("explain", "crash", "--format", "json").stdout)["findings"]
    assert "reload-failed" in [one["kind"] for one in found if one["urgency"] == "note"], "other pools are told, too"
