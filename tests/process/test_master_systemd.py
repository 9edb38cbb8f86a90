"""The service manager's protocols on real sockets: sd_notify, the watchdog, and LISTEN_FDS."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import pytest

from tests.support import raw_fastcgi
from tests.support.fpm import Daemon, Start
from tests.support.interpreter import pyfpm_command
from tests.support.processes import descriptors
from tests.support.waiting import wait_until

ACTIVATE = """
import fcntl, os, sys
names, fds, command = sys.argv[1], [int(fd) for fd in sys.argv[2].split(",")], sys.argv[3:]
copies = [fcntl.fcntl(fd, fcntl.F_DUPFD, 100) for fd in fds]
for place, fd in enumerate(copies, 3):
    os.dup2(fd, place)
os.closerange(3 + len(copies), 256)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(copies)), LISTEN_FDNAMES=names)
os.execv(command[0], command)
"""
"""What systemd does between fork and exec, as a wrapper of the command."""


@pytest.fixture
def given() -> Iterator[ExitStack]:
    """Sockets of the service manager, closed at the end."""
    with ExitStack() as stack:
        yield stack


def listening(given: ExitStack, address: raw_fastcgi.Address) -> socket.socket:
    """A socket as a .socket unit makes it."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    listener = given.enter_context(socket.socket(family))
    listener.bind(address)
    if isinstance(address, str) and not address.startswith("\0"):
        os.chmod(address, 0o666)
    listener.listen(16)
    return listener


def start_with(fpm: Daemon, named: Sequence[tuple[str, int]], *arguments: str, **options: object) -> Daemon:
    """Start with these descriptors from 3 on."""
    names = ":".join(name for name, _ in named)
    fds = [fd for _, fd in named]
    for fd in fds:
        os.set_inheritable(fd, True)
    try:
        wrapper = ("/usr/bin/python3", "-c", ACTIVATE, names, ",".join(map(str, fds)))
        return fpm.start(*arguments, wrapper=wrapper, **options)  # type: ignore[arg-type]
    finally:
        for fd in fds:
            os.set_inheritable(fd, False)


# ---------------------------------------------------------------- sd_notify


def test_the_life_of_a_daemon(daemon: Start) -> None:
    fpm = daemon({"www": {}})
    assert "STATUS=Ready to handle connections" in fpm.states
    assert f"MAINPID={fpm.pid}" in fpm.states
    fpm.states.clear()
    fpm.signal(signal.SIGHUP)
    fpm.wait_notify("RELOADING=1")
    fpm.wait_notify("READY=1")
    assert re.search(r"^MONOTONIC_USEC=\d+$", "\n".join(fpm.states), re.MULTILINE)
    fpm.signal(signal.SIGQUIT)
    fpm.wait_notify("STOPPING=1")
    assert fpm.wait() == 0


def test_ready_comes_after_the_import_and_not_before(daemon: Start) -> None:
    fpm = daemon({"www": {"app": "gated:application"}}, started=False)
    gate = fpm.apps / "gate"
    (fpm.apps / "gated.py").write_text(
        "import os, time\n"
        f"while not os.path.exists({str(gate)!r}):\n    time.sleep(0.01)\n"
        "from hello import application\n"
    )
    fpm.start(ready=False)
    wait_until(lambda: fpm.processes("template www"))
    with pytest.raises(AssertionError):
        fpm.wait_ready(timeout=0.3)
    gate.touch()
    fpm.wait_ready()
    assert fpm.workers("www")


def test_a_failed_pool_is_in_the_status(daemon: Start) -> None:
    fpm = daemon({"www": {}, "bad": {"app": "broken_import:application"}}, started=False)
    fpm.expect_log(r"\[pool bad\]")
    fpm.start()
    assert "STATUS=Failed pools: bad" in fpm.states


def test_a_reload_that_fails_is_ready_again(daemon: Start) -> None:
    fpm = daemon({"www": {}})
    fpm.configure({"www": {"pm.max_children": 0}})
    fpm.expect_log("reload failed")
    fpm.signal(signal.SIGHUP)
    fpm.wait_notify("RELOADING=1")
    fpm.wait_notify("READY=1")
    fpm.configure({"www": {}})


