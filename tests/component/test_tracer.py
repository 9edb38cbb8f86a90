"""The tracer looks at processes that stand where the test wants them."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from types import SimpleNamespace
from typing import cast

import pytest

from fpm.master.processes.self_dump_fd import SelfDumpFd
from fpm.master.tracing import tracer_process
from fpm.master.tracing.trace_target import TraceOptions, TraceTarget
from fpm.stacks.layout import parse_layout
from fpm.stacks.trace import ThreadStack, Trace
from fpm.tracer.snapshot import THREADS_ALL
from tests.support.interpreter import pool_python
from tests.support.traced import LATE, ROOT, TRIES, Looker, Target
from tests.support.waiting import wait_until

NOBODY = 65534


@pytest.fixture(scope="module")
def looker() -> Iterator[Looker]:
    with Looker() as one:
        with Target("say()") as target:
            one.trace(target)  # its tracer runs from now on
        yield one
        assert one.log() == ""


def short(stack: ThreadStack) -> list[list[object]]:
    return [[frame.function, frame.file, frame.line] for frame in stack.frames]


SHAPES = """
import sys, threading, time

def truth():
    frame, found = sys._getframe(2), []
    while frame is not None:
        found.append([frame.f_code.co_qualname, frame.f_code.co_filename, frame.f_lineno])
        frame = frame.f_back
    return found

class Shop:
    def order(self, depth):
        if depth:
            return self.order(depth - 1)
        return list(self.lines(3))

    def lines(self, count):
        yield from self.inner(count)

    def inner(self, count):
        for number in range(count):
            yield [self.price(n) for n in [number]]

    def price(self, number):
        class Inner:
            value = sorted([2, 1], key=lambda item: self.wait(item))
        return Inner

    @staticmethod
    def wait(item):
        say(truth()), sys.stdin.readline()
        return item

exec(compile("def ran(): Shop().order(30)", "<text>", "exec"))
ran()
"""


def test_frames_are_those_of_the_program(looker: Looker) -> None:
    with Target(SHAPES) as target:
        truth = target.said
        truth[0:0] = [["Shop.wait", target.file, target.line("say(truth())")]]
        wait_until(lambda: target.state == "S")  # it may still be in say()
        trace = looker.trace(target, depth=100)
    assert (trace.how, trace.error, trace.note, trace.pid) == ("ptrace", "", "", target.pid)
    (main,) = trace.threads
    assert short(main) == truth
    assert (main.main, main.tid, main.note) == (True, target.pid, "")
    assert main.doing.startswith("in read(0 <pipe:[")
    assert 0 < trace.stopped < 30
    assert len(truth) >= 40, "one more before 3.12, where a comprehension has a frame of its own"


def test_depth_is_kept(looker: Looker) -> None:
    with Target(SHAPES) as target:
        wait_until(lambda: target.state == "S")
        (main,) = looker.trace(target, depth=7).threads
        (whole,) = looker.trace(target, depth=0).threads
        assert short(main) == [["Shop.wait", target.file, target.line("say(truth())")], *target.said][:7]
    assert "7" in main.note
    assert len(whole.frames) == len(target.said) + 1


THREADS = """
import queue, select, socket, threading, time
left, right = socket.socketpair()
lock = threading.Lock()
lock.acquire()
poll = select.poll()
poll.register(left, select.POLLIN)
epoll = select.epoll()
ready = threading.Barrier(8)

def run(name, call):
    def function():
        ready.wait()
        call()
    threading.Thread(target=function, name=name, daemon=True).start()

run("recv", lambda: left.recv(1))
run("lock", lock.acquire)
run("timed", lambda: lock.acquire(timeout=600))
run("poll", lambda: poll.poll(600000))
run("epoll", epoll.poll)
run("sleep", lambda: time.sleep(600))

def busy():
    while True:
        pass

run("busy", busy)
tids = {thread.name: thread.native_id for thread in threading.enumerate()}
ready.wait()
say([tids, left.fileno(), epoll.fileno()])
threading.Event().wait()
"""


def test_each_thread_says_what_it_does(looker: Looker) -> None:
    with Target(THREADS) as target:
        tids, left, epoll = target.said
        link = os.readlink(f"/proc/{target.pid}/fd/{left}")
        wanted = {
            "recv": f"in recvfrom({left} <{link}>)",
            "poll": f"in poll({left} <{link}>)",
            "epoll": f"in epoll_wait({epoll} <anon_inode:[eventpoll]>)",
            "sleep": "in clock_nanosleep()",
            "lock": "waiting for a lock",
            "timed": "waiting for a lock",
            "MainThread": "waiting for a lock",
            "busy": "running",
        }
        phrases = {tids[name]: phrase for name, phrase in wanted.items()}
        for _ in range(3):  # from the second time on the kernel restarts calls that have a timeout
            # A call that ended with EINTR is made again when the busy thread gives the interpreter away.
            looker.run(lambda: _doing(looker.trace(target)) == phrases)
        trace = looker.trace(target)
    assert [thread.main for thread in trace.threads] == [True] + [False] * 7
    assert trace.threads[0].tid == target.pid
    functions = {thread.tid: thread.frames[0].function for thread in trace.threads}
    assert functions[tids["busy"]] == "busy"
    assert functions[tids["sleep"]] == "<lambda>"


def _doing(trace: Trace) -> dict[int, str]:
    assert trace.error == ""
    return {thread.tid: thread.doing for thread in trace.threads}


def test_without_a_layout_there_is_what_the_threads_do(looker: Looker) -> None:
    with Target("import time; say(); time.sleep(600)") as target:
        sleeping = ThreadStack(target.pid, True, (), "in clock_nanosleep()")
        looker.run(lambda: looker.trace(target.pid).threads == (sleeping,))


LONG = """
import sys
scope = {"read": sys.stdin.readline}
exec(compile("def f():\\n read()\\n", "/odd\\n\\x1b[31m" + chr(0xdc80), "exec"), scope)
f = scope["f"]
f.__code__ = f.__code__.replace(co_name="g" * 65536, co_qualname="g" * 65536)
say()
f()
"""


def test_long_and_odd_names_are_bounded(looker: Looker) -> None:
    with Target(LONG) as target:
        wait_until(lambda: target.state == "S")  # it reads
        (main,) = looker.trace(target).threads
    assert main.frames[0].function.startswith("g" * 100)
    assert len(main.frames[0].function) < 5000
    assert main.frames[0].file.startswith("/odd\n\x1b[31m")
    assert main.frames[1].function == "<module>"
    main.frames[0].file.encode()


CROWD = """
import threading
ready = threading.Barrier(COUNT + 1)
def deep(n):
    if n:
        return deep(n - 1)
    ready.wait()
    threading.Event().wait()
