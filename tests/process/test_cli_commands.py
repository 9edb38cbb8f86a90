"""The command line: php-fpm's flags, exit codes, `test` without side effects, and `status`."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import commands, raw_fastcgi
from tests.support.fpm import IS_ROOT, Daemon, Start
from tests.support.held import holding_at_once
from tests.support.interpreter import pyfpm_command
from tests.support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("command_server")
BROKEN = {"app": "broken_import:application"}


def pyfpm(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command without any file."""
    return commands.run(arguments, os.environ)


@pytest.fixture(scope="module")
def running(command_server: None) -> Iterator[Daemon]:
    """A daemon for those that only look."""
    fpm = Daemon({"www": {"pm.max_children": 2}, "shop": {}, "lazy": {"pm": "ondemand"}}).start()
    yield fpm
    fpm.finish()


@pytest.fixture(scope="module")
def failing(command_server: None) -> Iterator[Daemon]:
    """A daemon with a pool that does not start."""
    fpm = Daemon({"www": {}, "bad": BROKEN})
    fpm.expect_log(r"\[pool bad\]")
    yield fpm.start()
    fpm.finish()


def tree(directory: Path) -> dict[str, tuple[int, int, int]]:
    """Everything below a directory: name to mode, size and time of change."""
    found = {}
    for path in [directory, *directory.rglob("*")]:
        facts = path.lstat()
        found[str(path)] = (facts.st_mode, facts.st_size, facts.st_ctime_ns)
    return found


# ---------------------------------------------------------------- flags and exit codes


@pytest.mark.parametrize(
    "arguments",
    [("--no-such-option",), ("-Z",), ("no-such-command",), ("-c",), ("-F", "-D"), ("stop", "--no-such-option"), ()],
)
def test_wrong_usage_is_64(arguments: tuple[str, ...]) -> None:
    found = pyfpm(*arguments)
    assert found.returncode == 64
    assert re.search(r"^pyfpm: " if arguments else r"^Usage: ", found.stdout + found.stderr, re.MULTILINE)
    assert not arguments or re.search(r"^Try 'pyfpm.* --help' for help\.$", found.stderr, re.MULTILINE)


@pytest.mark.parametrize("flag", ["-v", "--version"])
def test_version(flag: str) -> None:
    found = pyfpm(flag)
    assert found.returncode == 0
    assert re.match(r"pyfpm.* \d+\.\d+", found.stdout)


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help(flag: str) -> None:
    found = pyfpm(flag)
    assert found.returncode == 0
    for command in ("run", "start", "stop", "test", "reload", "status", "reopen-logs", "ping", "request", "serve"):
        assert re.search(rf"^  {command} ", found.stdout, re.MULTILINE), f"{command} is not in the help"


@pytest.mark.parametrize(
    ("word", "hint"),
    [("statu", "Did you mean 'status'?"), ("relaod", "'reload'?"), ("x", "`pyfpm --help` lists them.")],
)
def test_a_misspelt_command_is_named(word: str, hint: str) -> None:
    found = pyfpm("-c", "/nonexistent/pyfpm.conf", word)
    assert found.returncode == 64
    assert f"There is no command '{word}'. " in found.stderr
    assert hint in found.stderr


@pytest.mark.parametrize("arguments", [("test",), ("-t",), ("run",), ("start",), ("-F",), ("status",), ("stop",)])
def test_a_file_that_is_not_there_is_78(arguments: tuple[str, ...]) -> None:
    found = pyfpm("-c", "/nonexistent/pyfpm.conf", *arguments)
    assert found.returncode == 78
    assert "/nonexistent/pyfpm.conf" in found.stderr
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize("command", [("stop",), ("status",), ("reload",), ("reopen-logs",), ("ping", "www")])
def test_without_a_daemon_commands_say_so(daemon: Start, command: tuple[str, ...]) -> None:
    found = daemon({"www": {}}, started=False).cli(*command)
    assert found.returncode == 1
    assert "pyfpm is not running with this configuration" in found.stderr
    assert len(found.stderr.splitlines()) == 1


def test_the_long_flag_runs_in_the_foreground(daemon: Start) -> None:
    fpm = daemon({"www": {}}, started=False).start("--nodaemonize")
    assert fpm.get("www").status == 200
    assert "fpm is running, pid " + str(fpm.pid) in fpm.log()


@pytest.mark.parametrize("closed", [[0], [1], [2], [0, 1, 2]])
def test_closed_standard_streams(daemon: Start, closed: list[int]) -> None:
    """What the master opens must not become its standard error, and a command ends without a traceback."""
    shell = ("/bin/sh", "-c", f'exec "$0" "$@" {" ".join(f"{fd}>&-" for fd in closed)}')
    fpm = daemon({"www": {}}, global_={"error_log": "error.log"}, started=False).start(wrapper=shell)
    assert {os.readlink(f"/proc/{fpm.pid}/fd/{fd}") for fd in closed} == {"/dev/null"}
    assert fpm.get("www").status == 200
    each = [["status"], ["request", str(fpm.address("www")), "/"], ["reload"], ["test", "--dump"]]
    for command in each if len(closed) > 1 else [each[closed[0]]]:
        done = fpm.cli(*command, wrapper=shell)
        assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr


