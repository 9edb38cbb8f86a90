"""Entries of the log as events."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm.manager.events import Kind, parse_event

HEAD = "[21-Nov-2026 10:00:00] "


@pytest.mark.parametrize(
    ("line", "pool", "pid", "kind"),
    [
        ("NOTICE: ready to handle connections", "", 0, Kind.READY),
        ("NOTICE: [pool www] child 12 started", "www", 12, Kind.STARTED),
        (
            "WARNING: [pool www] child 12 exited on signal 9 (SIGKILL) after 1.0 seconds from start",
            "www",
            12,
            Kind.EXITED,
        ),
        ("WARNING: [pool www] template 12 exited with code 1; its workers", "www", 12, Kind.EXITED),
        ("ERROR: [pool www] failed to start: x; next try in 1 s", "www", 0, Kind.FAILED),
        (
            "WARNING: [pool www] child 3, script 'a:b' (request: \"GET /\") executing too slow (1.0 sec), logging",
            "www",
            3,
            Kind.SLOW,
        ),
        (
            "WARNING: [pool www] child 3, script 'a:b' (request: \"GET /\") execution timed out (1.0 sec), terminating",
            "www",
            3,
            Kind.TIMED_OUT,
        ),
        ("NOTICE: reload finished", "", 0, Kind.RELOADED),
        ("ERROR: reload failed, nothing has changed: x", "", 0, Kind.REFUSED),
        ('WARNING: [pool www] child 3 said into stderr: "child 4 started"', "www", 3, Kind.OUTPUT),
        ("NOTICE: exiting, bye-bye!", "", 0, Kind.OTHER),
        ("DEBUG: pid 7: [pool www] child 3 started", "www", 3, Kind.STARTED),
    ],
)
def test_kinds(line: str, pool: str, pid: int, kind: Kind) -> None:
    event = parse_event(HEAD + line, 5.0)
    assert (event.pool, event.pid, event.kind, event.time) == (pool, pid, kind, 5.0)
    assert event.level == line.partition(":")[0]


@given(st.text())
def test_any_line_is_an_event(line: str) -> None:
    event = parse_event(line, 1.0)
    assert event.text in line
