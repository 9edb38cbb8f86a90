"""Slow logs read back: ours, PHP-FPM's, torn ones and rubbish."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from itertools import chain

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fpm.log.times import format_log_time
from fpm.stacks.text.entry import Entry
from fpm.stacks.text.format import EMPTY, Form, bound, format_entry
from fpm.stacks.text.read import LINE_MAX, read_entries, split_lines
from fpm.stacks.trace import Frame, ThreadStack, Trace
from tests.unit.slowlog.entries import NOON, QUERY, entries, make, texts

PHP = b"""
[21-Sep-2025 14:03:11]  [pool www] pid 4711
script_filename = /srv/www/index.php
[0x00007f0c1c213e70] sleep() /srv/www/index.php:12
[0x00007f0c1c213df0] App\\Models\\User->find() /srv/www/index.php:20
[0x00007f0c1c213d00] [INCLUDE_OR_EVAL]() unknown:0

[21-Sep-2025 14:03:12]  [pool www] pid 4712
script_filename = /srv/www/index.php
+++ dump failed
"""


def encode(*written: Entry, form: Form = "text", depth: int = 50) -> bytes:
    return "".join(format_entry(entry, form, depth) for entry in written).encode()


def plain(entry: Entry, form: Form) -> Entry:
    """As it must come back: without addresses, surrogates shown, and what the text form does not keep left out."""

    def read(frame: Frame) -> Frame:
        line = frame.line if frame.file or form == "json" else 0
        values = tuple((bound(name), bound(value)) for name, value in frame.values)
        is_nowhere = (frame.file, frame.line) == ("unknown", 0) and form == "text"
        file = "" if is_nowhere else bound(frame.file)
        return replace(frame, function=bound(frame.function), file=file, line=line, address=0, values=values)

    def thread(one: ThreadStack) -> ThreadStack:
        note = "" if one.note == EMPTY and form == "text" else bound(one.note)
        return replace(one, frames=tuple(map(read, one.frames)), doing=bound(one.doing), note=note)

    trace = entry.trace
    made = Trace(
        trace.pid, trace.how, tuple(map(thread, trace.threads)), bound(trace.error), bound(trace.note), trace.stopped
    )
    texts = {name: bound(getattr(entry, name)) for name in ("pool", "script", "method", "uri", "stage")}
    return replace(entry, trace=made, **texts)


@given(st.lists(entries(), max_size=4), st.sampled_from(("text", "json")), st.integers(1, 200))
def test_what_was_written_is_read(written: list[Entry], form: Form, size: int) -> None:
    data = encode(*written, form=form)
    chunks = [data[at : at + size] for at in range(0, len(data), size)]
    assert list(read_entries(chunks)) == [plain(entry, form) for entry in written]


@given(st.lists(st.tuples(entries(), st.sampled_from(("text", "json"))), max_size=5))
def test_both_forms_in_one_file(written: list[tuple[Entry, Form]]) -> None:
    data = b"".join(encode(entry, form=form) for entry, form in written)
    assert list(read_entries([data])) == [plain(entry, form) for entry, form in written]


def test_php_fpm() -> None:
    first, second = read_entries([PHP])
    assert first.time == datetime(2025, 9, 21, 14, 3, 11).timestamp()
    assert (first.pool, first.pid, first.script, first.reason) == ("www", 4711, "/srv/www/index.php", "slow")
    assert first.trace.threads[0].frames == (
        Frame("sleep", "/srv/www/index.php", 12),
        Frame("App\\Models\\User->find", "/srv/www/index.php", 20),
        Frame("[INCLUDE_OR_EVAL]", "", 0),
    )
    assert (second.pid, second.trace.threads, second.trace.error) == (4712, (), "dump failed")


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_file_that_was_torn_anywhere_loses_one_entry_at_most(form: Form) -> None:
    one, other = encode(make(uri="/torn"), form=form), encode(make(uri="/whole"), form=form)
    for cut in range(len(one)):
        for torn in (one[:cut] + other, one[cut:] + other):
            assert [entry.uri for entry in read_entries([torn])][-1] == "/whole", torn


def test_a_torn_line_before_the_other_form() -> None:
    text, value = encode(make(uri="/text")), encode(make(uri="/json"), form="json")
    for cut in range(len(text)):
        assert [entry.uri for entry in read_entries([text[:cut] + value])][-1] == "/json"
    for cut in range(len(value) - 1):
        assert [entry.uri for entry in read_entries([value[:cut] + text])][-1] == "/text"


@given(
    st.lists(st.binary(max_size=60) | st.sampled_from([PHP, b"\n", b"[0x", b"] ", b"() ", b":1\n", b'{"time"', b"}\n"]))
)
@example([b'{"timestamp": 1e999, "pool": "x"}\n'])
@example(
    [b'{"timestamp": NaN, "pool": "x"}\n', b'{"timestamp": 1, "pool": "x", "pid": 1e5, "threads": [1, {"frames": {}}]}']
)
@example([b"[99-Xyz-0000 99:99:99]  [pool a] pid 1\n[0x1] f() a:1"])
@example([b"[01-Jan-0001 00:00:00]  [pool a] pid 1\n", b"[01-Jan-9999 00:00:00]  [pool a] pid 1\nsample = \xb2\n"])
def test_rubbish_is_no_error(chunks: list[bytes]) -> None:
    for entry in read_entries(chunks):
        assert format_entry(entry, "text", 20).endswith("\n")
        (again,) = read_entries([format_entry(entry, "json", 20).encode()])
        assert (again.pool, again.pid) == (entry.pool, entry.pid)


def test_rubbish_between_entries() -> None:
    good = encode(make())
    rubbish = [
        bytes(range(256)) * 50,
        b"[" * 100_000 + b"\n",
        b"{" * 100_000 + b"\n",
        b"[0x0] " + b"() " * 30_000 + b"\n",
    ]
    read = list(read_entries(chain.from_iterable((good, b"\n", one, b"\n") for one in rubbish)))
    assert len(read) == len(rubbish)
    assert {entry.trace.threads for entry in read} == {
        make(replace(QUERY, address=0), *read[0].trace.threads[0].frames[1:]).trace.threads
    }


def test_a_line_without_an_end_needs_no_memory() -> None:
    chunk = b"x" * 1_000_000
    longest = 0

    def chunks() -> chain[bytes]:
        return chain((chunk for _ in range(3 * LINE_MAX // len(chunk))), (b"\nshort\n",), (b"y",))

    for line in split_lines(chunks()):
        longest = max(longest, len(line))
    assert longest == len("short")
    assert list(split_lines(chunks())) == [b"short", b"y"]


def test_an_entry_without_an_end_has_a_bound() -> None:
    frame = b"[0x0000000000000001] f() /a.py:1\n    x = 1\n-- thread 1\n"
    head = encode(make()).split(b"[0x")[0]
    (entry,) = read_entries(chain((head,), (frame * 1000 for _ in range(200))))
    parts = len(entry.trace.threads) + sum(len(thread.frames) * 2 for thread in entry.trace.threads)
    assert parts <= 110_000


def end(**values: object) -> Entry:
    """The end of make()'s request."""
    trace = Trace(123, "")
    return make(reason="end", script="", stage="complete", seconds=9.5, trace=trace, **values)


