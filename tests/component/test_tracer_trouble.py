"""The tracer and processes that do not stand still for it, or anything else that goes wrong."""

from __future__ import annotations

import itertools
import os
import random
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from fpm.master.tracing import tracer_process
from fpm.stacks.trace import Trace
from fpm.tracer.process import read_state
from tests.support.processes import status_of
from tests.support.traced import LATE, ROOT, Looker, Target, stop_by_signal
from tests.support.waiting import wait_until

GONE = "the process has exited"


@pytest.fixture(scope="module")
def looker() -> Iterator[Looker]:
    with Looker() as one:
        with Target("say()") as target:
            one.trace(target)  # its tracer runs from now on
        yield one
        assert one.log() == ""


COUNTER = """
import os, signal, sys
r, w = os.pipe2(os.O_NONBLOCK)
signal.set_wakeup_fd(w, warn_on_full_buffer=False)
signal.signal(signal.SIGRTMIN, lambda *_: None)
count = 0
def settle():
    global count
    while True:
        try:
            count += len(os.read(r, 65536))
        except BlockingIOError:
            return
say()
while count < 1000:
    settle()
say(count)
sys.stdin.readline()
"""


def test_no_signal_is_lost(looker: Looker) -> None:
    """Real-time signals are queued, and each that is delivered is one byte in the target's pipe."""
    with Target(COUNTER) as target:
        looked = threading.Semaphore(0)
        sending = threading.Thread(target=_send_signals, args=(target.pid, 1000, looked))
        sending.start()
        looks = 0
        while sending.is_alive():
            assert looker.trace(target).error == ""
            looked.release()
            looks += 1
        sending.join()
        assert target.hear() == 1000
    assert looks > 20


def _send_signals(pid: int, count: int, looked: threading.Semaphore) -> None:
    """Send so many signals, not more than forty for each look."""
    for number in range(count):
        os.kill(pid, signal.SIGRTMIN)
        select.select([], [], [], 0.001)
        if number % 40 == 39:
            looked.acquire(timeout=60)


PASSED_ON = """
import os, signal, sys
from fpm.tracer import binding
from fpm.tracer.process import read_state
from fpm.tracer.seize import Seizure

pid, interrupt = int(sys.argv[1]), binding.interrupt

def interrupt_late(tid):
    # The signal stops the thread, which is seized, before it is interrupted.
    os.kill(pid, signal.SIGRTMIN)
    while read_state(pid).state != "t":
        pass
    interrupt(tid)

binding.interrupt = interrupt_late
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
seizure = Seizure(pid)
seizure.stop()
print(seizure.stopped == {pid: signal.SIGRTMIN})
seizure.release()
"""
HEARS = """
import signal
signal.signal(signal.SIGRTMIN, lambda *_: say("heard"))
say()
while True:
    signal.pause()
"""


def test_a_signal_that_stops_a_thread_first_is_passed_on() -> None:
    with Target(HEARS) as target:
        command = [sys.executable, "-c", PASSED_ON, str(target.pid)]
        for _ in range(3):
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
            assert (done.stdout, done.stderr) == ("True\n", "")
            ready = select.select([target.process.stdout], [], [], 60)[0]
            assert ready, "the signal is lost"
            assert target.hear() == "heard"


BUSY = """
import hashlib, os, select, socket, sys, threading, time
left, right = socket.socketpair()
def echo():
    while data := right.recv(1000):
        right.sendall(data)
threading.Thread(target=echo, daemon=True).start()
epoll = select.epoll()
epoll.register(left, select.EPOLLIN)
go = True
def stop():
    global go
    sys.stdin.readline()
    go = False
threading.Thread(target=stop, daemon=True).start()
say()
asked = answered = 0
while go:
    asked += 1
    left.sendall(b"%d" % asked)
    while not epoll.poll(10):
        raise SystemExit("an answer is lost")
    answered += left.recv(1000) == b"%d" % asked
    begin = time.monotonic()
    time.sleep(0.0005)
    assert time.monotonic() - begin >= 0.0005
    hashlib.sha256(b"x" * 10000).hexdigest()
    with open("/proc/self/stat") as file:
        file.read()
say([asked, answered])
"""


def test_a_busy_worker_is_unharmed_by_300_looks(looker: Looker) -> None:
    with Target(BUSY) as target:
        for _ in range(300):
            trace = looker.trace(target)
            assert trace.error == ""
            assert trace.threads[0].frames[-2].file == target.file
            assert target.state != "T"
        target.tell()
        asked, answered = target.hear()
        assert target.process.wait(60) == 0
    assert asked == answered > 100


