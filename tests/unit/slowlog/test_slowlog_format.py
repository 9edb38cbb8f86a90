"""Slow log entries as PHP-FPM writes them and as JSON, whatever is in the names."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm.log.escape import escape
from fpm.log.times import format_log_time
from fpm.stacks.text.format import ENTRY_MAX, Form, format_entry, format_for_error_log
from fpm.stacks.trace import Frame, ThreadStack, Trace
from tests.unit.slowlog.entries import CHOOSE, EXEC, NOON, QUERY, entries, make

PHP_HEAD = re.compile(r"^\[(\d\d-\w{3}-\d{4} \d\d:\d\d:\d\d)\]  \[pool (.+)\] pid (\d+)$")
PHP_FRAME = re.compile(r"^\[0x([0-9a-f]{16})\] (.+)\(\) (.+):(\d+)$")
"""fpm_php_trace.c, as tools read it: a blank line, the head, script_filename, frames."""


def test_a_whole_entry() -> None:
    others = (ThreadStack(124, False, (QUERY,), "waiting for a lock", "memory makes no sense"),)
    main = ThreadStack(123, True, (EXEC, replace(QUERY, values=(("sql", "'select\n1'"),)), CHOOSE), "in recv(3)")
    trace = Trace(123, "faulthandler", (main, *others), note="ptrace is forbidden", stopped=0.0004)
    entry = make(reason="terminate", sample=3, trace=trace, uri="/user/7?q=a b", stage="sending the response")
    assert format_entry(entry, "text", 20) == (
        f"""
[{format_log_time(NOON)}]  [pool www] pid 123
script_filename = shop:app
request = GET /user/7?q=a b
age = 5.250000 s
stage = sending the response
reason = terminate
sample = 3
doing = in recv(3)
taken by = faulthandler
note = ptrace is forbidden
stopped = 0.000400 s
[0x00007ffff0001000] [native]PQexec() /usr/lib/libpq.so.5:0
[0x00007f00deadbeef] Shop.query() /srv/shop/db.py:40
    sql = 'select\\x0a1'
