"""The control socket: who may use it, and clients that say nonsense, too much, nothing, or come all at once."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import socket
import stat
import subprocess
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest

from tests.support.control import connect
from tests.support.fpm import POOL_USER, Daemon, Start
from tests.support.held import HOLD, holding
from tests.support.holdings import count_kinds
from tests.support.waiting import wait_until

ANOTHER_USER = ("/usr/bin/setpriv", f"--reuid={POOL_USER}", "--regid=nogroup", "--clear-groups", "--")


def say(fpm: Daemon, data: bytes) -> bytes:
    """Send bytes, end, and read the answer."""
    with connect(fpm.control) as client:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may be answered before it has said all
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
        try:
            return client.makefile("rb").readline()
        except ConnectionResetError:
            return b""


def start_settled(start: Start) -> Daemon:
    """One that has answered once, and looked at memory, which opens what the master keeps."""
    made = start({"www": {}})
    assert made.figures("www")["pool"] == "www"
    wait_until(lambda: made.processes("pyfpm: memory reader"))
    return made


@pytest.fixture(scope="module")
def fpm(shared_daemon: Start) -> Daemon:
    """One that clients may annoy."""
    return start_settled(shared_daemon)


class Silent(NamedTuple):
    """A daemon with clients that have said nothing since the first test of the file began."""

    fpm: Daemon
    before: Counter[str]
    last: socket.socket
    """The only one of them that has not gone away by itself."""


@pytest.fixture(scope="module", autouse=True)
def silent(shared_daemon: Start) -> Iterator[Silent]:
    """That they are sent away takes ten seconds, in which the other tests run."""
    fpm = start_settled(shared_daemon)
    before = count_kinds(fpm.pid)
    clients = [connect(fpm.control) for _ in range(30)]
    assert fpm.ask("status")["ok"]
    for client in clients[:29]:
        client.close()
    with clients[29] as last:
        yield Silent(fpm, before, last)


def test_the_socket_is_the_owners_alone(fpm: Daemon) -> None:
    found = fpm.control.stat()
    assert stat.S_IMODE(found.st_mode) == 0o600
    assert found.st_uid == os.geteuid()


ASK_ALL = """
import contextlib, json, socket, sys
for command in ("status", "stop", "reload", "reopen-logs"):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(sys.argv[1])
        with contextlib.suppress(BrokenPipeError):  # it is refused before it has said anything
            client.sendall(json.dumps({"command": command}).encode() + b"\\n")
        sys.stdout.write(client.makefile().readline())