def _catch(looker: Looker) -> list[int]:
    """Who looks just now; [] if it was quicker than we."""
    end = time.monotonic() + 0.1
    wait_until(lambda: looker.children() or time.monotonic() > end, every=0.0002)
    return looker.children()


def test_killed_half_way_leaves_nobody_stopped() -> None:
    """Whoever looks is killed at random moments; then the tracer itself."""
    with Looker() as looker, Target(BUSY) as target:
        chance = random.Random(1)
        looker.trace(target)
        failed, end = 0, time.monotonic() + 60
        for turn in itertools.count():
            if turn >= 60 and (failed > 10 or time.monotonic() > end):
                break
            answers = looker.ask(target)
            looks = _catch(looker)
            select.select([], [], [], chance.random() * 0.004)
            for pid in looks:
                with suppress(ProcessLookupError):  # it was quicker
                    os.kill(pid, signal.SIGKILL)
            looker.run(lambda: bool(answers))  # noqa: B023
            assert answers[0].error in ("", "the look at it failed (SIGKILL)")
            failed += answers[0].error != ""
            wait_until(lambda: target.state in "RSD")
        assert failed > 10
        for _ in range(2):
            answers = looker.ask(target)
            _catch(looker)
            os.kill(looker.tracer.pid, signal.SIGKILL)
            looker.run(lambda: bool(answers))  # noqa: B023
            assert answers[0].error in ("", "the tracer ended while it looked; it is started again")
            wait_until(lambda: target.state in "RSD")
            looker.run(lambda: not looker.trace(target).error)
        assert looker.log().count("the tracer exited on signal 9 (SIGKILL)") <= 2
        target.tell()
        asked, answered = target.hear()
        assert asked == answered > 10


def test_a_tracer_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    with Looker() as looker, Target("import time; say(); time.sleep(600)") as target:
        assert looker.trace(target).error == ""
        monkeypatch.setattr(tracer_process, "ANSWER_TIME", 1.5)
        os.kill(looker.tracer.pid, signal.SIGSTOP)
        trace = looker.trace(target)
        assert trace.error == "the tracer did not answer within 1.5 s"
        looker.run(lambda: not looker.trace(target).error)
        assert "the tracer does not respond; killing it" in looker.log()


def test_a_worker_that_dies_meanwhile(looker: Looker) -> None:
    """Its parent learns it at once, although it was being traced."""
    for delay in (0.0, 0.002, 0.004, 0.006, 0.008, 0.01):
        with Target("import time\nsay()\nwhile True: pass") as target:
            answers = looker.ask(target)
            select.select([], [], [], delay)
            target.process.kill()
            assert target.process.wait(60) == -signal.SIGKILL
            looker.run(lambda: bool(answers))  # noqa: B023
            error = answers[0].error
            assert error in ("", GONE) or error.startswith("no Python frames can be read"), error
            assert looker.trace(target).error == GONE


FORTY_THOUSAND_FRAMES = """
import sys, threading
sys.setrecursionlimit(10000)
ready = threading.Barrier(101)
def deep(n):
    if n:
        return deep(n - 1)
    ready.wait()
    threading.Event().wait()
threading.stack_size(1 << 20)
for _ in range(100):
    threading.Thread(target=deep, args=(400,), daemon=True).start()
ready.wait()
say()
threading.Event().wait()
"""


@pytest.mark.root
def test_memory_is_read_without_rights(looker: Looker) -> None:
    """It takes so long to read this one that the process which does it is met doing it."""
    met: list[dict[str, str]] = []

    def meet(answers: list[Trace]) -> bool:
        for pid in looker.children():
            with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
                met.append(status_of(pid))
        return bool(answers)

    with Target(FORTY_THOUSAND_FRAMES) as target:
        for _ in range(20):
            answers = looker.ask(target)
            looker.run(lambda: meet(answers))  # noqa: B023
            assert answers[0].error == "" or LATE.match(answers[0].error)
            without = [status for status in met if status.get("Uid", "").split() == ["65534"] * 4]
            if without:
                break
    assert without, f"in {len(met)} looks it was always another user"
    assert {(status["Gid"].split()[0], status["Groups"], int(status["CapPrm"], 16)) for status in without} == {
        ("65534", "", 0)
    }