threading.stack_size(65536)
for _ in range(COUNT):
    threading.Thread(target=deep, args=(8,), daemon=True).start()
ready.wait()
say()
threading.Event().wait()
"""


def test_five_hundred_threads(looker: Looker) -> None:
    with Target(f"COUNT = 500{CROWD}") as target:
        for _ in range(3):
            trace = looker.trace(target, depth=50)
            assert trace.error == ""
            assert len(trace.threads) > 300
            assert trace.threads[0].main
            assert trace.threads[0].frames[-1].file == "<string>"
        wait_until(lambda: target.state == "S")


def test_of_more_threads_only_the_first_is_stopped(looker: Looker) -> None:
    with Target(f"COUNT = {THREADS_ALL}{CROWD}") as target:
        trace = looker.trace(target)
        assert trace.error == ""
        (main,) = trace.threads
        assert main.main
        assert main.frames[-1].file == "<string>"
        assert trace.note == f"{THREADS_ALL} other threads are not shown: it has more than {THREADS_ALL}"
        assert 0 < trace.cost < 30


URGENT = """
import os, time
from fpm.tracer.urgency import THREADS_MAX, urgent
with urgent(THREADS_MAX + 1):
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
with urgent(1):
    before = os.sched_getscheduler(0)
    end = time.monotonic() + 20
    while os.sched_getscheduler(0) == before != os.SCHED_OTHER:
        assert time.monotonic() < end
print(before == os.SCHED_FIFO, os.sched_getscheduler(0) == os.SCHED_OTHER)
"""


@pytest.mark.root
def test_the_tracer_is_not_urgent_for_long() -> None:
    """Nor at all for many threads. A kernel that gives root no real-time class has nothing to bound."""
    done = subprocess.run(
        [sys.executable, "-c", URGENT], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout in ("True True\n", "False True\n")


def test_a_pool_that_has_used_up_its_time_waits_and_others_do_not(looker: Looker) -> None:
    stacks, answers, own_stack = looker.services.stacks, {}, SelfDumpFd.create()
    with closing(own_stack), Target("import time; say(); time.sleep(600)") as target:

        def take(pool: str) -> None:
            asked = SimpleNamespace(
                pool=pool,
                pid=target.pid,
                ids=(os.geteuid(), os.getegid()),
                is_gone=lambda: False,
                is_stranger=lambda: False,
                is_ready=False,
                own_stack=own_stack,
                request_layout=lambda done: done(parse_layout(target.layout)),
            )
            stacks.take(cast(TraceTarget, asked), TraceOptions(20), lambda trace: answers.setdefault(pool, trace))

        stacks._spend("greedy", 100.0)
        take("greedy")
        for number in range(TRIES):
            take(modest := f"modest {number}")
            looker.run(lambda modest=modest: len(answers) > 1 and modest in answers)
            if not LATE.search(answers[modest].error):
                break
        stacks.close()
    assert answers[modest].error == ""
    assert answers["greedy"].error == "stacks of its pool have taken more of the processor than its share"


@pytest.mark.root
def test_a_worker_of_another_user(looker: Looker) -> None:
    """It has given up its rights, so it is not dumpable; the tracer has rights enough."""
    program = (
        f"import os\nos.setgroups([])\nos.setgid({NOBODY})\nos.setuid({NOBODY})\nsay()\nimport time\ntime.sleep(600)"
    )
    with Target(program, python=pool_python()) as target:
        wait_until(lambda: target.state == "S")  # it sleeps
        trace = looker.trace(target)
    assert trace.error == ""
    assert trace.threads[0].frames[0].line == 7


def test_the_tracer_is_ended_when_it_is_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    with Looker() as looker:
        assert looker.tracer.pid == 0
        looker.trace(os.getpid())
        first = looker.tracer.pid
        assert first != 0
        monkeypatch.setattr(tracer_process, "IDLE_TIME", 0.1)
        looker.trace(os.getpid())
        assert looker.tracer.pid == first
        looker.run(lambda: looker.tracer.pid == 0)
        looker.trace(os.getpid())
        assert looker.tracer.pid not in (0, first)
        assert looker.log() == ""


def test_the_tracer_ends_with_the_master_also_where_warnings_are_errors() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [
        "-W",
        "error",
        "-c",
        "import os, runpy; os.dup2(0, 3); runpy.run_module('fpm.tracer', run_name='__main__')",
    ]
    with subprocess.Popen(
        [sys.executable, "-P", *command], stdin=theirs, stderr=subprocess.PIPE, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}
    ) as tracer:
        theirs.close()
        assert select.select([ours], [], [], 60)[0]
        assert b"TracerReady" in ours.recv(1000)
        ours.close()
        assert tracer.wait(60) == 0
        assert tracer.stderr is not None
        assert tracer.stderr.read() == b""
