"""What faulthandler writes, of every version that pools may run, and what no version writes."""

from __future__ import annotations

import faulthandler
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm.master.processes.self_dump_fd import PASSED_MAX, READ_MAX, SelfDumpFd
from fpm.master.tracing.self_dump_parse import Activity, obstacle, read_self_dump, stands_in_c
from fpm.protocol.spec import STACK_MAX
from fpm.stacks.credentials import GONE, Status
from fpm.stacks.text.faulthandler import is_repeated, parse_dump
from fpm.stacks.trace import Frame
from tests.support.effort import grows_in_proportion

STACK = (
    b'Stack (most recent call first):\n  File "/srv/a.py", line 12 in index\n  File "<string>", line 1 in <module>\n'
)
FRAMES = (Frame("index", "/srv/a.py", 12), Frame("<module>", "<string>", 1))
NUMBER = 59
LISTENING = Status(state="S", caught=1 << (NUMBER - 1))


def test_one_thread() -> None:
    (thread,) = parse_dump(STACK)
    assert (thread.frames, thread.ident, thread.name, thread.note) == (FRAMES, 0, "", "")


def test_it_reads_what_this_python_writes() -> None:
    fd = os.memfd_create("dump")
    try:
        faulthandler.dump_traceback(file=fd, all_threads=True)
        here = parse_dump(os.pread(fd, 65536, 0))
    finally:
        os.close(fd)
    newest = [thread.frames[0] for thread in here if thread.frames]
    found = [frame for frame in newest if frame.function == "test_it_reads_what_this_python_writes"]
    assert [frame.file for frame in found] == [__file__]
    assert found[0].line > 0


def test_threads_with_and_without_names() -> None:
    text = (
        b"Thread 0x00007f20a1b2c740 [worker-1] (most recent call first):\n  <no Python frame>\n\n"
        b'Current thread 0x00007f20a1b2c741 (most recent call first):\n  Garbage-collecting\n  File "a", line 1 in f\n'
    )
    first, second = parse_dump(text)
    assert (first.ident, first.name, first.frames) == (0x7F20A1B2C740, "worker-1", ())
    assert first.note.startswith("no Python code")
    assert (second.frames, second.note) == ((Frame("f", "a", 1),), "")


@pytest.mark.parametrize(
    ("line", "frame"),
    [
        (b'  File "a"b", line 3 in f\n', Frame("f", 'a"b', 3)),
        (b'  File "a", line 3 in g", line 4 in f\n', Frame("f", 'a", line 3 in g', 4)),
        (b"  File ???, line ??? in ???\n", Frame("???", "", 0)),
        (b'  File "/\\xe9\\u20ac\\U0001f600/a.py", line 7 in <lambda>\n', Frame("<lambda>", "/é€\U0001f600/a.py", 7)),
        (b'  File "a\\x0ab\\ud800", line 7 in f\\x1b[2J\n', Frame("f\\x1b[2J", "a\\x0ab\\ud800", 7)),
    ],
)
def test_odd_names(line: bytes, frame: Frame) -> None:
    (thread,) = parse_dump(b"Stack (most recent call first):\n" + line)
    assert thread.frames == (frame,)


def test_hostile_lines_take_no_time() -> None:
    """Of a pattern that tries again at each of the bytes, twenty times as many would take 400 times as long."""

    def parse(size: int) -> None:
        parse_dump(b"Stack (most recent call first):\n" + b'  File "' + b'", line 1 in ' * size + b"\n")
        parse_dump(b"Thread 0x1 [" * size)
        parse_dump(b"\\U0001f60" * size)

    assert grows_in_proportion(parse, 1000, 20_000)


def test_a_deep_stack_says_that_it_is_cut() -> None:
    body = b'  File "a", line 1 in f\n' * 100 + b"  ...\n"
    (thread,) = parse_dump(b"Stack (most recent call first):\n" + body)
    assert len(thread.frames) == 100
    assert thread.note == "faulthandler shows no more than 100 frames"


def test_what_is_no_frame_ends_the_stack() -> None:
    (thread,) = parse_dump(
        b'Stack (most recent call first):\n  File "a", line 1 in f\nrm -rf /\n  File "b", line 1 in g\n'
    )
    assert len(thread.frames) == 1
    assert "could not be read" in thread.note


@given(
    st.lists(
        st.sampled_from(
            [
                STACK,
                b"begin\n",
                b"numbers\n",
                b"1 2\n",
                b"end\n",
                b"\x00",
                b"\n",
                b"  ...\n",
                b"Thread 0x1 (most recent call first):\n",
                b'  File "',
            ]
        )
        | st.binary()
    )
)
def test_any_bytes_are_read(parts: list[bytes]) -> None:
    data = b"".join(parts)
    for thread in parse_dump(data):
        assert len(thread.frames) <= 101
    trace = read_self_dump(7, data, None, depth=20, final=True)
    assert trace is None or len(trace.threads[0].frames) <= 20


