"""What master and tracer say to each other, with stacks that a hostile process could have."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm.protocol.tracing import (
    NAME_MAX,
    TRACE_MAX,
    TraceAnswer,
    TracerReady,
    TraceTask,
    as_message,
    pack_trace,
    read_answer,
    read_task,
    unpack_trace,
)
from fpm.protocol.wire import MessageError
from fpm.stacks.layout import NAMES, Layout
from fpm.stacks.trace import Frame, ThreadStack, Trace

names = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)
frames = st.builds(
    Frame,
    function=names,
    file=names,
    line=st.integers(0, 2**31 - 1),
    address=st.integers(0, 2**64 - 1),
    native=st.booleans(),
    values=st.lists(st.tuples(names, names), max_size=3).map(tuple),
)
stacks = st.builds(
    ThreadStack,
    tid=st.integers(0, 2**22),
    main=st.booleans(),
    frames=st.lists(frames, max_size=5).map(tuple),
    doing=names,
    note=names,
)
traces = st.builds(
    Trace,
    pid=st.integers(0, 2**22),
    how=st.just("ptrace"),
    threads=st.lists(stacks, max_size=4).map(tuple),
    error=names,
    note=names,
    stopped=st.floats(0, 10),
)


@given(traces)
def test_a_trace_comes_back_as_it_was(trace: Trace) -> None:
    assert unpack_trace(pack_trace(trace)) == trace


def over_the_wire(message: TraceTask | TracerReady | TraceAnswer) -> dict[str, Any]:
    """A message as the other side gets it, with a field of a later release."""
    return {**json.loads(json.dumps(as_message(message))), "later": 1}


def test_a_message_comes_back_as_it_was() -> None:
    layout = Layout(**{name: number for number, name in enumerate(NAMES)})
    for task in (TraceTask(123, 456, [7, 8], layout, 50, True, "types", 1.5, 7, 99.5), TraceTask(123)):
        assert read_task(over_the_wire(task)) == task
    for answer in (TraceAnswer(7, 100), TraceAnswer(7, error="why"), TracerReady()):
        assert read_answer(over_the_wire(answer)) == answer


@pytest.mark.parametrize("change", [{"v": 2}, {"kind": "TraceAnswer"}, {"pid": "1"}, {"values": "all"}, {"layout": {}}])
def test_tasks_are_checked(change: dict[str, Any]) -> None:
    with pytest.raises(MessageError):
        read_task({**over_the_wire(TraceTask(123)), **change})


def test_long_and_odd_texts_are_cut() -> None:
    trace = Trace(
        1,
        "ptrace",
        (ThreadStack(1, True, (Frame("f" * 65536, "\ud800/a\n\0.py", 1), Frame("\U0001f600" * 5000, "é" * 5000, 2))),),
        error="e" * 100_000,
        note="\udfff" * 100_000,
    )
    data = pack_trace(trace, 200_000)
    assert len(data) <= 200_000
    (long, wide) = unpack_trace(data).threads[0].frames
    assert long.function == "f" * NAME_MAX + "..."
    assert long.file == "\\ud800/a\n\0.py"
    assert wide.function.startswith("\U0001f600" * NAME_MAX)
    assert len(wide.file) == NAME_MAX + 3


def test_too_many_threads_leave_the_first_whole() -> None:
    threads = tuple(
        ThreadStack(tid, tid == 1, tuple(Frame(f"function {tid} {n}", "/x.py", n) for n in range(100)))
        for tid in range(1, 500)
    )
    data = pack_trace(Trace(1, "ptrace", threads), 400_000)
    assert len(data) <= 400_000
    found = unpack_trace(data)
    assert found.threads == threads[: len(found.threads)]
    assert 20 < len(found.threads) < 499
    assert found.note == f"{499 - len(found.threads)} more threads do not fit into the answer"


def test_a_first_thread_that_is_too_long_loses_its_oldest_frames() -> None:
    deep = tuple(Frame(f"function {n} " + "x" * 3900, "/x.py", n) for n in range(5000))
    data = pack_trace(Trace(1, "ptrace", (ThreadStack(1, True, deep), ThreadStack(2, False, ()))))
    assert len(data) <= TRACE_MAX
    first = unpack_trace(data).threads[0]
    assert first.frames == deep[: len(first.frames)]
    assert first.note == f"{5000 - len(first.frames)} older frames do not fit into the answer"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)
GOOD = {"pid": 1, "how": "ptrace", "error": "", "note": "", "stopped": 0.1, "names": ["a"]}


@given(json_values, json_values, json_values)
def test_nonsense_is_refused(thread: Any, names: Any, frame: Any) -> None:
    for message in (
        thread,
        {**GOOD, "threads": thread},
        {**GOOD, "threads": [thread]},
        {**GOOD, "threads": [[1, 1, "", "", frame]]},
        {**GOOD, "threads": [[1, 1, "", "", [frame]]]},
        {**GOOD, "threads": [[1, 1, "", "", [[0, 0, 1, frame]]]]},
        {**GOOD, "threads": [[1, 1, "", "", [[0, 0, 1, 1, 0, frame]]]]},
        {**GOOD, "names": names, "threads": [[1, 1, "", "", [[0, 0, 1, 1]]]]},
    ):
        try:
            trace = unpack_trace(json.dumps(message).encode())
        except MessageError:
            continue
        assert isinstance(trace, Trace)
        for found in trace.threads:
            assert isinstance(found.doing, str)
            assert all(isinstance(one.function, str) and isinstance(one.line, int) for one in found.frames)


@pytest.mark.parametrize(
    "change",
    [
        {"pid": True},
        {"pid": -1},
        {"stopped": float("nan")},
        {"stopped": 1e9},
        {"error": "x" * 5000},
        {"names": ["x" * 5000], "threads": []},
        {"threads": [[1, 1, "", "", [[1, 0, 1, 1]]]]},
        {"threads": [[1, 1, "", "", [[-1, 0, 1, 1]]]]},
        {"threads": [[1, 1, "", "", [[0, 0, 1.5, 1]]]]},
        {"threads": [[1, 1, "", "", [[0, 0, 1, 2**64]]]]},
        {"threads": [[1, 1, "", "", [[0, 0, 1, 1]] * 10_001]]},
        {"threads": [[1, 1, "", "", []]] * 5000},
    ],
)
def test_what_is_out_of_range_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(MessageError):
        unpack_trace(json.dumps({**GOOD, "threads": [], **change}).encode())


@pytest.mark.parametrize("data", [b"", b"{", b"[" * 100_000, b"\xff", b'{"pid": 1}', b"[]", b"null"])
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(MessageError):
        unpack_trace(data)


@pytest.mark.parametrize(
    "change",
    [
        {"v": None},
        {"kind": "TraceTask"},
        {"kind": 1},
        {"number": "1"},
        {"number": -1},
        {"size": TRACE_MAX + 1},
        {"error": None},
        {"error": "x" * 5000},
    ],
)
def test_answers_are_checked(change: dict[str, Any]) -> None:
    with pytest.raises(MessageError):
        read_answer({**over_the_wire(TraceAnswer(1)), **change})
