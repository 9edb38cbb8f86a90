"""`seccomp`: what the kernel refuses to a pool, call by call in a real one; all that is usual goes on."""

from __future__ import annotations

import json
import os
import signal
from errno import ENOSYS, EPERM

import pytest

from fpm.config.local_abilities import look as look_at
from fpm.kernel.calls import MACHINES, NUMBERS, number_of
from fpm.kernel.denied import GROUPS, STRICT_GROUPS
from fpm.kernel.system_call import own_machine
from tests.support.fpm import Daemon, Start
from tests.support.pools import wait_state, write_app
from tests.support.processes import status_of
from tests.support.reloads import reload
from tests.support.traces import look

pytestmark = pytest.mark.skipif(own_machine() not in MACHINES, reason="seccomp knows no calls of this machine")

OWN_FILTERS = int(status_of(os.getpid())["Seccomp_filters"])

ASK = """
import ctypes, errno, json, os

libc = ctypes.CDLL(None, use_errno=True)
ONE = ctypes.c_long(-1)

def ask(number, *arguments):
    # Those of no argument are such that the call fails, or does nothing, where it is allowed.
    values = [ctypes.c_long(one) for one in arguments] or [ONE] * 6
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *values)
    return ctypes.get_errno() if result < 0 else 0

def application(environ, start_response):
    calls = json.loads(environ["QUERY_STRING"])
    answer = {name: ask(*numbers) for name, numbers in calls.items()}
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(answer).encode()]
"""
LEVELS = ("off", "default", "strict")
ALWAYS = {name for names in GROUPS.values() for name in names}
STRICT = {name for names in STRICT_GROUPS.values() for name in names}


def ask(fpm: Daemon, pool: str, calls: dict[str, list[int]]) -> dict[str, int]:
    """What a worker gets for calls, by any name: errno, or 0."""
    reply = fpm.get(pool, query=json.dumps(calls, separators=(",", ":")))
    assert reply.status == 200, reply
    found: dict[str, int] = json.loads(reply.body)
    return found


def number(name: str) -> int:
    found = number_of(name, own_machine())
    assert found is not None
    return found


def names() -> list[str]:
    return [name for name in NUMBERS if name in ALWAYS | STRICT and number_of(name, own_machine()) is not None]


@pytest.mark.root
@pytest.mark.skipif(OWN_FILTERS > 0, reason="these tests are under a filter themselves, so its answers are not ours")
def test_each_call_of_the_lists_even_for_root(daemon: Start) -> None:
    """Root could do all of it, so it is the filter that refuses. Other arguments than these would do harm."""
    fpm = daemon({f"{level}": {"app": "ask:application", "user": "root", "seccomp": level} for level in LEVELS},
                 started=False)  # fmt: skip
    write_app(fpm, "ask", ASK)
    fpm.start("-R", "run")
    without = [name for name in names() if name != "vhangup"]
    plain = ask(fpm, "off", {name: [number(name)] for name in without})
    assert {name for name, code in plain.items() if code == EPERM} == set()
    calls = {name: [number(name)] for name in names()}
    assert {name for name, code in ask(fpm, "strict", calls).items() if code != EPERM} == set()
    default = ask(fpm, "default", calls)
    assert {name for name, code in default.items() if code == EPERM} == ALWAYS & set(names())
    assert {name: default[name] for name in STRICT & set(without)} == {
        name: plain[name] for name in STRICT & set(without)
    }


def test_calls_that_depend_on_their_arguments(daemon: Start) -> None:
    pools = {level: {"app": "ask:application", "seccomp": level} for level in LEVELS}
    fpm = daemon(pools, started=False)
    write_app(fpm, "ask", ASK)
    fpm.start()
    tiocsti, clone, socket = number("ioctl"), number("clone"), number("socket")
    calls = {
        "tiocsti": [tiocsti, -1, 0x5412, 0],
        "tiocsti above": [tiocsti, -1, 0x5412 | 1 << 40, 0],
        "fionread": [tiocsti, -1, 0x541B, 0],
        "newuser": [clone, 0x10000000 | 0x10100, 0],  # with CLONE_THREAD without CLONE_SIGHAND: EINVAL
        "clone": [clone, 0x10000, 0],
        "clone3": [number("clone3"), 0, 0],
        "new": [600, 0],
        "none": [-1, 0],
        "vsock": [socket, 40, 1, 0],
        "alg": [socket, 38, 5, 0],
        "unix": [socket, 1, 99, 0],
        "route": [socket, 16, 99, 0],
        "netfilter": [socket, 16, 3, 12],
        "pair": [number("socketpair"), 2, 1, 0, 0],
        "personality": [number("personality"), 0xFFFFFFFF],
        "persona": [number("personality"), 0x40000],
    }
    default, strict, off = (ask(fpm, level, calls) for level in ("default", "strict", "off"))
    for name in ("tiocsti", "tiocsti above", "newuser", "vsock"):
        assert default[name] == strict[name] == EPERM != off[name], name
    for name in ("fionread", "clone", "unix", "route"):
        assert default[name] == strict[name] == off[name] != EPERM, name
    for name in ("clone3", "new", "none"):
        assert default[name] == strict[name] == ENOSYS, name
    assert off["clone3"] != ENOSYS
    for name in ("alg", "netfilter", "pair"):
        assert strict[name] == EPERM != default[name] == off[name], name
    assert (off["personality"], default["personality"], strict["personality"]) == (0, 0, EPERM)
    assert (off["persona"], default["persona"], strict["persona"]) == (0, EPERM, EPERM)


