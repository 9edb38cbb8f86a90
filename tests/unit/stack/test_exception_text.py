"""What Python prints of exceptions is read: whatever raised them, and however they are chained or cut."""

from __future__ import annotations

import traceback
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm.stacks.text.exception import HEADER, own_first, read_exception, read_frames, show_call, show_calls
from fpm.stacks.trace import Frame

HERE = __file__


def stock(number: int) -> int:
    stored: dict[int, int] = {}
    return stored[number]


def chained() -> None:
    try:
        stock(7)
    except KeyError as error:
        raise ValueError("two\nKeyError: lines") from error


def grouped() -> None:
    raise ExceptionGroup("several", [KeyError("a"), ValueError("b")])


def noted() -> None:
    error = RuntimeError("with a note")
    error.add_note("KeyError: not this")
    raise error


def recursing() -> None:
    recursing()


def malformed() -> None:
    compile("x = (", "/srv/shop/views.py", "exec")


def printed(call: Callable[[], object]) -> str:
    try:
        call()
    except Exception:
        return traceback.format_exc()
    raise AssertionError("it raises nothing")


@pytest.mark.parametrize(
    ("call", "kind", "message", "newest"),
    [
        (lambda: stock(7), "KeyError", "7", "stock"),
        (chained, "ValueError", "two", "chained"),
        (grouped, "ExceptionGroup", "several (2 sub-exceptions)", "grouped"),
        (noted, "RuntimeError", "with a note", "noted"),
        (recursing, "RecursionError", "maximum recursion depth exceeded", "recursing"),
        (malformed, "SyntaxError", "'(' was never closed (views.py, line 1)", ""),
    ],
)
def test_what_python_prints(call: Callable[[], object], kind: str, message: str, newest: str) -> None:
    raised = read_exception(f"uncaught exception\n{printed(call)}")
    assert raised is not None
    assert (raised.kind, raised.frames[0].function) == (kind, newest)
    assert message.startswith(raised.message)
    if newest:
        assert raised.frames[0].file == HERE
        assert raised.frames[-1].function == "printed"
    else:
        assert show_call(raised.frames[0]) == "<module> (/srv/shop/views.py:1)"


def test_the_application_s_own_line_comes_before_those_of_libraries() -> None:
    library = "/srv/shop/venv/lib/python3.12/site-packages/flask/app.py"
    text = f"""{HEADER}
  File "{library}", line 1511, in wsgi_app
    response = self.full_dispatch_request()
  File "/srv/shop/views.py", line 41, in search
    with open(path) as file:
         ^^^^^^^^^^
  File "/usr/lib/python3.12/tempfile.py", line 480, in mkstemp
  File "/usr/lib/python3.12/tempfile.py", line 256, in _mkstemp_inner
OSError: [Errno 24] Too many open files: '/tmp/x'
"""
    raised = read_exception(text)
    assert raised is not None
    own = own_first(raised.frames)
    assert own is not None
    assert show_call(own) == "search (/srv/shop/views.py:41)"
    assert show_calls(raised.frames)[0] == "_mkstemp_inner (/usr/lib/python3.12/tempfile.py:256)"
    assert "search (/srv/shop/views.py:41)" in show_calls(raised.frames)
    assert own_first(()) is None
    assert own_first([Frame("f", library, 3)]) == Frame("f", library, 3)


def test_what_cannot_be_parsed_is_the_newest_place_with_and_without_calls_that_led_to_it() -> None:
    wrong = "  File \"/srv/shop/views.py\", line 7\n    def f(a, b)\n               ^\nSyntaxError: expected ':'\n"
    assert [show_call(one) for one in read_frames(wrong)] == ["<module> (/srv/shop/views.py:7)"]
    imported = f'{HEADER}\n  File "/srv/shop/wsgi.py", line 1, in <module>\n    import views\n{wrong}'
    assert [show_call(one) for one in read_frames(imported)] == [
        "<module> (/srv/shop/views.py:7)",
        "<module> (/srv/shop/wsgi.py:1)",
    ]


def test_a_dump_of_faulthandler_begins_with_the_newest_call() -> None:
    dump = (
        "Timeout (0:00:03)!\nThread 0x00007f20a1b2c740 (most recent call first):\n"
        '  File "/srv/shop/settings.py", line 3 in wait\n  File "/srv/shop/wsgi.py", line 1 in <module>\n'
        'Thread 0x00007f20a1b2c741 (most recent call first):\n  File "/srv/other.py", line 9 in run\n'
    )
    assert [show_call(one) for one in read_frames(dump)] == [
        "wait (/srv/shop/settings.py:3)",
        "<module> (/srv/shop/wsgi.py:1)",
    ]
    assert read_frames("") == read_frames("no traceback at all") == ()
    assert read_exception("no traceback at all") is None
    assert read_exception(HEADER) is None


PIECES = [
    "KeyError:",
    '  File "',
    "x",
    '", line ',
    "3",
    ", in f",
    " in f",
    "  | ",
    "|",
    "+",
    " ",
    "\n",
    HEADER,
    "\udc80",
]


@given(st.lists(st.sampled_from(PIECES)).map("".join))
def test_nothing_makes_it_fail(text: str) -> None:
    for given_text in (text, HEADER + "\n" + text, "Exception Group " + HEADER + text):
        raised = read_exception(given_text)
        assert raised is None or raised.kind
        read_frames(given_text)
