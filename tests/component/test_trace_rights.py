"""What a process does so that its stacks can be read: who may trace it, and signals for its first thread alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fpm.launcher.identity import permission_for
from fpm.system.thread_signal import signal_first_thread, tgkill


@pytest.mark.parametrize("way", ["pidfd", "tgkill"])
def test_the_first_thread_alone_gets_its_signals(way: str) -> None:
    """It blocks this one here; the others do not, so they would take a signal that is the whole process's."""
    number = signal.SIGRTMIN + 3
    taken: list[int] = []
    former = signal.signal(number, lambda *_: taken.append(number))
    stop = threading.Event()
    others = [threading.Thread(target=stop.wait) for _ in range(4)]
    pidfd = os.pidfd_open(os.getpid())
    try:
        for thread in others:
            thread.start()
        signal.pthread_sigmask(signal.SIG_BLOCK, {number})
        if way == "tgkill":
            tgkill(os.getpid(), number)
        else:
            signal_first_thread(os.getpid(), pidfd, number)
        assert number in signal.sigpending()
        assert not taken
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
        assert taken
    finally:
        stop.set()
        for thread in others:
            thread.join()
        os.close(pidfd)
        signal.signal(number, former)
    with pytest.raises(ProcessLookupError):
        tgkill(4194304, number)


def test_a_kernel_without_yama_needs_no_name() -> None:
    """Or with it: this process may name itself, and nobody."""
    assert permission_for(0)() == ""
    assert permission_for(os.getpid())() == ""


OWN_USE = """
import faulthandler, fcntl, os, signal, sys
from fpm.protocol.spec import FORCED, POLITE, STACK_MAX
from fpm.worker.self_dump import listen
from fpm.protocol.spec import FD_STACK
from fpm.stacks.text.faulthandler import parse_dump

own, ours = os.memfd_create("own"), os.memfd_create("ours")
fcntl.fcntl(ours, fcntl.F_SETFL, os.O_APPEND)
os.dup2(ours, FD_STACK)
faulthandler.enable(file=own)
faulthandler.register(signal.SIGUSR1, file=own, all_threads=False)
assert listen() and listen()
def here(number):
    os.ftruncate(own, 0), os.ftruncate(ours, 0), os.lseek(own, 0, 0), os.lseek(ours, 0, 0)
    os.kill(os.getpid(), number)
    texts = [os.pread(fd, 65536, 0) for fd in (own, ours)]
    return [bool(text) and any(f.function == "here" for t in parse_dump(text) for f in t.frames) for text in texts]
print(here(signal.SIGUSR1), here(FORCED), here(POLITE))
os.ftruncate(ours, STACK_MAX + 1), os.lseek(ours, 0, 2)
os.kill(os.getpid(), POLITE)
print(os.fstat(ours).st_size < STACK_MAX)  # so much is emptied before
os.close(FD_STACK)
print(here(FORCED), here(POLITE))  # a program that closes all descriptors does not hear of it
signal.signal(FORCED, lambda *_: None)
print(listen())
"""


def test_an_application_that_uses_faulthandler_itself() -> None:
    """Its own signal goes where it wants it, ours where we do, and a signal that it has taken stays its own."""
    done = subprocess.run([sys.executable, "-c", OWN_USE], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "[True, False] [False, True] [False, True]",
        "True",
        "[False, False] [False, False]",
        "False",
    ]


SILENT = """#!/bin/sh
sleep 987 &
setsid sleep 987 &
echo $$ > {file}
exec sleep 987
"""
PROBE = """
import json, os, sys
from fpm.tracer import probe
probe.PATIENCE = 2.0
probe.main([json.dumps([-1, -1, sys.argv[1], False])])
with open(f"/proc/self/task/{os.getpid()}/children") as file:
    print([file.read()])
"""


def test_an_interpreter_that_never_answers_leaves_nobody_behind(tmp_path: Path) -> None:
    """Neither itself nor what it has started, in whatever session: all of it is the probe's."""
    silent = tmp_path / "python3"
    silent.write_text(SILENT.format(file=tmp_path / "pid"))
    silent.chmod(0o755)
    command = [sys.executable, "-c", PROBE, str(silent)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.splitlines() == ["null", "['']"], done.stderr
    assert not Path(f"/proc/{int((tmp_path / 'pid').read_text())}").exists()