FOREIGN = """
import ctypes, json, mmap, os

def call_as_i386():
    # mov eax, 20 (getpid of i386); int 0x80; ret
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(bytes([0xB8, 20, 0, 0, 0, 0xCD, 0x80, 0xC3]))
    return ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()

def call_as_x32():
    return ctypes.CDLL(None).syscall(ctypes.c_long(0x40000000 | 39))

def application(environ, start_response):
    done = {}
    for attempt in (call_as_i386, call_as_x32):
        pid = os.fork()
        if pid == 0:
            attempt()
            os._exit(0)
        done[attempt.__name__] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(done).encode()]
"""


@pytest.mark.skipif(own_machine() != "x86_64", reason="i386 and x32 are of x86_64")
def test_other_architectures_are_killed(daemon: Start) -> None:
    pools = {level: {"app": "foreign:application", "seccomp": level} for level in LEVELS}
    fpm = daemon(pools, started=False)
    write_app(fpm, "foreign", FOREIGN)
    fpm.start()
    for level in LEVELS:
        done = json.loads(fpm.get(level).body)
        assert set(done.values()) == ({0} if level == "off" else {-signal.SIGSYS}), (level, done)


USUAL = """
import asyncio, concurrent.futures, ctypes, hashlib, json, mmap, multiprocessing, os, pty, select, signal
import socket, sqlite3, ssl, subprocess, sys, tempfile, threading, time
from multiprocessing import shared_memory

def double(number):
    return 2 * number

def threads():
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert list(pool.map(double, range(20))) == list(range(0, 40, 2))

def processes():
    for way in ("fork", "spawn", "forkserver"):
        context = multiprocessing.get_context(way)
        with context.Pool(2) as pool:
            assert pool.map(double, [1, 2, 3]) == [2, 4, 6]

def programs():
    assert subprocess.run(["/bin/sh", "-c", "echo one | cat"], capture_output=True, text=True).stdout == "one\\n"
    assert subprocess.run([sys.executable, "-c", "import ssl; print(6)"], capture_output=True).stdout == b"6\\n"
    assert os.system("true") == 0
    assert os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)[1] == 0

def database():
    with tempfile.TemporaryDirectory() as directory:
        with sqlite3.connect(directory + "/data") as data:
            data.execute("pragma journal_mode=wal")
            data.execute("create table t (x)")
            data.execute("insert into t values (1)")
            assert data.execute("select x from t").fetchall() == [(1,)]
        data.close()

def secure():
    ssl.create_default_context()
    hashlib.scrypt(b"a", salt=b"b", n=2, r=1, p=1)
    os.urandom(8)

def loop():
    async def run():
        process = await asyncio.create_subprocess_exec("true")
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        assert await reader.read() == b""
        writer.close()
        server.close()
        await asyncio.to_thread(time.sleep, 0)
        return await process.wait()
    assert asyncio.run(run()) == 0

def memory():
    with mmap.mmap(-1, 8192) as page:
        page.madvise(mmap.MADV_DONTNEED)
    fd = os.memfd_create("x")
    os.write(fd, b"memory")
    assert os.pread(fd, 9, 0) == b"memory"
    os.close(fd)
    shared = shared_memory.SharedMemory(create=True, size=64)
    shared.close()
    shared.unlink()

def children():
    pid = os.fork()
    if pid == 0:
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    master, slave = pty.openpty()
    os.close(master), os.close(slave)

def waiting():
    fd = os.eventfd(1)
    poll = select.epoll()
    poll.register(fd, select.EPOLLIN)
    assert poll.poll(1)
    poll.close(), os.close(fd)
    signal.setitimer(signal.ITIMER_REAL, 0)
    os.sched_setaffinity(0, os.sched_getaffinity(0))
    os.nice(0)
    os.setsid() if os.fork() == 0 and not os._exit(0) else os.wait()

def names():
    assert socket.getaddrinfo("localhost", 80)
    assert socket.if_nameindex()
    for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
        try:
            socket.socket(family, socket.SOCK_STREAM).close()
        except OSError as error:
            assert error.errno == 97, error
    left, right = socket.socketpair()
    socket.send_fds(left, [b"x"], [0])
    _, fds, _, _ = socket.recv_fds(right, 1, 1)
    os.close(fds[0]), left.close(), right.close()

def sandboxes():
    # What asks for less is welcome: landlock_create_ruleset(2) for its version, PR_GET_NO_NEW_PRIVS.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(444, None, ctypes.c_size_t(0), 1) < 0:
        assert ctypes.get_errno() in (38, 95)
    assert libc.prctl(39, 0, 0, 0, 0) == 1

def application(environ, start_response):
    done = {}
    for what in (threads, processes, programs, database, secure, loop, memory, children, waiting, names, sandboxes):
        try:
            what()
            done[what.__name__] = "works"
        except Exception as error:
            done[what.__name__] = repr(error)
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(done).encode()]
"""