[0x00007f00deadbe00] choose.<locals>.<lambda>() /srv/shop/views.py:12
-- thread 124, waiting for a lock
[0x00007f00deadbeef] Shop.query() /srv/shop/db.py:40
... memory makes no sense
"""
    )


def test_no_stack() -> None:
    entry = make(method="", uri="", reason="startup", trace=Trace(123, "", error="the process has gone"))
    assert format_entry(entry, "text", 20).endswith(
        "\nage = 5.250000 s\nstage = running\nreason = startup\n+++ dump failed: the process has gone\n"
    )
    assert "request =" not in format_entry(entry, "text", 20)
    assert "+++ dump failed: no thread was found" in format_entry(replace(entry, trace=Trace(1, "")), "text", 20)


def test_json_has_the_same() -> None:
    line = format_entry(make(EXEC, QUERY, trace=make(EXEC, QUERY).trace), "json", 20)
    value = json.loads(line)
    assert line.count("\n") == 1
    assert value["timestamp"] == NOON
    assert re.fullmatch(r"2026-11-2\dT\d\d:\d\d:\d\d\.000[+-]\d\d:\d\d", value["time"])
    assert (value["method"], value["uri"], value["seconds"], value["sample"]) == ("GET", "/user/7", 5.25, 1)
    assert value["threads"][0]["frames"][1] == {
        "function": "Shop.query",
        "file": "/srv/shop/db.py",
        "line": 40,
        "address": "0x00007f00deadbeef",
        "native": False,
    }


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_depth_is_kept_for_every_thread(form: Form) -> None:
    stack = tuple(replace(QUERY, function=f"f{number}") for number in range(30))
    trace = Trace(1, "ptrace", (ThreadStack(1, True, stack), ThreadStack(2, False, stack, note="cut")))
    text = format_entry(make(trace=trace), form, 7)
    assert text.count("/srv/shop/db.py") == 14
    assert text.count("23 more frames") == 2
    assert "23 more frames; cut" in text
    assert "f6" in text
    assert "f7" not in text


@pytest.mark.parametrize("form", ["text", "json"])
def test_hundreds_of_threads_are_there_and_thousands_have_an_end(form: Form) -> None:
    stack = tuple(replace(QUERY, function=f"Class{number}.method") for number in range(20))
    several = [ThreadStack(tid, tid == 0, stack, "waiting for a lock") for tid in range(500)]
    text = format_entry(make(trace=Trace(1, "ptrace", tuple(several))), form, 20)
    assert text.count("Class19.method") == 500
    assert len(text) < ENTRY_MAX
    text = format_entry(make(trace=Trace(1, "ptrace", tuple(several * 4))), form, 20)
    assert ENTRY_MAX * 0.3 < len(text) < ENTRY_MAX
    assert re.search(r'\.\.\. 1\d{3} more threads$|"more_threads": 1\d{3}\}$', text.rstrip("\n"))


@pytest.mark.parametrize("character", ["x", "\n", "\\", '"', "\xe9", "\U0001f600", "\x7f", "\udcff"])
@pytest.mark.parametrize("form", ["text", "json"])
def test_the_largest_entry_is_bounded_in_bytes(form: Form, character: str) -> None:
    long = character * 5000
    frame = Frame(long, long, 1, values=((long, long), (long + "2", long)))
    trace = Trace(1, "ptrace", (ThreadStack(1, True, (frame,) * 10_000, long, long),) * 2)
    data = format_entry(make(trace=trace, uri=long), form, 10_000).encode()
    assert ENTRY_MAX * 0.1 < len(data) < ENTRY_MAX * 1.3
    assert b" more frames" in data


def test_names_that_are_too_long_or_forge_lines() -> None:
    evil = "f() /etc/passwd:1\n[21-Nov-2026 10:00:00]  [pool root] pid 1\n[0x0000000000000001] g"
    entry = make(
        Frame(evil, evil, 1), Frame("x" * 65536, "y" * 65536, 2), uri="/\x1b[31m\r\n" + "z" * 65536, method="G T"
    )
    lines = format_entry(entry, "text", 20).splitlines()
    assert [line for line in lines if PHP_HEAD.match(line)] == [lines[1]]
    frames = [line for line in lines if re.search(r"\[0x", line)]
    assert len(frames) == 2
    assert all(PHP_FRAME.match(line) for line in frames)
    assert max(map(len, lines)) < 9000
    assert lines[3].startswith("request = G\\x20T /\\x1b[31m\\x0d\\x0azzz")
    assert lines[3].endswith("zzz...")


def test_undecodable_bytes_are_shown() -> None:
    name = b"/srv/caf\xe9.py".decode("utf-8", "surrogateescape")
    entry = make(Frame("f\ud800", name, 1))
    assert "f\ufffd() /srv/caf\xe9.py:1" in format_entry(entry, "text", 20)
    assert json.loads(format_entry(entry, "json", 20))["threads"][0]["frames"][0]["file"] == "/srv/caf\xe9.py"


def test_lines_for_the_error_log() -> None:
    lines = format_for_error_log(make(), 20).splitlines()
    assert lines[0] == "child 123, its stack:"
    assert lines[2] == "request = GET /user/7"
    assert lines[-1].endswith("] choose.<locals>.<lambda>() /srv/shop/views.py:12")
    many = Trace(1, "ptrace", tuple(ThreadStack(tid, tid == 0, (QUERY,)) for tid in range(500)))
    assert format_for_error_log(make(trace=many), 20).endswith("/srv/shop/db.py:40\n... 490 more threads")


@given(st.lists(entries(), max_size=4), st.integers(1, 20))
def test_the_tools_for_php_fpm_find_every_entry_and_every_frame(written: list, depth: int) -> None:
    """A reader of PHP-FPM's form that knows nothing of ours."""
    text = "".join(format_entry(entry, "text", depth) for entry in written)
    text.encode("utf-8")
    paragraphs = [part.splitlines() for part in re.split(r"^\n", text, flags=re.MULTILINE)[1:]]
    assert len(paragraphs) == len(written)
    for lines, entry in zip(paragraphs, written, strict=True):
        head = PHP_HEAD.match(lines[0]) or re.match(r"^(\[.*\])  \[pool (.*)\] pid (\d+)$", lines[0])
        assert head
        assert int(head[3]) == entry.pid
        assert lines[1].startswith("script_filename = ")
        assert not any(re.search(r"\[pool |\[0x", line) for line in lines[1:] if not line.startswith("[0x"))
        shown = [re.match(r"^\[0x([0-9a-f]{16})\] (.*)\(\) (.*):(\d+)$", line) for line in lines if line[:3] == "[0x"]
        assert all(shown)
        wanted = [frame for thread in entry.trace.threads for frame in thread.frames[:depth]]
        assert [int(found[1], 16) for found in shown if found] == [frame.address for frame in wanted]
        assert bool(entry.trace.threads) != any(line.startswith("+++ dump failed") for line in lines)


@given(entries())
def test_nothing_in_an_entry_drives_a_terminal_or_ends_a_line(entry: object) -> None:
    for form in ("text", "json"):
        for line in format_entry(entry, form, 20).removesuffix("\n").split("\n"):  # type: ignore[arg-type]
            assert escape(line) == line
