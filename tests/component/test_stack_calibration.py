"""Real interpreters find their own layout, and their stacks are read from outside as they are, frame by frame."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fpm.stacks.layout import Layout, parse_layout
from fpm.stacks.reading.lines import resolve
from fpm.stacks.reading.walk import ReadLimits
from tests.support.interpreter import interpreters
from tests.support.stack_reader import as_lists, read_threads
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
ON_TOP = {"pause", "busy_loop.<locals>.spin"}
"""What the subject calls after it has told the truth."""
AS_PY_SPY = (
    "sleep_in_nested_calls",
    "busy_loop",
    "blocked_recv",
    "waiting_for_a_lock",
    "deep_recursion",
    "generators",
    "comprehension_and_lambda",
    "class_methods",
    "exec_code",
    "c_that_holds_the_gil",
    "many_threads",
)


class Subject:
    """A process of tests/support/stack_subject.py."""

    def __init__(self, python: str, *scenarios: str) -> None:
        command = [python, "-B", "-m", "tests.support.stack_subject", *scenarios]
        environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
        self.process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True)
        self.pid = self.process.pid
        self.answer = self.line()

    @property
    def layout(self) -> Layout:
        """What it has found."""
        assert "layout" in self.answer, self.answer
        return parse_layout(self.answer["layout"])

    def line(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline() or "null")

    def next(self) -> None:
        os.kill(self.pid, signal.SIGUSR1)

    def close(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=60)


@pytest.fixture(params=interpreters(), ids=lambda path: path.replace("/", "-").strip("-"))
def python(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def subject(python: str) -> Iterator[Subject]:
    started = Subject(python)
    yield started
    started.close()


def as_read(frames: list[list[Any]]) -> list[list[Any]]:
    """The truth as the reader says it: long names cut, what is no Unicode character escaped."""
    return [[cut(name, 1000), cut(file, 4096), line] for name, file, line in frames]


def cut(text: str, limit: int) -> str:
    short = text[:limit] + "..." if len(text) > limit else text
    return short.encode("utf-8", "backslashreplace").decode()


def without_top(frames: list[list[Any]]) -> list[list[Any]]:
    return frames[1:] if frames[0][0] in ON_TOP else frames


def check_variables(subject: Subject) -> None:
    main = {}
    for level in ("types", "values"):
        threads = {thread.native_id: thread for thread in read_threads(subject.pid, subject.layout, values=level)}
        main[level] = dict(resolve(threads[subject.pid])[1].values)
    assert main["types"] == {
        "first": "NoneType", "more": "tuple", "option": "bool", "number": "int", "negative": "int", "huge": "int",
        "small": "int", "fraction": "float", "text": "str", "long_text": "str", "emoji": "str", "password": "str",
        "api_token": "str", "SECRET_thing": "int", "nothing": "NoneType", "items": "list", "me": "Quick",
        "shared": "<cell>", "take": "list",
    }  # fmt: skip
    assert main["values"] == {
        "first": "None", "more": "<tuple>", "option": "True", "number": "7", "negative": str(-(2**61)),
        "huge": "<int>", "small": "0", "fraction": "2.5", "text": "'plain'", "long_text": f"'{'x' * 24}'...",
        "emoji": "'\U0001f600'", "password": "<hidden>", "api_token": "<hidden>", "SECRET_thing": "<hidden>",
        "nothing": "None", "items": "<list>", "me": "<Quick>", "shared": "<cell>",
        "take": "<list>",
    }  # fmt: skip


def read_until_it_stands(subject: Subject, truth: dict[str, Any]) -> None:
    """What it has told is true a moment later: in between it may be writing the truth, or calling what blocks."""
    wanted = as_read(truth["frames"])
    others = {int(number): as_read(one) for number, one in truth.get("threads", {}).items()}
    threads: dict[int, list[list[Any]]] = {}

    def stands() -> bool:
        threads.clear()
        threads.update(as_lists(read_threads(subject.pid, subject.layout, ReadLimits(frames=10000))))
        threads[subject.pid] = without_top(threads[subject.pid])
        return threads == {subject.pid: wanted} | others

    with contextlib.suppress(AssertionError):
        wait_until(stands)
    assert threads.pop(subject.pid) == wanted
    assert threads == others


def test_every_scenario_is_read_as_it_is(subject: Subject) -> None:
    seen = 0
    while truth := subject.line():
        read_until_it_stands(subject, truth)
        if truth.get("values"):
            check_variables(subject)
        seen += 1
        subject.next()
    assert seen == 21
    assert subject.process.wait(timeout=60) == 0


def read_under(reader: str, subject: Subject) -> list[list[Any]]:
    """The main thread's stack as another Python reads it."""
    command = [reader, "-B", "-m", "tests.support.stack_reader", str(subject.pid)]
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    layout = json.dumps(subject.layout.as_message())
    run = subprocess.run(command, cwd=ROOT, env=environ, input=layout, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    frames: list[list[Any]] = json.loads(run.stdout)[str(subject.pid)]
    return without_top(frames)


def test_any_version_reads_any_other() -> None:
    """The master's Python and a pool's need not be the same."""
    for python in interpreters():
        subject = Subject(python, "generators")
        try:
            truth = subject.line()
            read_until_it_stands(subject, truth)
            for reader in interpreters():
                assert read_under(reader, subject) == as_read(truth["frames"]), (reader, python)
        finally:
            subject.close()


def by_py_spy(pid: int) -> dict[int, list[list[Any]]]:
    """Frames by thread as `py-spy dump` has them; it shows a shim of 3.13 as a frame."""
    command = [str(Path(sys.executable).with_name("py-spy")), "dump", "--json", "--pid", str(pid)]
    threads = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)
    return {
        thread["os_thread_id"]: [
            [frame["name"], frame["filename"], frame["line"]]
            for frame in thread["frames"]
            if frame["filename"] != "__init__"
        ]
        for thread in threads
    }


def test_py_spy_sees_the_same(python: str) -> None:
    subject = Subject(python, *AS_PY_SPY)
    try:
        for scenario in AS_PY_SPY:
            assert subject.line(), scenario

            def both_agree(scenario: str = scenario) -> bool:
                ours = as_lists(read_threads(subject.pid, subject.layout))
                theirs = by_py_spy(subject.pid)
                if scenario == "busy_loop":  # two samples of what runs differ in the line at the top
                    ours[subject.pid][0].pop()
                    theirs[subject.pid][0].pop()
                return ours == theirs

            wait_until(both_agree, message=f"py-spy sees another stack: {scenario}")
            subject.next()
    finally:
        subject.close()