def test_nobody_is_kept_stopped_for_long(looker: Looker) -> None:
    """Whoever reads is itself stopped meanwhile, at a random moment; its alarm, and so its end, come nevertheless."""
    with Target(FORTY_THOUSAND_FRAMES) as target:
        chance = random.Random(1)
        looker.trace(target)
        end, errors = time.monotonic() + 60, {""}
        while "it could not be read within 0.5 s" not in errors:
            assert time.monotonic() < end, f"nothing ends whoever keeps a process stopped: {errors}"
            answers = looker.ask(target, depth=0)
            for pid in _catch(looker):
                select.select([], [], [], chance.random() * 0.05)
                _stop_until_alarm(pid, target)
            looker.run(lambda: bool(answers))  # noqa: B023
            errors.add(answers[0].error)
        wait_until(lambda: target.state in "RS")
        assert looker.trace(target).error == ""


def _stop_until_alarm(looking: int, target: Target) -> None:
    """Stop whoever looks, and let it go on when its alarm has come, or the target goes on, or no alarm comes."""
    with suppress(ProcessLookupError, FileNotFoundError):  # it was quicker
        os.kill(looking, signal.SIGSTOP)
        end, alarm = time.monotonic() + 1.0, False
        while target.state == "t" and not alarm and time.monotonic() < end:
            alarm = bool(int(status_of(looking)["ShdPnd"], 16) >> signal.SIGALRM - 1 & 1)
            select.select([], [], [], 0.001)
        os.kill(looking, signal.SIGCONT)


TRACER = """
import os, sys
from fpm.tracer import binding
pid = int(sys.argv[1])
binding.seize(pid)
print("there", flush=True)
sys.stdin.read()
"""


