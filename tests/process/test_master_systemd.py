"""The service manager's protocols on real sockets: sd_notify, the watchdog, and LISTEN_FDS."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack

import pytest

from tests.support import raw_fastcgi
from tests.support.fpm import Daemon, Settings, Start
from tests.support.interpreter import pyfpm_command
from tests.support.processes import descriptors
from tests.support.reloads import reload
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

TCP = ("127.0.0.1", 0)


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

POOLS: dict[str, Settings] = {"www": {"app": "echo:application", "clear_env": "no", "pm.max_children": 2}}
OF_ANOTHER = {"WATCHDOG_USEC": "100000", "WATCHDOG_PID": "1", "LISTEN_PID": "1", "LISTEN_FDS": "3"}
"""What a manager has said to another process."""


@pytest.fixture(scope="module")
def told(shared_daemon: Start) -> Daemon:
    """A daemon that tells its status ten times a second; the variables of another process are in its environment."""
    return shared_daemon(POOLS, global_={"systemd_interval": "100ms"}, environ=OF_ANOTHER)


@pytest.fixture(scope="module")
def watched(shared_daemon: Start) -> Daemon:
    """A daemon with a watchdog."""
    return shared_daemon(POOLS, environ={"WATCHDOG_USEC": "200000"})


def test_what_the_manager_is_told(told: Daemon) -> None:
    assert "STATUS=Ready to handle connections" in told.states
    assert f"MAINPID={told.pid}" in told.states
    told.wait_notify("STATUS=Processes active: 0, idle: 2")
    told.forget_notify()
    for _ in range(5):
        told.wait_notify("STATUS=Processes active: 0, idle: 2")
    assert "WATCHDOG=1" not in told.states, "the watchdog of another process is not ours"


def test_the_descriptors_of_another_process_are_not_touched(told: Daemon, watched: Daemon) -> None:
    # Both may still be finishing what comes after the start.
    wait_until(lambda: len(descriptors(told.pid)) == len(descriptors(watched.pid)))


def test_applications_do_not_get_the_managers_variables(told: Daemon) -> None:
    reply = told.get("www")
    assert reply.status == 200
    assert b'"PATH"' in reply.body
    for name in (b"NOTIFY_SOCKET", b"WATCHDOG_USEC", b"WATCHDOG_PID", b"LISTEN_PID", b"LISTEN_FDS"):
        assert name not in reply.body, name


def test_reloads_and_the_stop_are_told(told: Daemon) -> None:
    told.expect_log("reload failed")
    for children in (0, 2):
        told.configure({"www": {**POOLS["www"], "pm.max_children": children}}, global_={"systemd_interval": "100ms"})
        told.forget_notify()
        told.signal(signal.SIGHUP)
        told.wait_notify("RELOADING=1")
        told.wait_notify("READY=1")
        assert re.search(r"^MONOTONIC_USEC=\d+$", "\n".join(told.states), re.MULTILINE)
    told.forget_notify()
    told.signal(signal.SIGQUIT)
    told.wait_notify("STOPPING=1")
    assert told.wait() == 0


def test_the_watchdog_is_fed(watched: Daemon) -> None:
    for _ in range(3):
        watched.wait_notify("WATCHDOG=1")
        watched.states.clear()
    watched.signal(signal.SIGSTOP)
    wait_until(lambda: silence(watched))
    watched.signal(signal.SIGCONT)
    watched.wait_notify("WATCHDOG=1")


def silence(fpm: Daemon) -> bool:
    """Whether half a second passes without the watchdog's word."""
    try:
        fpm.wait_notify("WATCHDOG=1", timeout=0.5)
    except AssertionError:
        return True
    return False


def test_an_upgrade_has_the_whole_time_of_the_watchdog(daemon: Start) -> None:
    fpm = daemon({"www": {}}, environ={"WATCHDOG_USEC": "600000000"})
    fpm.wait_notify("WATCHDOG=1")
    assert fpm.cli("upgrade", timeout=60).returncode == 0
    fpm.wait_notify("WATCHDOG=1")  # before the new program is executed
    fpm.wait_notify("WATCHDOG=1")  # by the new program, which does not know when the last was


def test_ready_comes_after_the_import_and_not_before(daemon: Start) -> None:
    """And a pool whose import fails is in the status then."""
    fpm = daemon({"www": {"app": "gated:application"}, "bad": {"app": "broken_import:application"}}, started=False)
    fpm.expect_log(r"\[pool bad\]")
    gate = fpm.apps / "gate"
    (fpm.apps / "gated.py").write_text(
        "import os, time\n"
        f"while not os.path.exists({str(gate)!r}):\n    time.sleep(0.01)\n"
        "from hello import application\n"
    )
    fpm.start(ready=False)
    wait_until(lambda: fpm.processes("template www"))
    fpm.wait_log(r"\[pool bad\] failed to start")
    with pytest.raises(AssertionError):
        fpm.wait_ready(timeout=0.3)
    gate.touch()
    fpm.wait_ready()
    assert fpm.workers("www")
    assert "STATUS=Failed pools: bad" in fpm.states


# ---------------------------------------------------------------- LISTEN_FDS

BY_ADDRESS = {"nameless": "", "named": "unknown", "unit": "pyfpm.socket"}
"""Pools whose Unix sockets are passed under these names, none of which is a pool's."""


