"""Who wants a layout is told exactly once, whatever the template says or does not say."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fpm.log.error import ErrorLog
from fpm.master.core import EventSink, log_reader
from fpm.master.loop.loop import Loop
from fpm.master.tracing.layout_request import LayoutRequest
from fpm.protocol.messages import LayoutFailed, LayoutFound
from tests.unit.stack.process_image import LAYOUT

GOOD = LayoutFound(LAYOUT.as_message())


class Template:
    """One wish, the questions it has sent, the answers that came to those who asked, and the log."""

    def __init__(self, loop: Loop, log: Path, takes_messages: bool = True) -> None:
        self.asked = 0
        self.answers: list[Any] = []
        self.path = log
        self.takes_messages = takes_messages
        self.error_log = ErrorLog(str(log))
        sink = EventSink(time.time, log_reader(self.error_log))
        self.wish = LayoutRequest(loop, sink.emit, "www", self.ask, patience=0.05)

    def ask(self) -> bool:
        self.asked += 1
        return self.takes_messages

    def want(self) -> None:
        self.wish.want(self.answers.append)

    @property
    def log(self) -> str:
        return self.path.read_text()


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop(lambda error: pytest.fail(str(error)))
    yield made
    made.close()


@pytest.fixture
def template(loop: Loop, tmp_path: Path) -> Iterator[Template]:
    made = Template(loop, tmp_path / "log")
    yield made
    made.error_log.close()


def test_it_is_asked_once_and_all_are_told(template: Template) -> None:
    template.want()
    template.want()
    assert (template.asked, template.answers) == (1, [])
    template.wish.take(GOOD)
    assert template.answers == [LAYOUT, LAYOUT]
    template.want()
    template.wish.take(GOOD)
    template.wish.close("gone")
    assert (template.asked, template.answers) == (1, [LAYOUT] * 3)
    assert template.log == ""


@pytest.mark.parametrize("layout", [{}, {"version": 1}, LAYOUT.as_message() | {"at_none": -1}])
def test_what_is_no_layout_is_refused_with_a_warning_that_names_the_pool(template: Template, layout: dict) -> None:
    template.want()
    template.wish.take(LayoutFound(layout))
    template.wish.take(LayoutFound(layout))
    template.want()
    assert len(template.answers) == 2
    assert all("its template sent no usable layout: " in answer for answer in template.answers)
    assert template.log.count("WARNING: [pool www] stacks cannot be read from outside: its template sent") == 1


def test_a_failure_is_the_reason_and_is_bounded(template: Template) -> None:
    template.want()
    template.wish.take(LayoutFailed("no\nctypes" + "x" * 60000))
    (reason,) = template.answers
    assert reason.startswith("its Python's structures were not found: no\\x0actypes")
    assert len(reason) < 600
    assert len(template.log.splitlines()) == 1


def test_a_template_that_does_not_answer(template: Template, loop: Loop) -> None:
    template.want()
    loop.run_once()
    assert template.answers == ["its template has not answered within 0.05 s"]
    assert template.log.count("WARNING") == 1
    template.wish.take(GOOD)  # better late
    template.want()
    assert template.answers[1:] == [LAYOUT]


def test_a_template_that_takes_no_messages(loop: Loop, tmp_path: Path) -> None:
    template = Template(loop, tmp_path / "log", takes_messages=False)
    template.want()
    template.error_log.close()
    assert template.answers == ["its template takes no messages"]


def test_a_template_that_goes(template: Template) -> None:
    template.want()
    template.wish.close("its template is gone")
    template.want()
    assert template.answers == ["its template is gone"] * 2


def test_no_timer_is_left_when_an_answer_has_come(template: Template, loop: Loop) -> None:
    template.want()
    template.wish.take(GOOD)
    fired: list[int] = []
    loop.call_later(0.1, lambda: fired.append(1))
    while not fired:
        loop.run_once()
    assert loop.wakeups == 1
    assert template.answers == [LAYOUT]
