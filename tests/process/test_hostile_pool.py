"""A pool whose application attacks the master with every descriptor it has: the master lives, other pools serve."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest

from tests.support.fpm import Daemon, Start
from tests.support.pools import clients, facts, wait_numbers, wait_state, write_app
from tests.support.processes import cpu_seconds
from tests.support.waiting import hold_for, wait_until

CPU_SHARE = 0.45
"""Of one core: the master's share for a pool is a fifth, the rest is for slow machines and for the other pool."""
ATTACK_TIME = 1.2

ATTACKS = ("scribble", "messages", "small_messages", "rights", "output", "eventfd", "listener")

HOSTILE = '''
import array, fcntl, json, mmap, os, random, socket, stat, struct, sys, threading, time

def descriptors():
    """All open descriptors by what they are."""
    found = {"channel": [], "scoreboard": [], "eventfd": [], "listen": [], "pipe": []}
    for fd in range(256):
        try:
            name = os.readlink(f"/proc/self/fd/{fd}")
            mode = os.fstat(fd).st_mode
        except OSError:
            continue
        if "scoreboard" in name:
            found["scoreboard"].append(fd)
        elif "eventfd" in name:
            found["eventfd"].append(fd)
        elif stat.S_ISFIFO(mode):
            found["pipe"].append(fd)
        elif stat.S_ISSOCK(mode):
            with socket.socket(fileno=os.dup(fd)) as one:
                listens = one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
                if listens:
                    found["listen"].append(fd)
                elif one.type == socket.SOCK_SEQPACKET:
                    found["channel"].append(fd)
    return found

def sockets(kind):
    return [socket.socket(fileno=os.dup(fd)) for fd in descriptors()[kind]]

def scribble(seconds):
    fd = descriptors()["scoreboard"][0]
    board = mmap.mmap(fd, os.fstat(fd).st_size)
    end = time.monotonic() + seconds
    patterns = [b"\\xff", b"\\x00", b"\\x01", b"\\x7f", None]
    while time.monotonic() < end:
        pattern = random.choice(patterns)
        board[:] = os.urandom(len(board)) if pattern is None else pattern * len(board)
        time.sleep(0.0005)
    for size in (0, 1, 1 << 20):
        try:
            os.ftruncate(fd, size)
        except OSError:
            continue
    board[:] = bytes(len(board))

def message(kind, **fields):
    return {"v": 1, "kind": kind, **fields}

USAGE = {"user": 0, "system": 0, "maxrss": 0}
FORGED = [
    message("WorkerExited", pid=1, status=9, **USAGE),
    message("WorkerExited", pid=os.getppid(), status=0, **USAGE),
    message("WorkerExited", pid="x", status=None),
    message("Forked", slot=0, pid=1),
    message("Forked", slot=0, pid=10 ** 30),
    message("Forked", slot=[], pid={}),
    message("TemplateReady", preload=True, python="", chdir="/", seconds=0, stack=True),
    message("TemplateReady", preload=True, chdir={}),
    message("LimitReached", requests=0, memory=0),
    message("LimitReached", requests=-1),
    message("Failed", stage="", error="forged", traceback="x\\n" * 1000),
    message("LogText", level="alert", text="forged\\n[pool good] child 1: forged"),
    message("LogText", level=["x"], text={"y": "z"}),
    message("LayoutFound", layout={"version": 1}),
    message("ApplySettings", worker={}), {"v": 2, "kind": "Serving"}, {"kind": None}, {"kind": {}}, [], 1, None, "text",
]

def small_messages(seconds):
    flood(seconds, [json.dumps(one).encode() for one in FORGED])

def messages(seconds):
    raw = [json.dumps(one).encode() for one in FORGED]
    raw += [b"{", b"[" * 5000, os.urandom(3000), b"\\xff\\xfe",
            b'{"v": 1, "kind": "LogText", "level": "notice", "text": "%s"}' % (b"\\\\n" * 30000)]
    flood(seconds, raw)

def flood(seconds, raw):
    ends = sockets("channel")
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for one in ends:
            try:
                one.send(random.choice(raw), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            except OSError:
                continue

def rights(seconds):
    ends = sockets("channel")
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(50)]
        for one in ends:
            try:
                one.sendmsg([b"{}"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))],
                            socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            except OSError:
                pass
        for fd in fds:
            os.close(fd)

def output(seconds):
    kinds = [b"x" * 65536, b"\\n" * 65536, b"\\x00\\x1b[31m" * 8000, os.urandom(65536), b"]: ALERT: forged\\r" * 3000]
    for fd in (1, 2):
        os.set_blocking(fd, False)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for fd in (1, 2):
            try:
                os.write(fd, random.choice(kinds))
            except BlockingIOError:
                pass

def eventfd(seconds):
    fds = descriptors()["eventfd"]
    for fd in fds:
        fcntl.fcntl(fd, fcntl.F_SETFL, 0)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for fd in fds:
            os.eventfd_write(fd, 1)
            if random.random() < 0.5:
                try:
                    os.preadv(fd, [bytearray(8)], -1, os.RWF_NOWAIT)
                except BlockingIOError:
                    pass

def listener(seconds):
    for one in sockets("listen"):
        one.setblocking(True)
        one.shutdown(socket.SHUT_RDWR)
    time.sleep(seconds)

def application(environ, start_response):
    attack = globals()[environ["PATH_INFO"].strip("/")]
    start_response("200 OK", [("Content-Type", "text/plain")])
    attack(float(environ["QUERY_STRING"]))
    return [b"done"]
'''