def test_the_status_is_told_regularly(daemon: Start) -> None:
    fpm = daemon({"www": {"pm.max_children": 2}}, global_={"systemd_interval": "100ms"})
    fpm.wait_notify("STATUS=Processes active: 0, idle: 2")
    fpm.states.clear()
    fpm.wait_notify("STATUS=Processes active: 0, idle: 2")
    assert "WATCHDOG=1" not in fpm.states


def test_the_watchdog_is_fed(daemon: Start) -> None:
    fpm = daemon({"www": {}}, environ={"WATCHDOG_USEC": "200000"})
    for _ in range(3):
        fpm.wait_notify("WATCHDOG=1")
        fpm.states.clear()
    fpm.signal(signal.SIGSTOP)
    wait_until(lambda: silence(fpm))
    fpm.signal(signal.SIGCONT)
    fpm.wait_notify("WATCHDOG=1")


def silence(fpm: Daemon) -> bool:
    """Whether half a second passes without the watchdog's word."""
    try:
        fpm.wait_notify("WATCHDOG=1", timeout=0.5)
    except AssertionError:
        return True
    return False


def test_the_watchdog_of_another_process_is_not_ours(daemon: Start) -> None:
    fpm = daemon({"www": {}}, environ={"WATCHDOG_USEC": "100000", "WATCHDOG_PID": "1"})
    with pytest.raises(AssertionError):
        fpm.wait_notify("WATCHDOG=1", timeout=0.5)


def test_nobody_at_the_notify_socket(daemon: Start) -> None:
    fpm = daemon({"www": {}}, started=False)
    fpm.start(environ={"NOTIFY_SOCKET": str(fpm.directory / "nobody")}, ready=False)
    fpm.wait_log("ready to handle connections")
    assert fpm.get("www").status == 200


def test_applications_do_not_get_the_managers_variables(daemon: Start) -> None:
    fpm = daemon({"www": {"app": "echo:application", "clear_env": "no"}}, environ={"WATCHDOG_USEC": "60000000"})
    body = fpm.get("www").body
    assert b'"PATH"' in body
    assert b"NOTIFY_SOCKET" not in body
    assert b"WATCHDOG_USEC" not in body


# ---------------------------------------------------------------- LISTEN_FDS


def test_a_unix_socket_by_the_pools_name(daemon: Start, given: ExitStack) -> None:
    fpm = daemon({"www": {}}, started=False)
    path = str(fpm.directory / "unit.sock")
    listener = listening(given, path)
    inode = os.stat(path).st_ino
    start_with(fpm, [("www", listener.fileno())])
    assert raw_fastcgi.get(path).status == 200
    assert not os.path.exists(str(fpm.address("www")))
    assert fpm.cli("stop").returncode == 0
    assert fpm.wait() == 0
    assert os.stat(path).st_ino == inode, "the file is systemd's"
    os.unlink(path)


@pytest.mark.parametrize("name", ["", "unknown", "pyfpm.socket"])
def test_a_unix_socket_by_its_address(daemon: Start, given: ExitStack, name: str) -> None:
    fpm = daemon({"other": {}, "www": {"app": "echo:application"}}, started=False)
    path = str(fpm.address("www"))
    listener = listening(given, path)
    os.chmod(path, 0o600)
    start_with(fpm, [(name, listener.fileno())])
    assert b"sha256" in fpm.get("www").body
    assert b"Hello" in fpm.get("other").body
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert fpm.cli("stop").returncode == 0
    assert fpm.wait() == 0
    os.unlink(path)


def test_an_abstract_socket_by_its_address(daemon: Start, given: ExitStack) -> None:
    name = f"pyfpm-unit-{os.getpid()}"
    fpm = daemon({"www": {"listen": f"@{name}"}}, started=False)
    listener = listening(given, f"\0{name}")
    start_with(fpm, [("", listener.fileno())])
    assert b"Hello" in fpm.get("www").body


def test_tcp_sockets_by_name_and_by_address(daemon: Start, given: ExitStack) -> None:
    named, addressed = listening(given, ("127.0.0.1", 0)), listening(given, ("127.0.0.1", 0))
    port = addressed.getsockname()[1]
    pools = {"www": {}, "shop": {"listen": f"127.0.0.1:{port}", "app": "echo:application"}}
    fpm = daemon(pools, started=False)
    start_with(fpm, [("www", named.fileno()), ("", addressed.fileno())])
    assert b"Hello" in raw_fastcgi.get(named.getsockname()).body
    assert b"sha256" in raw_fastcgi.get(("127.0.0.1", port)).body


