"""What a pool remembers of exceptions: each line once, the newest first, a bounded number, of hostile texts as well."""

from __future__ import annotations

import json
from dataclasses import replace

from fpm.events.worker import WorkerLogged
from fpm.master.pool.exceptions import (
    CHAINED,
    KEPT,
    PRINTED_MAX,
    PRINTED_SIZE,
    ExceptionMemory,
    Printed,
    TracebackLines,
)
from fpm.stacks.text.exception import CALL_MAX, HEADER
from fpm.status.overview import LastReload, Overview
from fpm.status.reduced import without_details
from tests.support import overviews


def traceback(line: int = 41, raised: str = "KeyError: 7") -> str:
    return f'{HEADER}\n  File "/srv/shop/views.py", line {line}, in search\n    stock[7]\n{raised}'


def logged(
    text: str, *, pid: int = 5, now: float = 100.0, request: str = "GET /a", level: str = "error"
) -> WorkerLogged:
    return WorkerLogged(level, text, request, pool="www", pid=pid, time=now)


def test_the_same_line_is_one_exception() -> None:
    memory = ExceptionMemory()
    memory.take(logged("uncaught exception\n" + traceback(), now=10.0))
    memory.take(logged("mail(), called by fpm.after_response(): uncaught exception\n" + traceback(50), now=11.0))
    memory.take(logged("uncaught exception\n" + traceback(raised="KeyError: 8"), pid=6, now=12.0, request="GET /b"))
    memory.take(logged("uncaught exception\n" + traceback(), pid=7, now=13.0, request="GET /c"))
    first, second = memory.newest_first
    assert (first.words, first.place, first.count) == ("KeyError: 7", "search (/srv/shop/views.py:41)", 3)
    assert (first.first, first.last, first.pid, first.request, first.printed) == (10.0, 13.0, 7, "GET /c", False)
    assert (second.place, second.count) == ("search (/srv/shop/views.py:50)", 1)
    later = ExceptionMemory()
    later.restore(json.loads(json.dumps(memory.dump())))
    assert later.newest_first == memory.newest_first
    later.take(logged("uncaught exception\n" + traceback(), now=20.0))
    assert later.newest_first[0].count == 4


def test_messages_of_several_lines() -> None:
    memory = ExceptionMemory()
    for message in ("two\nKeyError: lines", "two\nValueError: more", "one"):
        memory.take(logged("uncaught exception\n" + traceback(raised=f"ValueError: {message}")))
    (seen,) = memory.newest_first
    assert (seen.words, seen.count) == ("ValueError: one", 3)
    memory.take(logged("uncaught exception\n" + traceback(raised="ValueErrors: another")))
    memory.take(logged("uncaught exception\n" + traceback(raised="ValueError")))
    assert [one.words for one in memory.newest_first] == ["ValueError", "ValueErrors: another"]


def test_other_lines_of_the_log_are_none() -> None:
    memory = ExceptionMemory()
    memory.take(logged("header Connection: it is for the web server to set", level="warning"))
    memory.take(logged("uncaught exception\n" + traceback(), level="notice"))
    memory.take(logged("uncaught exception\nthat says nothing"))
    assert memory.newest_first == []


def test_few_are_kept_and_all_of_it_is_bounded() -> None:
    memory = ExceptionMemory()
    for line in range(1000):
        memory.take(logged("uncaught exception\n" + traceback(line, "E: " + "x" * 5000), request="GET /" + "y" * 5000))
    assert len(memory.newest_first) == KEPT
    assert memory.newest_first[0].place.endswith(":999)")
    assert len(json.dumps(memory.dump())) < KEPT * 3000
    assert max(len(one.message) for one in memory.newest_first) == CALL_MAX


def printed(reader: TracebackLines, text: str) -> list[Printed]:
    return [found for found in map(reader.add, text.split("\n")) if found is not None]


def test_tracebacks_among_printed_lines_are_found() -> None:
    reader, memory = TracebackLines(), ExceptionMemory()
    text = f"[error] Exception on / [GET]\n{traceback()}\n\n{CHAINED[0]}\n\n{traceback(60, 'ValueError: gone')}\nmore"
    inner, outer = printed(reader, text)
    assert (inner.follows, outer.follows) == (False, True)
    for one in (inner, outer):
        memory.take_printed(one, "GET /", 5, 10.0)
    (seen,) = memory.newest_first
    assert (seen.words, seen.count, seen.printed) == ("ValueError: gone", 1, True)
    (again,) = printed(reader, "more\n" + traceback())
    assert not again.follows
    memory.take_printed(again, "GET /", 5, 11.0)
    assert [one.words for one in memory.newest_first] == ["KeyError: 7", "ValueError: gone"]


def test_what_follows_the_exception_of_another_worker_takes_nothing_back() -> None:
    memory = ExceptionMemory()
    memory.take_printed(Printed(traceback(), follows=False), "GET /", 5, 10.0)
    memory.take_printed(Printed(traceback(60), follows=True), "GET /", 6, 10.0)
    assert len(memory.newest_first) == 2


def test_a_traceback_without_an_end_is_given_up() -> None:
    reader = TracebackLines()
    assert printed(reader, HEADER + "\n  File" * (3 * PRINTED_MAX)) == []
    assert len(printed(reader, traceback())) == 1


def test_a_traceback_of_long_lines_is_given_up_as_well() -> None:
    reader = TracebackLines()
    lines = "\n".join(["  " + 1000 * "x"] * (PRINTED_SIZE // 1000 + 1))
    assert printed(reader, f"{HEADER}\n{lines}\nKeyError: 7") == []
    assert len(printed(reader, traceback())) == 1


def test_a_status_without_details_tells_no_more_than_the_type_and_the_path() -> None:
    memory = ExceptionMemory()
    memory.take(logged("uncaught exception\n" + traceback(raised="KeyError: secret"), request="GET /a?token=secret"))
    refused = LastReload(1.0, False, "secret", ("compute (/srv/secret.py:3)",))
    pool = overviews.pool(exceptions=tuple(memory.newest_first), deaths=())
    (shown,) = without_details(Overview(replace(overviews.DAEMON, last_reload=refused), (pool,))).pools
    (seen,) = shown.exceptions
    assert (seen.kind, seen.request, seen.count) == ("KeyError", "GET /a", 1)
    assert "secret" not in str(without_details(Overview(replace(overviews.DAEMON, last_reload=refused), (pool,))))
    untold = replace(refused, reason="")
    assert "secret" not in str(without_details(Overview(replace(overviews.DAEMON, last_reload=untold), ())))