MANAGERS = {"static": {"pm": "static", "pm.max_children": 2}, "ondemand": {"pm": "ondemand", "pm.max_children": 3}}


@pytest.fixture
def attacked(daemon: Start) -> Callable[[str], Daemon]:
    """A daemon with a hostile pool and a good one."""

    def make(manager: str) -> Daemon:
        hostile = {"app": "hostile:application", "pm.process_idle_timeout": "1s", **MANAGERS[manager]}
        pools = {"hostile": hostile, "good": {"pm.max_children": 2}}
        fpm = daemon(pools, global_={"process_control_timeout": "2s"}, started=False)
        write_app(fpm, "hostile", HOSTILE)
        fpm.expect_log(r"\[pool hostile\]")
        # A 503 responder's, for its workers die; and of the dead it is still read what they have said.
        fpm.expect_descriptors(scoreboard=2, socket=2, anon_inode=1, pipe=8)
        fpm.start()
        wait_state(fpm, "good", "running")
        wait_numbers(fpm, "good", idle_processes=2)
        return fpm

    return make


@pytest.mark.parametrize("manager", MANAGERS)
@pytest.mark.parametrize(
    "attack", ["scribble", "messages", "small_messages", "rights", "output", "eventfd", "listener"]
)
def test_attack(attacked: Callable[[str], Daemon], attack: str, manager: str) -> None:
    fpm = attacked(manager)
    good = fpm.workers("good")
    fds = len(os.listdir(f"/proc/{fpm.pid}/fd"))
    before, began = cpu_seconds(fpm.pid), time.monotonic()
    with clients(fpm, "hostile", f"/{attack}", query=str(ATTACK_TIME), count=1) as attacking:
        with clients(fpm, "good", count=1) as served:
            while time.monotonic() - began < ATTACK_TIME:
                count = len(served.good)
                wait_until(lambda count=count: len(served.good) > count)
                assert fpm.figures("hostile")["pool"] == "hostile"
        attacking.stopped.set()
        spent, seconds = cpu_seconds(fpm.pid) - before, time.monotonic() - began
        assert spent < CPU_SHARE * seconds + 0.3, f"{spent:.2f} s of CPU in {seconds:.2f} s"
    assert served.bad[:3] == [], f"{len(served.bad)} of {len(served.bad) + len(served.good)}; {facts(fpm, 'good')}"
    assert fpm.workers("good") == good
    assert facts(fpm, "good")["generation"] == 1
    wait_numbers(fpm, "good", idle_processes=2)
    assert "internal error" not in fpm.log()
    # The log of a pool cannot speak in another's name, nor in the master's.
    for line in fpm.log().splitlines():
        assert "forged" not in line or "[pool hostile]" in line or "pool good" not in line.split("forged")[0]
    wait_until(lambda: len(os.listdir(f"/proc/{fpm.pid}/fd")) <= fds + 16)
    if attack != "listener":
        # What it has done to itself is over with its next workers.
        for worker in fpm.workers("hostile"):
            os.kill(worker, signal.SIGQUIT)
        wait_until(lambda: fpm.get("hostile", "/output", query="0").status == 200)


def test_template_is_no_better_than_a_worker(daemon: Start) -> None:
    fpm = daemon({"hostile": {"app": "hostile_template:application"}, "good": {"pm.max_children": 2}}, started=False)
    write_app(fpm, "hostile", HOSTILE)
    write_app(
        fpm,
        "hostile_template",
        """
        import json, os, threading
        import hostile
        from hello import application

        victims = [int(pid) for pid in os.listdir("/proc") if pid.isdigit()]
        channel = hostile.sockets("channel")[0]
        for pid in victims:
            channel.send(json.dumps(hostile.message("Forked", slot=0, pid=pid)).encode())
            channel.send(json.dumps(hostile.message("WorkerExited", pid=pid, status=9, **hostile.USAGE)).encode())
        hostile.FORGED += [hostile.message("Forked", slot=s, pid=pid) for pid in victims[-40:] for s in range(9)]
        hostile.FORGED += [hostile.message("WorkerExited", pid=pid, status=0, **hostile.USAGE) for pid in victims[-40:]]
        threading.Thread(target=lambda: (hostile.messages(1), hostile.scribble(1), hostile.eventfd(1))).start()
        """,
    )
    # What it forges about its own workers may cost it its start, so that it counts as failed after this time.
    hostile = {"app": "hostile_template:application", "preload": "yes", "startup_timeout": "10s"}
    fpm.configure({"hostile": hostile, "good": {"pm.max_children": 2}})
    fpm.expect_log(r"\[pool hostile\]")
    fpm.start()
    (template,) = fpm.processes("template good")
    good = fpm.workers("good")
    before, began = cpu_seconds(fpm.pid), time.monotonic()
    with clients(fpm, "good", count=1) as served:
        hold_for(lambda: fpm.workers("good") == good, 3.0, message="a good worker has gone")
    assert served.bad == []
    assert cpu_seconds(fpm.pid) - before < CPU_SHARE * (time.monotonic() - began) + 0.3
    assert fpm.workers("good") == good
    assert [process.pid for process in fpm.processes("template good")] == [template.pid]
    assert "internal error" not in fpm.log()
    # The good pool's exits are still learnt.
    fpm.expect_log(rf"\[pool good\] (template {template.pid}|child {good[0]}) exited on signal 9")
    template.kill()
    wait_until(lambda: [process.pid for process in fpm.processes("template good")] not in ([], [template.pid]))
    os.kill(good[0], 9)
    wait_until(lambda: len(set(fpm.workers("good")) - set(good)) == 1)
    wait_numbers(fpm, "good", idle_processes=2)