def test_what_applications_do_goes_on(daemon: Start) -> None:
    pools = {level: {"app": "usual:application", "seccomp": level} for level in ("default", "strict")}
    fpm = daemon(pools, started=False)
    write_app(fpm, "usual", USUAL)
    fpm.start()
    for level in pools:
        done = json.loads(fpm.get(level).body)
        assert {name: said for name, said in done.items() if said != "works"} == {}, level
        assert len(done) == 11


def test_it_holds_in_template_and_workers_and_after_the_template_has_executed_itself(daemon: Start) -> None:
    pools = {
        "plain": {"seccomp": "default"},
        "late": {"seccomp": "strict", "preload": "no"},
        "again": {"seccomp": "strict", "app": "threaded:application"},
        "off": {"isolation": "none"},
    }
    fpm = daemon(pools, started=False)
    source = "import threading, time\nthreading.Thread(target=time.sleep, args=(3600,), daemon=True).start()\n"
    write_app(fpm, "threaded", source + "from hello import application\n")
    fpm.expect_log("pool again")
    fpm.start()
    for pool in pools:
        assert fpm.get(pool).status == 200
        for title, pids in (("template", fpm.templates(pool)), ("pool", fpm.workers(pool))):
            assert pids, (pool, title)
            for pid in pids:
                # In a container there may be one already.
                assert int(status_of(pid)["Seccomp_filters"]) - OWN_FILTERS == (pool != "off"), (pool, title)
    assert int(status_of(fpm.pid)["Seccomp_filters"]) == OWN_FILTERS


def test_the_503_responder_runs_no_code_of_others(daemon: Start) -> None:
    fpm = daemon({"www": {"app": "broken_import:application", "seccomp": "strict"}}, started=False)
    fpm.expect_log(r"\[pool www\]")
    fpm.start()
    wait_state(fpm, "www", "failed")
    assert fpm.get("www").status == 503
    (responder,) = fpm.processes("unavailable www")
    assert status_of(responder.pid)["Seccomp"] == "0"


def test_it_needs_no_new_privs(daemon: Start) -> None:
    fpm = daemon({"www": {"seccomp": "default", "no_new_privs": False}}, started=False)
    tested = fpm.cli("test")
    assert tested.returncode == 78
    assert "[www] seccomp: needs no_new_privs = yes" in tested.stderr


@pytest.mark.root
@pytest.mark.skipif("jail" in look_at(is_root=True).missing, reason="no namespaces here")
def test_a_jail_under_a_filter_is_looked_at_and_serves(daemon: Start) -> None:
    """Filter and rules come after the jail, for which they would not allow the calls."""
    jail = {"namespaces": "mount pid ipc uts net", "private_tmp": False, "landlock": "read /usr", "seccomp": "strict"}
    if not look_at(is_root=True).landlock:
        del jail["landlock"]
    fpm = daemon({"www": {"app": "held:application", **jail}})
    entry = look(fpm, "/nap", place="nap")
    assert entry["how"] == "ptrace"
    status = status_of(fpm.workers("www")[0])
    assert (status["Seccomp"], status["NSpid"].split()[1:] != []) == ("2", True)
    reload(fpm)
    assert fpm.get("www", "/measure").status == 200
