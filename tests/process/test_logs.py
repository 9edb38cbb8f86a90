"""What workers write, where it goes, and that it never holds a worker up; the access log of a pool."""

from __future__ import annotations

import os
import re
import signal

from tests.support.fpm import Daemon, Start
from tests.support.pools import clients, together, write_app
from tests.support.waiting import wait_until

PRINTER = """
import os, sys

def application(environ, start_response):
    way = environ["PATH_INFO"].strip("/")
    if way == "lines":
        for number in range(100):
            print(f"line {number} " + "." * 50)
    elif way == "long":
        print("y" * 3000)
    elif way == "control":
        print("\\x1b[31m red \\x00 \\x07 \\r back", file=sys.stderr)
    elif way == "split":
        for piece in ("one ", "line ", "in pieces\\n"):
            os.write(1, piece.encode())
    elif way == "open":
        os.write(2, b"no end of line")
    elif way == "megabytes":
        for number in range(100000):
            print("m" * 99)
    elif way == "errors":
        environ["wsgi.errors"].write("by wsgi.errors\\n")
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Kind", way if way.isalpha() else "none")])
    return [b"printed"]
"""


def started(daemon: Start, pools: dict[str, dict[str, object]], **global_: object) -> Daemon:
    """A daemon whose pools run PRINTER."""
    fpm = daemon(
        {name: {"app": "printer:application", **settings} for name, settings in pools.items()},
        global_=global_,
        started=False,
    )
    write_app(fpm, "printer", PRINTER)
    fpm.expect_log("said into")
    return fpm.start()


def test_whole_lines_with_their_origin(daemon: Start) -> None:
    fpm = started(daemon, {"www": {"pm.max_children": 2}})
    together(6, lambda _: fpm.get("www", "/lines"))
    wait_until(lambda: fpm.log().count("said into stdout") == 600)
    pattern = r'\[[^]]+\] WARNING: \[pool www\] child (\d+) said into stdout: "line (\d+) \.{50}"'
    found = re.findall(pattern, fpm.log())
    assert len(found) == 600
    for worker in fpm.workers("www"):
        numbers = [int(number) for pid, number in found if int(pid) == worker]
        assert numbers == list(range(100)) * (len(numbers) // 100)
    fpm.get("www", "/split")
    fpm.wait_log(r'said into stdout: "one line in pieces"')
    fpm.get("www", "/errors")
    fpm.wait_log(r'child \d+ said into stderr: "by wsgi.errors"')
    fpm.get("www", "/control")
    fpm.wait_log(r'said into stderr: "\\x1b\[31m red \\x00 \\x07 \\x0d back"')


def test_long_lines_are_wrapped_at_log_limit(daemon: Start) -> None:
    fpm = started(daemon, {"www": {}}, log_limit=512)
    fpm.get("www", "/long")
    wait_until(lambda: sum(map(len, re.findall(r'"(y+)"', fpm.log()))) == 3000)
    lines = [line for line in fpm.log().splitlines() if "yyy" in line]
    assert len(lines) > 6
    assert all(len(line) <= 512 for line in lines)
    assert all(len(line) > 450 for line in lines[:-1])


def test_line_left_open_by_a_dead_worker(daemon: Start) -> None:
    fpm = started(daemon, {"www": {}})
    fpm.get("www", "/open")
    (worker,) = fpm.workers("www")
    fpm.expect_log("exited on signal 9")
    os.kill(worker, signal.SIGKILL)
    fpm.wait_log(rf'child {worker} said into stderr: "no end of line", pipe is closed$')


def test_undecorated_and_uncaught(daemon: Start) -> None:
    fpm = started(daemon, {"raw": {"decorate_workers_output": False}, "off": {"catch_workers_output": False}})
    for pool in ("raw", "off"):
        assert fpm.get(pool, "/lines").status == 200
    wait_until(lambda: "line 99 " in fpm.log())
    lines = [line for line in fpm.log().splitlines() if "line " in line]
    assert lines == [f"line {number} " + "." * 50 for number in range(100)]


def test_master_that_does_not_read_holds_nobody_up(daemon: Start) -> None:
    fpm = started(daemon, {"www": {}})
    fpm.signal(signal.SIGSTOP)
    try:
        assert fpm.get("www", "/megabytes").body == b"printed"
        assert fpm.get("www", "/lines").body == b"printed"
    finally:
        fpm.signal(signal.SIGCONT)
    note = re.compile(r'said into stdout: "\d+ lines were lost here because the log did not keep up"')
    wait_until(lambda: fpm.get("www", "/lines").status == 200 and note.search(fpm.log()))
    assert fpm.get("www").status == 200


def test_traceback_is_whole_and_once(daemon: Start) -> None:
    fpm = daemon({"www": {"app": "trouble:application"}})
    fpm.expect_log(r"\[pool www\]")
    reply = fpm.get("www", "/before", query="a=b")
    assert reply.status == 500
    assert b"before the headers" not in reply.stdout
    fpm.wait_log(r"ERROR: \[pool www\] +RuntimeError: before the headers")
    log = fpm.log()
    assert log.count("RuntimeError: before the headers") == 1
    assert log.count("Traceback (most recent call last)") == 1
    assert re.search(r"ERROR: \[pool www\] child \d+, GET /before", log)
    assert "trouble.py" in log


def test_access_log(daemon: Start) -> None:
    fpm = daemon({"www": {}}, started=False)
    log = fpm.directory / "access.log"
    pool = {
        "app": "printer:application",
        "access.log": log,
        "access.format": "%R|%u|%m|%r|%Q%q|%s|%f|%l|%n|%{X-Kind}o|%{HTTP_HOST}e|%p|%%|%d|%{mili}d|%M|%C",
        "access.suppress_path[]": "/quiet",
        "ping.path": "/ping",
    }
    fpm.configure({"www": pool})
    write_app(fpm, "printer", PRINTER)
    fpm.start()
    for path, query in (("/", ""), ("/quiet", ""), ("/quiet", "loud"), ("/x\x1b\n", "a=%20"), ("/ping", "")):
        fpm.get("www", path, query=query)
    wait_until(lambda: log.exists() and log.read_text().count("\n") >= 4)
    lines = [line.split("|") for line in log.read_text().splitlines()]
    (worker,) = fpm.workers("www")
    assert [line[2:6] for line in lines] == [
        ["GET", "/", "", "200"],
        ["GET", "/quiet", "?loud", "200"],
        ["GET", "/x\\x1b\\x0a", "?a=%20", "200"],
        ["GET", "/ping", "", "200"],
    ]
    for line in lines:
        assert line[:2] == ["-", "-"]
        assert line[7:9] == ["-", "www"] or line[7:9] == ["0", "www"]
        assert line[10:13] == ["localhost", str(worker), "%"]
        assert re.fullmatch(r"\d+\.\d{3}", line[13])
        assert re.fullmatch(r"\d+\.\d{3}", line[14])
        assert int(line[15]) > 1000000
        assert re.fullmatch(r"\d+\.\d\d", line[16])
    assert lines[0][9] == "none"


def test_logs_are_reopened_without_losing_a_line(daemon: Start) -> None:
    fpm = daemon({"www": {}}, started=False)
    log = fpm.directory / "access.log"
    fpm.configure(
        {"www": {"pm.max_children": 2, "access.log": log}}, global_={"error_log": fpm.directory / "error.log"}
    )
    fpm.start()
    workers = fpm.workers("www")
    with clients(fpm, "www", count=2) as found:
        for number in range(5):
            count = len(found.good)
            wait_until(lambda count=count: len(found.good) > count + 20)
            log.rename(log.with_name(f"access.log.{number}"))
            fpm.signal(signal.SIGUSR1)
            wait_until(log.exists)
    assert found.bad == []
    assert fpm.workers("www") == workers
    files = [log, *(log.with_name(f"access.log.{number}") for number in range(5))]
    # The last worker tells the client first and the log then.
    wait_until(lambda: sum(file.read_text().count("\n") for file in files) == len(found.good))
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in files)
    fpm.wait_log("NOTICE: error log file re-opened")