def test_what_waited_in_the_queue_is_served(daemon: Start, given: ExitStack) -> None:
    fpm = daemon({"www": {}}, started=False)
    listener = listening(given, str(fpm.address("www")))
    with raw_fastcgi.Wire(fpm.address("www")) as wire:
        wire.send(raw_fastcgi.request_bytes(raw_fastcgi.web_params()))
        start_with(fpm, [("www", listener.fileno())])
        assert wire.read_reply().status == 200
    assert fpm.cli("stop").returncode == 0
    os.unlink(str(fpm.address("www")))


def test_sockets_that_no_pool_wants_are_closed_with_a_warning(daemon: Start, given: ExitStack) -> None:
    fpm = daemon({"www": {}}, started=False)
    extra = listening(given, str(fpm.directory / "extra.sock"))
    fpm.expect_log("socket nobody.socket passed by LISTEN_FDS belongs to no pool; closing it")
    start_with(fpm, [("nobody.socket", extra.fileno())])
    assert "belongs to no pool" in fpm.log()
    assert fpm.get("www").status == 200
    (fpm.directory / "extra.sock").unlink()


def test_a_descriptor_that_is_no_listening_socket(daemon: Start, given: ExitStack) -> None:
    connected, _ = (given.enter_context(end) for end in socket.socketpair())
    with open("/dev/null", "rb") as file:
        for fd in (file.fileno(), connected.fileno()):
            fpm = daemon({"www": {}}, started=False)
            fpm.expect_log("failed to start: descriptor", "started with --strict")
            start_with(fpm, [("www", fd)], "run", "--strict", ready=False)
            assert fpm.wait() == 70
            assert re.search(r"\[pool www\] .*descriptor \d+ passed by LISTEN_FDS is not a", fpm.log())
            assert "Traceback" not in fpm.log()
            fpm.forget()
        fpm = daemon({"www": {}}, started=False)
        fpm.expect_log("belongs to no pool")
        start_with(fpm, [("", file.fileno())])
        assert fpm.get("www").status == 200


def test_the_descriptors_of_another_process_are_not_touched(daemon: Start, given: ExitStack) -> None:
    fpm = daemon({"www": {}})
    other = daemon({"www": {}}, environ={"LISTEN_PID": "1", "LISTEN_FDS": "3"})
    # Both may still be finishing what comes after the start.
    wait_until(lambda: len(descriptors(other.pid)) == len(descriptors(fpm.pid)))
    assert other.get("www").status == 200


def test_a_passed_socket_lives_through_a_reload(daemon: Start, given: ExitStack) -> None:
    fpm = daemon({"www": {}}, started=False)
    listener = listening(given, str(fpm.address("www")))
    start_with(fpm, [("www", listener.fileno())])
    (worker,) = fpm.workers("www")
    assert fpm.cli("reload").returncode == 0
    wait_until(lambda: worker not in fpm.workers("www"))
    assert fpm.get("www").status == 200
    assert fpm.cli("stop").returncode == 0
    os.unlink(str(fpm.address("www")))


def test_in_the_journal_a_failed_reload_has_one_traceback(daemon: Start) -> None:
    """A file stands for the journal, which is known by its device and inode only."""
    fpm = daemon({"www": {}}, started=False)
    journal = fpm.log_file
    journal.touch()
    found = journal.stat()
    stream = {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
    fpm.start(environ=stream)
    (fpm.apps / "hello.py").write_text("import no_such_module\n")
    with journal.open("ab") as stderr:
        command = [pyfpm_command(), "-c", str(fpm.config_file), "reload"]
        done = subprocess.run(command, env={**os.environ, **stream}, stderr=stderr, timeout=60, check=False)
    assert done.returncode == 1
    lines = journal.read_text().splitlines()
    assert all(re.match(r"<[3-5]>(pyfpm: |(NOTICE|WARNING|ERROR): )", line) for line in lines), lines
    assert sum("Traceback (most recent call last)" in line for line in lines) == 1
    assert lines[-1] == "<3>pyfpm: reload failed, nothing has changed"
