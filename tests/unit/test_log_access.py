"""access.format: every letter, every complaint, and nothing that a client sends can end a line or a field."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm.log.access import compile_format, suppressed
from fpm.log.access_record import AccessRecord
from fpm.log.times import format_access_time, format_time
from fpm.master.log_pipe import make_harmless

MOMENT = 1751709600.25
"""2025-07-05 10:00:00 UTC, a Saturday."""


def record(**values: object) -> AccessRecord:
    made = AccessRecord()
    made.pool = "www"
    made.pid = 4711
    made.parent_pid = 1
    made.method = "POST"
    made.uri = "/a/b"
    made.query = "x=1"
    made.script = "app:main"
    made.user = "eve"
    made.remote = "10.0.0.1"
    made.status = 201
    made.content_length = 42
    made.accepted = MOMENT
    made.written = MOMENT + 90
    made.duration = 250_000
    made.cpu_user = 40_000
    made.cpu_system = 10_000
    made.memory = 3 * 1024 * 1024
    made.params = {"HTTP_HOST": "example.org"}
    made.headers = [("Content-Type", "text/html"), ("X-Empty", "")]
    for name, value in values.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize(
    ("format", "line"),
    [
        ("%%", "%"),
        ("100%%|%C|%{total}C|%{user}C|%{SYSTEM}C", "100%|20.00|20.00|16.00|4.00"),
        ("%d %{seconds}d %{milliseconds}d %{milli}d", "0.250 0.250 250.000 250.000"),
        ("%{miliseconds}d %{mili}d %{micro}d %{Microseconds}d", "250.000 250.000 250000 250000"),
        ("%{HTTP_HOST}e %{NOT_SENT}e", "example.org -"),
        ("%f %l %m %n", "app:main 42 POST www"),
        ("%M %{bytes}M %{kilo}M %{kilobytes}M %{mega}M %{megabytes}M", "3145728 3145728 3072 3072 3 3"),
        ("%{content-type}o %{X-Empty}o %{X-None}o", "text/html - -"),
        ("%p %P", "4711 1"),
        ("%r%Q%q", "/a/b?x=1"),
        ("%R %s %u", "10.0.0.1 201 eve"),
        ("plain", "plain"),
        ("", ""),
    ],
)
def test_letters(format: str, line: str) -> None:
    assert compile_format(format).render(record()) == line


def test_times_are_those_of_the_request_and_of_the_line() -> None:
    line = compile_format("%t|%T|%{%s %%}t|%{%Y-%m-%d}T").render(record())
    day = format_time(MOMENT + 90, "%Y-%m-%d")
    assert line == f"{format_access_time(MOMENT)}|{format_access_time(MOMENT + 90)}|1751709600 %|{day}"


def test_a_later_request_has_a_later_time() -> None:
    compiled = compile_format("%{%s}t")
    assert compiled.render(record()) == "1751709600"
    assert compiled.render(record(accepted=MOMENT + 0.5)) == "1751709600"
    assert compiled.render(record(accepted=MOMENT + 1)) == "1751709601"


def test_missing_values() -> None:
    empty = AccessRecord()
    assert compile_format("%R - %u %f %m %n %r").render(empty) == "- - - - - - -"
    assert compile_format("[%Q%q] %C %d %M %l %s").render(empty) == "[] 0.00 0.000 0 0 0"


def test_default_format_of_php_fpm() -> None:
    line = compile_format('%R - %u %t "%m %r" %s').render(record(user="", remote=""))
    assert line == f'- - - {format_access_time(MOMENT)} "POST /a/b" 201'


@pytest.mark.parametrize(
    ("format", "complaint"),
    [
        ("%Z", r"Invalid token in the access\.format \(%Z\)"),
        ("%", r"Invalid token in the access\.format \(%\)"),
        ("%{user", r"missing closing embrace in the access\.format"),
        ("%{user}", r"missing closing embrace in the access\.format"),
        ("%{x}p", r"embrace is not allowed for modifier %p"),
        ("%{x}%", r"embrace is not allowed for modifier %%"),
        ("%{x}C", r"only 'total', 'user' or 'system' are allowed as a modifier for %C \('x'\)"),
        ("%{x}d", r"are allowed as a modifier for %d \('x'\)"),
        ("%{x}M", r"only 'bytes', .* are allowed as a modifier for %M \('x'\)"),
        ("%e", r"the name of the environment variable must be set between embraces for %e"),
        ("%{}o", r"the name of the header must be set between embraces for %o"),
    ],
)
def test_complaints(format: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        compile_format(format)


def test_a_format_tells_what_it_costs() -> None:
    cheap = compile_format('%R - %u %t "%m %r" %s')
    assert (cheap.uses_cpu, cheap.uses_memory, cheap.uses_headers) == (False, False, False)
    dear = compile_format("%C %M %{Server}o")
    assert (dear.uses_cpu, dear.uses_memory, dear.uses_headers) == (True, True, True)


def test_utf8_is_shown_and_controls_are_spelled() -> None:
    wire = "/ä€".encode().decode("latin-1") + "\xff\n\x1b[2J\x9b\x00\t\x7f"
    assert compile_format("%r").render(record(uri=wire)) == "/ä€ÿ\\x0a\\x1b[2J\\x9b\\x00\\x09\\x7f"
    assert compile_format('"%q"').render(record(query='a" 200 "\\')) == '"a\\x22 200 \\x22\\x5c"'


@given(st.text(st.characters(max_codepoint=255)))
def test_no_field_can_end_early(wire: str) -> None:
    line = compile_format('"%q"', limit=10**6).render(record(query=wire))
    assert line.startswith('"')
    assert line.endswith('"')
    assert line.count('"') == 2
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in line)
    line.encode()


@given(st.text(st.characters(max_codepoint=255)), st.integers(3, 600))
def test_a_line_has_at_most_its_limit(wire: str, limit: int) -> None:
    whole = compile_format("%q", limit=10**6).render(record(query=wire))
    line = compile_format("%q", limit=limit).render(record(query=wire))
    assert len(line.encode()) <= limit
    if line != whole:
        assert len(whole.encode()) > limit
        assert line.endswith("...")
        assert whole.startswith(line[:-3])


@pytest.mark.parametrize(
    ("changes", "dropped"),
    [
        ({}, True),
        ({"method": "HEAD"}, True),
        ({"status": 204}, True),
        ({"method": "POST"}, False),
        ({"uri": "/ping/"}, False),
        ({"query": "x"}, False),
        ({"content_length": 1}, False),
        ({"status": 304}, False),
        ({"status": 500}, False),
    ],
)
def test_suppressed_paths(changes: dict[str, object], dropped: bool) -> None:
    plain = {"method": "GET", "uri": "/ping", "query": "", "content_length": 0, "status": 200}
    assert suppressed(record(**plain | changes), ["/health", "/ping"]) is dropped


def test_json_is_an_object_for_each_request() -> None:
    assert json.loads(compile_format("json").render(record(uri='/a"b\\c', query="\n\u0080=1", user=""))) == {
        "time": "2025-07-05T10:00:00.250Z",
        "pool": "www",
        "event": "request",
        "pid": 4711,
        "client": "10.0.0.1",
        "user": "",
        "method": "POST",
        "path": "/a\\x22b\\x5cc",
        "query": "\\x0a\\x80=1",
        "status": 201,
        "seconds": 0.25,
        "request_bytes": 42,
    }


WIRE = st.text(st.characters(max_codepoint=255), max_size=3000)


@given(WIRE, WIRE, WIRE)
def test_json_is_whole_whatever_a_client_sends(uri: str, query: str, method: str) -> None:
    line = compile_format("json").render(record(uri=uri, query=query, method=method)) + "\n"
    data = line.encode("utf-8", "backslashreplace")
    assert len(data) <= 4096
    assert data.count(b"\n") == 1
    assert json.loads(data)["status"] == 201
    assert make_harmless(data) == data