def test_output_that_nobody_takes() -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run([pyfpm_command(), "--help"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        1,
        "pyfpm: the output cannot be written: No space left on device\n",
    )
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([pyfpm_command(), "--help"], stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def test_options_after_the_command(running: Daemon) -> None:
    fpm = running
    for place in (["status", "-c"], ["-c", "/nonexistent.conf", "status", "--config"], ["status", "www", "-y"]):
        done = pyfpm(*place, str(fpm.config_file))
        assert (done.returncode, "www" in done.stdout) == (0, True), done.stderr
    assert pyfpm("test", "-p", "/nonexistent", "-c", str(fpm.config_file)).returncode == 78
    assert pyfpm("status", "-t").returncode == 64


@pytest.mark.root
def test_another_user_is_told_whose_daemon_it_is(daemon: Start) -> None:
    fpm = daemon({"www": {}}, global_={"control": ""})
    other = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")
    (control,) = Path("/run/pyfpm").glob(f"control-pyfpm-*{_digest(fpm.config_file)}.sock")
    each = [["status"], ["reload"], ["top", "--once"], ["ping", "www"], ["trace", "www"], ["stop"]]
    for mode, those in ((0o644, each), (0o600, [["stop"], ["ping", "www"]])):
        fpm.config_file.chmod(mode)
        for command in those:
            done = fpm.cli(*command, wrapper=other)
            assert done.returncode == 1
            assert f"root's daemon has its control socket at {control}: run the command as root" in done.stderr
            assert len(done.stderr.splitlines()) == 1


def _digest(config: Path) -> str:
    return hashlib.sha256(os.fsencode(config)).hexdigest()[:8]


def test_force_stderr_goes_before_error_log(daemon: Start) -> None:
    fpm = daemon({"www": {}}, global_={"error_log": "error.log"}, started=False).start("-F", "-O")
    said = fpm.log_file.read_text()
    assert f"fpm is running, pid {fpm.pid}" in said
    assert "ready to handle connections" in said
    assert fpm.get("www").status == 200
    assert not (fpm.directory / "error.log").exists()


def test_prefix_and_pid_flags(daemon: Start) -> None:
    fpm = daemon({"www": {"listen": "run/www.sock"}}, global_={"pid": "ignored.pid"}, started=False)
    (fpm.directory / "else" / "run").mkdir(parents=True)
    pid_file = fpm.directory / "flag.pid"
    fpm.start("-p", str(fpm.directory / "else"), "-g", str(pid_file), "-F")
    assert pid_file.read_text() == f"{fpm.pid}\n"
    assert raw_fastcgi.get(str(fpm.directory / "else" / "run" / "www.sock"), "/").status == 200
    assert fpm.cli("stop").returncode == 0
    assert not pid_file.exists()


@pytest.mark.root
def test_pools_of_root_need_the_flag(daemon: Start) -> None:
    fpm = daemon({"www": {"user": "root", "app": "echo:application"}}, started=False)
    for arguments in (("test",), ("run",), ("-F",)):
        found = fpm.cli(*arguments)
        assert found.returncode == 78
        assert re.search(r"pyfpm\.conf:\d+: \[www\] user: .*-R", found.stderr)
    fpm.start("-R", "run")
    assert json.loads(fpm.get("www").body)["uid"] == 0


# ---------------------------------------------------------------- test


def test_test_changes_nothing(daemon: Start) -> None:
    fpm = daemon(
        {"www": {"access.log": "access.log", "slowlog": "slow.log"}},
        global_={"error_log": "error.log"},
        started=False,
    )
    before = tree(fpm.directory)
    for arguments in (("test",), ("-t",), ("-tt",), ("test", "--dump")):
        found = fpm.cli(*arguments)
        assert found.returncode == 0, found.stderr
        assert f"NOTICE: configuration file {fpm.config_file} test is successful" in found.stderr
    assert tree(fpm.directory) == before


def test_test_beside_the_running_daemon_changes_nothing(running: Daemon) -> None:
    fpm = running
    before = tree(fpm.directory)
    assert fpm.cli("test").returncode == 0
    assert tree(fpm.directory) == before
    assert fpm.get("www").status == 200


def test_test_says_everything_that_is_wrong(daemon: Start) -> None:
    fpm = daemon({"www": {"pm": "dynamc"}, "shop": {"pm.max_childen": 3, "listen": None}}, started=False)
    before = tree(fpm.directory)
    for arguments in (("test",), ("-t",), ("run",), ("start",)):
        found = fpm.cli(*arguments)
        assert found.returncode == 78
        for complaint in (r"\[www\] pm: ", r"\[shop\] pm.max_childen: .*pm.max_children", r"\[shop\] listen: "):
            assert re.search(rf"^pyfpm: {fpm.config_file}:\d+: {complaint}", found.stderr, re.MULTILINE), found.stderr
    assert tree(fpm.directory) == before


def test_the_dump_has_the_values_that_count(daemon: Start) -> None:
    fpm = daemon({"www": {"pm.max_children": 7, "request_terminate_timeout": "1m"}}, started=False)
    said = fpm.cli("-tt").stdout
    assert said == fpm.cli("test", "--dump").stdout
    assert re.search(r"^.*\[www\]$", said, re.MULTILINE)
    assert "pm.max_children = 7" in said
    assert "request_terminate_timeout = 60" in said
    assert "pm.process_idle_timeout = 10" in said


# ---------------------------------------------------------------- status


def test_status_in_every_format(running: Daemon) -> None:
    fpm = running
    text = fpm.cli("status", "--format", "text").stdout
    assert re.findall(r"^pool: +(\w+)$", text, re.MULTILINE) == ["www", "shop", "lazy"]
    pools = json.loads(fpm.cli("status", "--format", "json").stdout)
    assert [(pool["pool"], pool["total processes"]) for pool in pools] == [("www", 2), ("shop", 1), ("lazy", 0)]
    assert [pool["process manager"] for pool in pools] == ["static", "static", "ondemand"]
    one = json.loads(fpm.cli("status", "shop", "--format", "json", "--full").stdout)
    assert [process["pid"] for process in one["processes"]] == fpm.workers("shop")
    root = ET.fromstring(fpm.cli("status", "www", "--format", "xml").stdout)
    assert root.findtext("total-processes") == "2"
    assert "<html" in fpm.cli("status", "www", "--format", "html").stdout.lower()
    assert "\nphpfpm_total_processes 2\n" in fpm.cli("status", "www", "--format", "openmetrics").stdout
    assert fpm.cli("status", "--format", "yaml").returncode == 64


@pytest.mark.parametrize("form", ["xml", "html", "openmetrics"])
def test_documents_are_of_one_pool(running: Daemon, form: str) -> None:
    found = running.cli("status", "--format", form)
    assert found.returncode == 64
    assert f"--format {form} shows one pool" in found.stderr


def test_status_is_answered_while_all_workers_are_busy(daemon: Start) -> None:
    fpm = daemon({"www": {"app": "slow:application", "pm.max_children": 2}})

    def figures() -> dict[str, int]:
        found: dict[str, int] = json.loads(fpm.cli("status", "www", "--format", "json").stdout)
        return found

    # One of the two that wait may have been accepted and parked by a worker that had another to serve.
    with holding_at_once(fpm, 4) as replies:
        busy = wait_until(lambda: (now := figures())["active processes"] == 2 and now["listen queue"] in (1, 2) and now)
        assert busy["idle processes"] == 0
    assert [reply.result().status for reply in replies] == [200] * 4


def test_status_of_an_unknown_pool(running: Daemon) -> None:
    found = running.cli("status", "wwww")
    assert found.returncode == 1
    assert "there is no pool 'wwww'; there are: www, shop, lazy" in found.stderr


def test_status_of_a_failed_pool_shows_why(failing: Daemon) -> None:
    fpm = failing
    assert "(failed pools: bad)" in fpm.log()
    for arguments in (("status",), ("status", "bad")):
        found = fpm.cli(*arguments)
        assert found.returncode == 1
        assert "ModuleNotFoundError: No module named 'a_module_that_does_not_exist'" in found.stderr
        assert "broken_import.py" in found.stderr
    assert fpm.cli("status", "www").returncode == 0
    assert fpm.get("bad").status == 503
    assert fpm.get("www").status == 200


# ---------------------------------------------------------------- processes as ps shows them


def test_titles_and_names_of_the_processes(failing: Daemon) -> None:
    fpm = failing

    def title(pid: int) -> str:
        return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode()

    (worker,) = fpm.workers("www")
    (template,) = fpm.processes("template www")
    titles = {fpm.pid: f"pyfpm: master process ({fpm.config_file})", worker: "pyfpm: pool www"}
    assert {pid: title(pid) for pid in titles} == titles
    assert title(template.pid) == "pyfpm: template www"
    responder = wait_until(lambda: fpm.processes("pyfpm: unavailable bad"))
    for pid in (fpm.pid, worker, template.pid, responder[0].pid):
        assert Path(f"/proc/{pid}/comm").read_text() == "pyfpm\n"


def test_master_and_workers_have_no_terminal_input(running: Daemon) -> None:
    fpm = running
    assert os.readlink(f"/proc/{fpm.pid}/fd/0") == "/dev/null"
    for pid in fpm.workers("www"):
        assert os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"


def test_user_is_ignored_with_a_notice_by_others_than_root(daemon: Start) -> None:
    if IS_ROOT:
        return  # tests/process/test_master_user.py does it as another user
    fpm = daemon({"www": {"user": "root"}})
    assert re.search(r"NOTICE: .*user.*ignored", fpm.log())