@given(texts, texts, texts, st.sampled_from(("text", "json")))
def test_an_end_that_was_written_is_read(pool: str, method: str, uri: str, form: Form) -> None:
    written = end(pool=pool, method=method, uri=uri)
    assert list(read_entries([encode(make(), written, make(), form=form)])) == [
        plain(make(), form),
        plain(written, form),
        plain(make(), form),
    ]


def test_an_end_is_one_line_that_is_neither_head_nor_frame() -> None:
    line = encode(end(pool="a, b]", uri="/[pool x] pid 7\n[0x0] x() y:1")).decode()
    assert line == (
        f"-- end {format_log_time(NOON)}, pid 123, complete after 9.500000 s, pool a\\x2c b\\x5d, "
        "GET /\\x5bpool x] pid 7\\x0a\\x5b0x0] x() y:1\n"
    )


@pytest.mark.parametrize(
    "line",
    [
        b"-- end 31-Feb-2025 12:00:00, pid 123, complete after 9.500000 s, pool a, GET /",
        b"-- end 21-Nov-2025 12:00:00, pid 123, complete after nan s, pool a, GET /",
        b"-- end 21-Nov-2025 12:00:00, pid 123, com",
        b"-- end ",
    ],
)
def test_a_torn_end_is_none(line: bytes) -> None:
    assert list(read_entries([encode(make()), line])) == [plain(make(), "text")]