def test_the_beginning_of_the_second_ends_the_first() -> None:
    assert not is_repeated(STACK)
    assert read_self_dump(7, STACK, None, depth=0, final=False) is None
    trace = read_self_dump(7, STACK + STACK[:40], Status(state="S", threads=3), depth=1, final=False)
    assert trace is not None
    assert (trace.how, trace.note, trace.threads[0].tid) == ("faulthandler", "2 other threads are not shown", 7)
    assert trace.threads[0].frames == FRAMES[:1]
    assert trace.threads[0].note == ""


def test_late_ones_are_taken_as_they_are() -> None:
    trace = read_self_dump(7, STACK, LISTENING, depth=0, final=True)
    assert trace is not None
    assert trace.threads[0].note == "the process had not finished writing it"
    assert read_self_dump(7, b"", LISTENING, depth=0, final=True) is None
    assert read_self_dump(7, b"Stack (most recent call first):\n", LISTENING, depth=0, final=True) is None


@pytest.mark.parametrize(
    ("status", "ready", "listens", "expected"),
    [
        (LISTENING, True, True, ""),
        (LISTENING, False, False, ""),
        (LISTENING, True, False, "handler of its own"),
        (Status(state="S"), True, True, "does not catch"),
        (Status(state="S"), False, False, "does not catch"),
        (None, True, True, ""),
        (None, False, False, "has not said"),
        (Status(state="Z"), True, True, GONE),
        (Status(state="T", caught=LISTENING.caught), True, True, "SIGCONT"),
        (Status(state="S", caught=LISTENING.caught, tracer=9), True, True, "go to its tracer"),
        (Status(state="S", caught=LISTENING.caught, blocked=LISTENING.caught), True, True, "blocks signals 59"),
    ],
)
def test_who_may_be_asked(status: Status | None, ready: bool, listens: bool, expected: str) -> None:
    found = obstacle(status, numbers=(NUMBER,), ready=ready, listens=listens)
    assert expected in found
    assert bool(found) == bool(expected)


def test_all_threads_when_the_process_comes_to_the_signal() -> None:
    text = (
        b'begin\nThread 0x0000000000000b22 (most recent call first):\n  File "b", line 2 in other\n\n'
        b"Current thread 0x0000000000000a11 (most recent call first):\n"
        b'  File "fpm/worker/self_dump.py", line 1 in write_stacks\n  File "/srv/a.py", line 12 in index\n'
        b"numbers\na11 70\nb22 71\nend\n"
    )
    trace = read_self_dump(7, text, Status(state="R", threads=2), depth=20, final=False)
    assert trace is not None
    assert [(one.tid, one.main, one.frames[0].function, one.doing) for one in trace.threads] == [
        (7, True, "index", "running"),
        (71, False, "other", ""),
    ]
    assert (trace.note, [one.note for one in trace.threads]) == ("", ["", ""])
    assert read_self_dump(7, text[:-4], None, depth=20, final=False) is None


def asleep(ticks: int = 3) -> Activity:
    return Activity("S", ticks)


@pytest.mark.parametrize(
    ("looks", "expected"),
    [
        ([asleep()], False),
        ([asleep(), asleep()], False),
        ([asleep(), asleep(), asleep()], True),
        ([Activity("R", 1), asleep(), asleep(), asleep()], True),
        ([asleep(), asleep(), Activity("R", 3)], False),
        ([asleep(3), asleep(4), asleep(4)], False),
        ([Activity("R", 3), Activity("R", 7)], False),
        ([Activity("R", 3), Activity("R", 8)], True),
        ([Activity("D", 3)] * 3, True),
        ([None, asleep(), asleep(), asleep()], False),
        ([asleep(), asleep(), None], False),
    ],
)
def test_who_stands_in_c(looks: list[Activity | None], expected: bool) -> None:
    assert stands_in_c(looks, 1) is expected


def test_who_has_threads_may_wait_for_the_gil() -> None:
    assert not stands_in_c([asleep()] * 6, 2)
    assert stands_in_c([asleep()] * 7, 2)


def test_what_a_process_writes_is_read_and_never_changed() -> None:
    """Whoever changes the file, or asks for its size, waits for a process that writes to it without end."""
    own = SelfDumpFd.create()
    # Read by a description that can only read: everything else would fail.
    seen = SelfDumpFd(os.open(f"/proc/self/fd/{own.fd}", os.O_RDONLY))
    try:
        os.write(own.fd, b"an earlier one")
        assert seen.pass_over()
        assert seen.read() == b""
        os.write(own.fd, b"this one")
        assert seen.read() == seen.read() == b"this one"
        os.write(own.fd, bytes(STACK_MAX))
        assert seen.pass_over()
        os.ftruncate(own.fd, 0)  # as its process does when there is much
        os.write(own.fd, b"after that")
        assert seen.read() == b"after that"
        os.ftruncate(own.fd, (PASSED_MAX + 1) * READ_MAX)
        assert not seen.pass_over()
    finally:
        own.close()
        seen.close()