def test_a_restart_goes_on_behind_what_stands_in_the_logs(daemon: Start) -> None:
    fpm = daemon({"www": {"access.log": "access.log"}}, global_={"error_log": "error.log"}, started=False)
    logs = [fpm.directory / name for name in ("access.log", "error.log")]
    before = ["", ""]
    for count in range(1, 4):
        fpm.start()
        assert fpm.get("www", f"/{count}").status == 200
        assert fpm.cli("stop").returncode == 0
        assert fpm.wait() == 0
        texts = [log.read_text() for log in logs]
        assert [new.startswith(old) for new, old in zip(texts, before, strict=True)] == [True, True]
        assert texts[0].count("\n") == count
        assert texts[1].count("exiting, bye-bye!") == count
        before = texts


def test_two_pools_with_one_access_log(daemon: Start) -> None:
    pool = {"access.log": "access.log", "access.format": "%n %r"}
    fpm = daemon({"one": pool, "two": pool})
    log = fpm.directory / "access.log"
    wanted = [f"{name} /{number}" for number in range(5) for name in ("one", "two")]
    for name, _, path in (line.partition(" ") for line in wanted):
        assert fpm.get(name, path).status == 200
    wait_until(lambda: log.read_text().count("\n") == len(wanted))
    assert sorted(log.read_text().splitlines()) == sorted(wanted)


def test_what_comes_after_sigusr1_stands_in_the_new_access_log(daemon: Start) -> None:
    fpm = daemon({"www": {"pm.max_children": 2, "access.log": "access.log", "access.format": "%r"}})
    log, old = fpm.directory / "access.log", fpm.directory / "access.log.1"
    assert fpm.get("www", "/before").status == 200
    wait_until(lambda: log.read_text() == "/before\n")
    log.rename(old)
    fpm.signal(signal.SIGUSR1)
    fpm.wait_log("access log file re-opened")
    # Both workers have a message then, which they read before the next connection.
    together(6, lambda number: fpm.get("www", f"/after/{number}"))
    wait_until(lambda: sorted(log.read_text().splitlines()) == [f"/after/{number}" for number in range(6)])
    assert old.read_text() == "/before\n"