def who(address: raw_fastcgi.Address) -> str:
    """The name of the pool that answers at an address."""
    found = re.search(rb'"WHO": "(\w+)"', raw_fastcgi.get(address).body)
    return found[1].decode() if found else ""


def files(paths: Iterable[str]) -> list[tuple[int, int]]:
    """What systemd has made of each socket file, and must find again: its inode and mode."""
    return [(os.stat(path).st_ino, stat.S_IMODE(os.stat(path).st_mode)) for path in paths]


def test_sockets_by_a_pools_name_and_by_their_addresses(daemon: Start, given: ExitStack) -> None:
    abstract = f"\0pyfpm-unit-{os.getpid()}"
    by_name, by_port, by_abstract = (listening(given, at) for at in (TCP, TCP, abstract))
    listens = {"port": f"127.0.0.1:{by_port.getsockname()[1]}", "abstract": f"@{abstract[1:]}"}
    names = ("file", "queue", "tcp", *listens, *BY_ADDRESS)
    pools: dict[str, Settings] = {name: {"app": "echo:application", "env[WHO]": name} for name in names}
    pools |= {name: {**pools[name], "listen": listen} for name, listen in listens.items()}
    fpm = daemon({**pools, "other": {}}, started=False)
    paths = {name: str(fpm.address(name)) for name in ("queue", *BY_ADDRESS)}
    paths |= {name: str(fpm.directory / f"{name}.socket") for name in ("file", "nobody")}
    units = {name: listening(given, path) for name, path in paths.items()}
    os.chmod(paths["nameless"], 0o600)
    before = files(paths.values())
    passed = [("file", units["file"]), ("queue", units["queue"]), ("tcp", by_name), ("", by_port), ("", by_abstract)]
    passed += [("nobody.socket", units["nobody"]), *((name, units[pool]) for pool, name in BY_ADDRESS.items())]
    fpm.expect_log("passed by LISTEN_FDS belongs to no pool; closing it")
    with open("/dev/null", "rb") as file, raw_fastcgi.Wire(paths["queue"]) as wire:
        wire.send(raw_fastcgi.request_bytes(raw_fastcgi.web_params()))
        start_with(fpm, [(name, listener.fileno()) for name, listener in passed] + [("", file.fileno())])
        assert wire.read_reply().status == 200, "what waited in the queue is served"
    assert "socket nobody.socket passed by LISTEN_FDS belongs to no pool; closing it" in fpm.log()
    assert fpm.log().count("belongs to no pool") == 2
    assert not os.path.exists(str(fpm.address("file")))
    addresses = {"tcp": by_name.getsockname(), "port": by_port.getsockname(), "abstract": abstract}
    assert {name: who(addresses.get(name) or paths[name]) for name in names} == {name: name for name in names}
    assert b"Hello" in fpm.get("other").body
    (worker,) = fpm.workers("queue")
    reload(fpm, "queue")
    wait_until(lambda: worker not in fpm.workers("queue"))
    assert who(paths["queue"]) == "queue"
    fpm.signal(signal.SIGQUIT)
    assert fpm.wait() == 0
    assert files(paths.values()) == before, "the files are systemd's"
    for path in paths.values():
        os.unlink(path)


def test_a_descriptor_that_is_no_listening_socket(daemon: Start, given: ExitStack) -> None:
    connected, _ = (given.enter_context(end) for end in socket.socketpair())
    with open("/dev/null", "rb") as file:
        fpm = daemon({"www": {}, "shop": {}}, started=False)
        fpm.expect_log("failed to start: descriptor", "started with --strict")
        start_with(fpm, [("www", file.fileno()), ("shop", connected.fileno())], "run", "--strict", ready=False)
        assert fpm.wait() == 70
        for pool in ("www", "shop"):
            assert re.search(rf"\[pool {pool}\] .*descriptor \d+ passed by LISTEN_FDS is not a", fpm.log()), pool
        assert "Traceback" not in fpm.log()
        fpm.forget()


def test_in_the_journal_a_failed_reload_has_one_traceback(daemon: Start) -> None:
    """A file stands for the journal, which is known by its device and inode only; nobody is at the notify socket."""
    fpm = daemon({"www": {}}, started=False)
    journal = fpm.log_file
    journal.touch()
    found = journal.stat()
    stream = {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
    fpm.start(environ={**stream, "NOTIFY_SOCKET": str(fpm.directory / "nobody")}, ready=False)
    fpm.wait_log("ready to handle connections")
    assert fpm.get("www").status == 200
    (fpm.apps / "hello.py").write_text("import no_such_module\n")
    with journal.open("ab") as stderr:
        command = [pyfpm_command(), "-c", str(fpm.config_file), "reload"]
        done = subprocess.run(command, env={**os.environ, **stream}, stderr=stderr, timeout=60, check=False)
    assert done.returncode == 1
    lines = journal.read_text().splitlines()
    assert all(re.match(r"<[3-5]>(pyfpm: |(NOTICE|WARNING|ERROR): )", line) for line in lines), lines
    assert sum("Traceback (most recent call last)" in line for line in lines) == 1
    assert lines[-1] == "<3>pyfpm: reload failed, nothing has changed"
