"""Processes to look at, and the tracer as the master has it, without a master.

    with Looker() as looker, Target("import time; time.sleep(600)") as target:
        trace = looker.trace(target)

A Target first has its own child find the layout, as a template does, and says when it stands where the test wants it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Any, cast

from fpm.config.model import GlobalConfig
from fpm.log.error import ErrorLog
from fpm.master.core import EventSink, log_reader
from fpm.master.loop.loop import Loop
from fpm.master.processes.oom import OomWatch
from fpm.master.services import Budget, Services
from fpm.master.tracing.tracer_process import TracerProcess
from fpm.protocol.tracing import TraceTask
from fpm.stacks.layout import parse_layout
from fpm.stacks.trace import Trace
from fpm.system.listen_queue import ListenQueueReader
from fpm.tracer.process import read_state
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
TRIES = 10
LATE = re.compile("it took too long to look at it$|it could not be read within |the tracer is busy with ")
"""What says how busy the machine is, not how well the tracer looks."""
PRELUDE = """
import ctypes, json, os, sys
ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1), 0, 0, 0)  # PR_SET_PTRACER_ANY, where there is Yama
sys.path.insert(0, {root!r})
from fpm.template.calibrator import run_child
def layout():
    for _ in range(3):
        r, w = os.pipe()
        pid = os.fork()
        if pid == 0:
            run_child(w)
        os.close(w)
        with open(r, "rb") as answer:
            found = json.load(answer)
        os.waitpid(pid, 0)
        if "layout" in found:
            return found["layout"]
    raise SystemExit(found["error"])
def say(thing=None):
    sys.stdout.write(json.dumps(thing) + "\\n")
    sys.stdout.flush()
say(layout())
with open({file!r}) as file:
    code = compile(file.read(), {file!r}, "exec")
scope = {{"__name__": "__main__", "say": say}}
del sys.modules["fpm.template.calibrator"]
exec(code, scope)
"""


class Target:
    """A Python process that executes a program, which calls `say()` when it is where it should be looked at.

    Attributes:
        pid, layout, file (the program's, as it is on the stack), said (what it has said first).
    """

    def __init__(self, program: str, *, python: str | None = None, wait: bool = True, **options: Any) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="pyfpm-target-")
        os.chmod(self._directory.name, 0o755)
        self.file = str(Path(self._directory.name) / "program.py")
        Path(self.file).write_text(program)
        prelude = PRELUDE.format(root=str(ROOT), file=self.file)
        self.process = subprocess.Popen(
            [python or sys.executable, "-P", "-c", prelude], stdout=subprocess.PIPE, stdin=subprocess.PIPE, **options
        )
        self.pid = self.process.pid
        self.layout: dict[str, int] = self.hear()
        self.said = self.hear() if wait else None

    def hear(self) -> Any:
        """The next thing that it says."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the target has ended"
        return json.loads(line)

    def tell(self, line: str = "") -> None:
        """A line to its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    @property
    def state(self) -> str:
        """R, S, D, T, t, Z; "" if it is gone."""
        state = read_state(self.pid)
        return state.state if state is not None else ""

    def line(self, text: str) -> int:
        """The number of the one line of the program in which this text stands."""
        lines = Path(self.file).read_text().splitlines()
        (number,) = [number for number, line in enumerate(lines, 1) if text in line]
        return number

    def __enter__(self) -> Target:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait(20)
        for pipe in (self.process.stdin, self.process.stdout):  # not read to the end: its children may hold them
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):  # something that it was told and did not read
                    pipe.close()
        self._directory.cleanup()


class Looker:
    """The master's TracerProcess with a loop and a log of its own."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="pyfpm-looker-")
        self.log_file = Path(self._directory.name) / "log"
        self.loop = Loop(self._report)
        log = ErrorLog(str(self.log_file))
        self.services = Services(
            loop=self.loop,
            log=log,
            sink=EventSink(time.time, log_reader(log)),
            settings=cast(GlobalConfig, SimpleNamespace(control="")),
            bundle_fd=-1,
            environ={},
            original_rlimit_files=(1024, 1024),
            queues=ListenQueueReader(),
            budget=Budget(),
            reapers={},
            clock=time.time,
            oom=OomWatch(),
        )
        self.tracer = TracerProcess(self.services)
        self._failed: BaseException | None = None

    def ask(self, target: Target | int, **options: Any) -> list[Trace]:
        """A list that gets the trace in it later."""
        answers: list[Trace] = []
        if isinstance(target, Target):
            options = {"layout": parse_layout(target.layout), **options}
        pid = target if isinstance(target, int) else target.pid
        self.tracer.trace(TraceTask(pid, **options), answers.append)
        assert not answers, "it was answered within the call"
        return answers

    def trace(self, target: Target | int, **options: Any) -> Trace:
        """Look at it once; again where this machine was too busy for it."""
        for _ in range(TRIES):
            answers = self.ask(target, **options)
            self.run(lambda answers=answers: bool(answers))  # type: ignore[misc]
            assert len(answers) == 1
            if not LATE.match(answers[0].error):
                break
        return answers[0]

    def run(self, condition: Callable[[], bool], timeout: float = 60.0) -> None:
        """Run the loop, and reap the tracer as the master does, until the condition holds."""
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, f"the condition never held (waited {timeout} s)"
            alarm = self.loop.call_later(0.02, lambda: None)
            self.loop.run_once()
            alarm.cancel()
            for pid, reap in list(self.services.reapers.items()):
                gone, status = os.waitpid(pid, os.WNOHANG)
                if gone:
                    del self.services.reapers[pid]
                    reap(status)
            assert self._failed is None, repr(self._failed)

    def log(self) -> str:
        """What has been logged."""
        return self.log_file.read_text()

    def children(self) -> list[int]:
        """Of the tracer: who looks just now."""
        path = Path(f"/proc/{self.tracer.pid}/task/{self.tracer.pid}/children")
        return [int(pid) for pid in path.read_text().split()] if self.tracer.pid else []

    def _report(self, error: BaseException) -> None:
        self._failed = error

    def __enter__(self) -> Looker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.tracer.close()
        self.loop.close()
        self.services.log.close()
        self.services.oom.close()
        self._directory.cleanup()


def stop_by_signal(target: Target) -> None:
    """SIGSTOP it, and wait until it has stopped."""
    os.kill(target.pid, signal.SIGSTOP)
    wait_until(lambda: target.state == "T")