@contextmanager
def traced_by_another(pid: int) -> Iterator[int]:
    command = [sys.executable, "-c", TRACER, str(pid)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline()
        yield other.pid


def test_a_worker_that_is_traced_already(looker: Looker) -> None:
    with Target("import time; say(); time.sleep(600)") as target:
        with traced_by_another(target.pid) as other:
            trace = looker.trace(target)
            assert f"already traced by pid {other}" in trace.error
            assert trace.threads == ()
            assert f"TracerPid:\t{other}\n" in (ROOT / f"/proc/{target.pid}/status").read_text()
            wait_until(lambda: target.state == "S")
        assert looker.trace(target).error == ""


def test_a_stopped_worker_stays_stopped(looker: Looker) -> None:
    with Target("import time\nwhile True:\n  say(); time.sleep(0.01)") as target:
        stop_by_signal(target)
        for _ in range(3):
            trace = looker.trace(target)
            assert trace.error == ""
            assert trace.threads[0].frames
            wait_until(lambda: target.state == "T")
        os.kill(target.pid, signal.SIGCONT)
        wait_until(lambda: target.state in "RS")
        target.hear()


def test_stop_signals_that_come_meanwhile_count(looker: Looker) -> None:
    with Target("import time\nsay()\nwhile True: time.sleep(0.0001)") as target:
        for delay in (0.0, 0.003, 0.005, 0.006, 0.007, 0.008):
            answers = looker.ask(target)
            select.select([], [], [], delay)
            os.kill(target.pid, signal.SIGSTOP)
            looker.run(lambda: bool(answers))  # noqa: B023
            wait_until(lambda: target.state == "T")
            os.kill(target.pid, signal.SIGCONT)
            wait_until(lambda: target.state in "RS")


SPAWNER = """
import os, sys
fifo = sys.stdin.readline().strip()
say()
def spawn():
    # The child shares our memory until it executes, and it cannot before somebody opens the other end.
    os.posix_spawn("/bin/true", ["true"], {}, file_actions=[(os.POSIX_SPAWN_OPEN, 5, fifo, os.O_RDONLY, 0)])
while True:
    spawn()
    say("went on")
    sys.stdin.readline()
"""


def test_a_worker_in_uninterruptible_sleep(looker: Looker) -> None:
    """The parent of vfork(2) until its child executes: it cannot be stopped, and is read all the same."""
    with Target(SPAWNER, wait=False) as target:
        fifo = target.file + ".fifo"
        os.mkfifo(fifo)
        target.tell(fifo)
        target.hear()
        wait_until(lambda: target.state == "D")
        for _ in range(3):
            trace = looker.trace(target)
            (main,) = trace.threads
            assert main.doing.startswith("in uninterruptible sleep (wchan ")
            assert main.frames[0].function == "spawn"
            assert trace.error == ""
            wait_until(lambda: target.state == "D")
        for delay in (0.0, 0.005, 0.02, 0.025, 0.03, 0.035):  # it wakes up at any moment of a look
            if delay:
                target.tell()
            wait_until(lambda: target.state == "D")
            answers = looker.ask(target)
            select.select([], [], [], delay)
            with open(fifo, "wb"):
                assert target.hear() == "went on"
                looker.run(lambda: bool(answers))  # noqa: B023
                assert answers[0].error == ""


CHURN = """
import ctypes, mmap, subprocess, sys, threading
def maps():
    while True:
        ranges = [mmap.mmap(-1, 1 << 20) for _ in range(8)]
        for one in ranges:
            one[:4096] = b"x" * 4096
            one.close()
def threads():
    while True:
        one = threading.Thread(target=lambda: sum(range(1000)))
        one.start()
        one.join()
def grow(n=0):
    exec(compile(f"def f{n}(x): return x and f{n}(x - 1)\\nf{n}(50)", f"<made {n}>", "exec"), {})
threading.Thread(target=maps, daemon=True).start()
threading.Thread(target=threads, daemon=True).start()
say()
n = 0
while True:
    n += 1
    grow(n)
    if n % 50 == 0:
        subprocess.run(["/bin/true"])
"""


def test_a_worker_that_changes_all_the_time(looker: Looker) -> None:
    """Threads and memory that come and go, programs that are executed, code that is made and lost."""
    with Target(CHURN) as target:
        whole = 0
        for _ in range(60):
            trace = looker.trace(target, depth=100)
            assert trace.error == "" or "no Python frames" in trace.error
            main = trace.threads[0]
            whole += main.main and main.frames[-1].function == "<module>"
        assert target.process.poll() is None
    assert whole > 50


EXECS = """
import os, sys
say()
os.execv(sys.executable, [sys.executable, "-S", "-E", "-c", '''
import os, sys
n = int(sys.argv[1])
if n:
    os.execv(sys.executable, [sys.executable, "-S", "-E", "-c", sys.argv[2], str(n - 1), sys.argv[2]])
print("done", flush=True)
''', "40", '''
import os, sys
n = int(sys.argv[1])
if n:
    os.execv(sys.executable, [sys.executable, "-S", "-E", "-c", sys.argv[2], str(n - 1), sys.argv[2]])
print('"done"', flush=True)
import time
time.sleep(600)
'''])
"""


def test_a_worker_that_executes_other_programs(looker: Looker) -> None:
    """A layout of the former program: whatever is found, it ends with a note, and the process goes on."""
    with Target(EXECS) as target:
        done = threading.Event()
        threading.Thread(target=lambda: (target.hear(), done.set()), daemon=True).start()
        errors = set()
        while not done.is_set():
            errors.add(looker.trace(target).error.partition(":")[0])
        assert errors <= {"", GONE, "no Python frames can be read in it"}, errors
        assert target.state in "RS"


def test_a_pid_that_is_used_again(looker: Looker) -> None:
    state = read_state(os.getpid())
    assert state is not None
    with Target("import time; say(); time.sleep(600)") as target:
        theirs = read_state(target.pid)
        assert theirs is not None
        assert looker.trace(target, started=theirs.started).error == ""
        assert looker.trace(target, started=theirs.started - 1).error == GONE
        target.process.kill()
        wait_until(lambda: target.state == "Z")
        assert looker.trace(target, started=theirs.started).error == GONE
    assert looker.trace(2**22 - 1).error == GONE


def test_many_are_looked_at_at_once(looker: Looker) -> None:
    with Target("import time; say(); time.sleep(600)") as target:
        answers = [looker.ask(target) for _ in range(60)]
        looker.run(lambda: all(answers))
        late = [answer for answer in answers if LATE.match(answer[0].error)]
        assert {answer[0].error for answer in answers if answer not in late} == {""}
        assert len(late) < len(answers)


def test_nothing_is_left_to_be_imported_without_rights() -> None:
    """A name with characters beyond Latin-1 needs a codec, which Python reads from a file that root alone may reach."""
    code = "from fpm.tracer.warmup import warm_up; import sys; warm_up(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert {"encodings.utf_16_le", "encodings.utf_32_le"} <= set(done.stdout.split())