"""


@pytest.mark.root
def test_another_user_is_refused(fpm: Daemon) -> None:
    found = fpm.cli("status", wrapper=ANOTHER_USER)
    assert found.returncode == 1
    assert "permission denied" in found.stderr
    # Not the mode alone: the kernel says who has connected.
    fpm.control.chmod(0o666)
    refusal = "only root and the user of the master may control it"
    found = fpm.cli("stop", wrapper=ANOTHER_USER)
    assert (found.returncode, refusal in found.stderr) == (1, True), found.stderr
    command = [*ANOTHER_USER, "/usr/bin/python3", "-c", ASK_ALL, str(fpm.control)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(answer["ok"], refusal in answer["error"]) for answer in answers] == [(False, True)] * 4, answers
    fpm.control.chmod(0o600)
    assert fpm.get("www").status == 200
    for word in ("Terminating", "Finishing", "Reloading", "re-opened"):
        assert word not in fpm.log()


NONSENSE = [
    b"\n",
    b"nonsense\n",
    b"\xff\xfe\x00\n",
    b"[]\n",
    b"null\n",
    b'"status"\n',
    b"{}\n",
    b'{"command": "no such command"}\n',
    b'{"command": ["status"]}\n',
    b'{"command": {"status": 1}}\n',
    b'{"command": "status", "pool": ["www"]}\n',
    b'{"command": "status", "pool": {"www": 1}}\n',
    b'{"command": "status", "pool": 7}\n',
    b'{"command": "status", "pool": ""}\n',
    b"[" * 60000 + b"\n",
    b'{"a":' * 10000 + b"\n",
]


def test_nonsense_is_answered(fpm: Daemon) -> None:
    for question in NONSENSE:
        answer = json.loads(say(fpm, question))
        assert answer["ok"] is False, question
        assert answer["error"], question
    assert fpm.ask("status")["ok"]


def test_strange_arguments_do_no_harm(fpm: Daemon) -> None:
    for value in ("x" * 60000, "\u0000", 7, None, [], {"json": 1}):
        for question in ({"command": "status", "query": value}, {"command": "snapshot", "workers": value}):
            assert json.loads(say(fpm, json.dumps(question).encode() + b"\n"))["ok"] is True


def test_random_bytes(fpm: Daemon) -> None:
    generator = random.Random(20)
    with fpm.no_descriptor_leak():
        for size in (1, 10, 100, 1000, 10_000, 65_536, 65_537, 500_000):
            data = generator.randbytes(size)
            answer = say(fpm, data)
            assert answer == b"" or json.loads(answer)["ok"] is False
            say(fpm, data + b"\n")
    assert fpm.ask("status")["ok"]


def test_a_question_without_end_is_refused(fpm: Daemon) -> None:
    with connect(fpm.control) as client, pytest.raises((BrokenPipeError, ConnectionResetError)):
        client.sendall(b"x" * 10_000_000)
    assert fpm.ask("status")["ok"]


def test_a_question_byte_by_byte(fpm: Daemon) -> None:
    with connect(fpm.control) as client:
        for byte in b'{"command": "status"}\n':
            client.sendall(bytes([byte]))
        assert json.loads(client.makefile("rb").readline())["ok"] is True


def test_a_client_that_does_not_read_its_answer(daemon: Start) -> None:
    pools = {f"p{number:03}": {"pm": "ondemand"} for number in range(300)}
    fpm = daemon(pools)
    with connect(fpm.control) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(b'{"command": "status"}\n')
        assert fpm.ask("status", pool="p007")["ok"]
        answer = json.loads(client.makefile("rb").readline())
    assert len(answer["pools"]) == 300
    # The asker of a stop may go away.
    with connect(fpm.control) as client:
        client.sendall(b'{"command": "stop", "now": "yes"}\n')
    assert fpm.wait() == 0


def test_a_hundred_connections_at_once(fpm: Daemon) -> None:
    with fpm.no_descriptor_leak(), ThreadPoolExecutor(100) as executor:
        answers = list(executor.map(lambda _: say(fpm, b'{"command": "snapshot"}\n'), range(100)))
        assert fpm.get("www").status == 200
    served = [answer for answer in map(json.loads, answers) if answer["ok"]]
    assert len(served) >= 30
    assert {answer["error"] for answer in map(json.loads, answers) if not answer["ok"]} <= {
        "too many clients at once; try again"
    }
    assert fpm.ask("status")["ok"]


def test_clients_that_go_away_at_once(fpm: Daemon) -> None:
    with fpm.no_descriptor_leak():
        for number in range(200):
            with connect(fpm.control) as client:
                if number % 2:
                    with contextlib.suppress(BrokenPipeError):  # the master has found too many at once
                        client.sendall(b'{"command": "snapshot", "workers": true}\n')
    assert fpm.ask("status")["ok"]


def test_two_may_wait_for_the_end_and_one_for_a_while(daemon: Start) -> None:
    fpm = daemon({"www": {"app": "slow:application"}})
    with holding(fpm, HOLD) as (request,):
        found = fpm.cli("stop", "--timeout", "0.2")
        assert found.returncode == 1
        assert "has not exited within 0.2 s" in found.stderr
        commands = [fpm.begin("stop") for _ in range(2)]
        wait_until(lambda: fpm.log().count("stop requested on the control socket") == 3)
    for command in commands:
        said, complaints = command.communicate(timeout=60)
        waiting = re.sub(r"^waiting for 1 request \(.*\)\n", "", complaints)
        assert (said, waiting, command.returncode) == ("", "", 0)
    assert request.result().status == 200


def test_silent_clients_are_sent_away_and_hold_up_nobody(silent: Silent) -> None:
    fpm, before, last = silent
    last.settimeout(60)
    assert last.recv(100) == b""
    wait_until(lambda: not count_kinds(fpm.pid) - before, message="the master keeps their descriptors")
