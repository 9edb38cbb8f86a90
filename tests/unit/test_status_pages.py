"""The status page: the bytes of a real PHP-FPM, and texts from hostile clients in every format."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fpm.log.escape import escape
from fpm.log.times import format_access_time
from fpm.scoreboard.numbers import PoolNumbers
from fpm.status.model import PoolStatus, ProcessStatus
from fpm.status.pages import POOL_KEYS, PROCESS_KEYS, render_status

PAGES = Path(__file__).parent / "status_pages"
START = 1795223156
"""When the PHP-FPM of those pages was started."""
MEMORY_PEAK = {
    "text": b"memory peak:          2097152\n",
    "json": b',"memory peak":2097152',
    "xml": b"<memory-peak>2097152</memory-peak>\n",
    "html": b"<tr><th>memory peak</th><td>2097152</td></tr>\n",
    "openmetrics": b"# HELP phpfpm_memory_peak The memory usage peak since FPM has started.\n"
    b"# TYPE phpfpm_memory_peak gauge\nphpfpm_memory_peak 2097152\n",
}
"""What 8.4 has in addition."""


def process(pid: int, state: str, requests: int, duration: int, uri: str) -> ProcessStatus:
    memory = 2097152 if state == "Idle" else 0
    return ProcessStatus(pid, state, START, 1, requests, duration, "GET", uri, 0, "-", "-", 0.0, memory)


def status(accepted: int, *processes: ProcessStatus) -> PoolStatus:
    numbers = PoolNumbers(
        start_time=START,
        start_since=1,
        requests=accepted,
        idle=1,
        active=1,
        total=2,
        max_active=1,
        memory_peak=2097152,
    )
    return PoolStatus("www", "static", numbers, tuple(processes))


def running(requests: int, duration: int, uri: str, before: int, before_uri: str) -> list[ProcessStatus]:
    return [
        process(5255, "Idle", requests, before, before_uri),
        process(5256, "Running", requests, duration, uri),
    ]


@pytest.mark.parametrize(
    ("page", "query", "known"),
    [
        ("text", "", status(1)),
        ("text_full", "full", status(2, *running(1, 259, "/status?full", 381, "/status"))),
        ("json", "json", status(3)),
        ("json_full", "json&full", status(4, *running(2, 109, "/status?json&full", 104, "/status?json"))),
        ("xml", "xml", status(5)),
        ("xml_full", "xml&full", status(6, *running(3, 67, "/status?xml&full", 91, "/status?xml"))),
        ("html", "html", status(7)),
        ("html_full", "html&full", status(8, *running(4, 73, "/status?html&full", 64, "/status?html"))),
        ("openmetrics", "openmetrics", status(9)),
        ("openmetrics", "openmetrics&full", status(9, *running(4, 73, "/", 64, "/"))),
    ],
)
def test_bytes_of_php_fpm(page: str, query: str, known: PoolStatus) -> None:
    theirs = (PAGES / page).read_bytes()
    # Their machine was at UTC; the form of the time is compared, its zone is this machine's.
    theirs = theirs.replace(b"21/Nov/2026:01:05:56 +0000", format_access_time(START).encode())
    ours = render_status(known, query, own=False).body
    addition = MEMORY_PEAK[page.partition("_")[0]]
    assert ours.count(addition) == 1
    assert ours.replace(addition, b"") == theirs


def test_time_is_that_of_the_oracle() -> None:
    assert datetime.strptime(format_access_time(START), "%d/%b/%Y:%H:%M:%S %z").timestamp() == START


@pytest.mark.parametrize(
    ("query", "content_type"),
    [
        ("", "text/plain;charset=UTF-8"),
        ("unknown=1&&=", "text/plain;charset=UTF-8"),
        ("JSON", "text/plain;charset=UTF-8"),
        ("jsonx", "text/plain;charset=UTF-8"),
        ("json", "application/json"),
        ("json=True", "application/json"),
        ("full&json& ", "application/json"),
        ("json&xml", "text/xml;charset=UTF-8"),
        ("json&xml&html&openmetrics", "text/html;charset=UTF-8"),
        ("openmetrics=", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        ("openmetrics&json", "application/json"),
    ],
)
def test_query_is_by_key(query: str, content_type: str) -> None:
    assert render_status(status(1), query, own=False).content_type == content_type


def test_json_is_flat_and_on_one_line() -> None:
    body = render_status(status(1), "json", own=False).body.decode()
    assert "\n" not in body
    values = json.loads(body)
    assert tuple(values) == POOL_KEYS
    assert all(isinstance(value, int | str) for value in values.values())
    full = json.loads(render_status(status(1, process(1, "Idle", 1, 1, "/")), "json&full", own=False).body)
    assert tuple(full) == (*POOL_KEYS, "processes")
    assert tuple(full["processes"][0]) == PROCESS_KEYS


def test_no_process_is_an_empty_list() -> None:
    assert json.loads(render_status(status(1), "full&json", own=False).body)["processes"] == []
    assert render_status(status(1), "full", own=False).body == render_status(status(1), "", own=False).body


def test_percent_has_two_places() -> None:
    busy = replace(process(1, "Idle", 1, 1, "/"), last_request_cpu=33.336)
    assert b"last request cpu:     33.34\n" in render_status(status(1, busy), "full", own=False).body
    assert b'"last request cpu":33.34,' in render_status(status(1, busy), "full&json", own=False).body


class Cells(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.cells: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag == "td":
            self.cells.append("")

    def handle_data(self, data: str) -> None:
        if self.cells:
            self.cells[-1] += data


HOSTILE = "/<script>alert('1')</script>\"&amp;\n\r\t\x00\x1b[2J\x7f\x9b\u2028\u202e\ufffeÿä€]]>--\\"


@given(st.text(st.characters(exclude_categories=["Cs"])))
@example(HOSTILE)
@example("x" * 65536)
def test_hostile_texts_in_every_format(text: str) -> None:
    hostile = replace(process(1, "Idle", 1, 1, text), request_method=text, user=text, script=text)
    known = status(1, hostile, process(2, "Running", 1, 1, "/after"))
    found = json.loads(render_status(known, "json&full", own=False).body)["processes"]
    assert (found[0]["request uri"], found[0]["script"], found[0]["user"]) == (text, text, text)
    assert found[1]["request uri"] == "/after"

    root = ElementTree.fromstring(render_status(known, "xml&full", own=False).body)
    assert [one.text for one in root.iter("pid")] == ["1", "2"]
    assert root.findtext("processes/process/script") == escape(text)

    parser = Cells()
    parser.feed(render_status(known, "html&full", own=False).body.decode())
    assert len(parser.cells) == len(POOL_KEYS) + 2 * len(PROCESS_KEYS)
    assert parser.tags == {"html", "head", "title", "body", "table", "tr", "th", "td"}

    lines = render_status(known, "full", own=False).body.decode().split("\n")
    assert len(lines) == len(POOL_KEYS) + 2 * (len(PROCESS_KEYS) + 2) + 1
    assert not re.search("[\x00-\x1f\x7f-\x9f\u2028\u202e]", "".join(lines))
