"""finish_request() and after_response() in a real worker: what nginx gets, when the work runs, what is said."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from fpm.scoreboard.reading import read_board
from fpm.scoreboard.snapshot import Slot
from fpm.scoreboard.stages import Stage
from tests.support import raw_fastcgi as raw
from tests.support.interpreter import interpreters
from tests.support.waiting import wait_until
from tests.support.worker_process import WorkerPool


class Work:
    """Two workers and the marks of their work."""

    def __init__(self, pool: WorkerPool, marks: Path) -> None:
        self.pool = pool
        self.address = pool.address
        self._marks = marks

    def get(self, path: str, query: str = "", method: str = "GET") -> raw.Reply:
        return raw.exchange(self.address, raw.web_params(f"/{path}", query=query, method=method))

    @contextmanager
    def holding(self, name: str) -> Iterator[None]:
        """Let no work of this name begin during the block."""
        hold = self._marks.with_name(f"{self._marks.name}.{name}")
        hold.touch()
        try:
            yield
        finally:
            hold.unlink()

    def marks(self, count: int) -> list[str]:
        """So many marks, which are then forgotten."""

        def there() -> list[str] | None:
            lines = self._marks.read_text().splitlines()
            return lines if len(lines) >= count else None

        lines = wait_until(there, message=f"not {count} marks")
        self._marks.write_text("")
        return lines

    def logged(self, text: str) -> str:
        """What the workers have logged, once it has `text` in it."""

        def all_of_it() -> str:
            return "\n".join(worker.logged() for worker in self.pool.workers)

        wait_until(lambda: text in all_of_it(), message=f"{text!r} was not logged")
        return all_of_it()

    def idle(self) -> None:
        """Wait until both workers are idle."""
        wait_until(lambda: bytes(self.pool.board.stages[:2]) == bytes([Stage.ACCEPTING] * 2))


@pytest.fixture(scope="module")
def works(served_by: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Work]:
    marks = tmp_path_factory.mktemp("work") / "marks"
    marks.write_text("")
    os.environ["WORK_MARKS"] = str(marks)
    try:
        with WorkerPool("work:application", workers=2) as pool:
            yield Work(pool, marks)
    finally:
        del os.environ["WORK_MARKS"]


@pytest.mark.parametrize(
    ("path", "body", "marks"),
    [
        ("after-write", b"written before", ["True False"]),
        ("before-return", b"all of it", ["closed", "True", "returns"]),
        ("in-generator", b"first last", ["generator goes on"]),
        ("middleware", b"inner", ["middleware goes on"]),
        ("in-close", b"before close", ["in close True"]),
        ("deep", b"deep", ["True"]),
        ("in-thread", b"threaded", ["True"]),
    ],
)
def test_exactly_what_was_produced(works: Work, path: str, body: bytes, marks: list[str]) -> None:
    for flags in (0, raw.KEEP_CONN):
        reply = raw.exchange(works.address, raw.web_params(f"/{path}"), flags=flags)
        assert (reply.status, reply.body, reply.ended) == (200, body, True)
        assert works.marks(len(marks)) == marks


def test_later_output_is_dropped_with_one_notice(works: Work) -> None:
    works.get("after-write")
    works.marks(1)
    log = works.logged("bytes of output after fpm.finish_request() were not sent")
    assert "GET /after-write: 18 bytes of output after" in log


def test_a_response_that_has_not_begun_cannot_be_finished(works: Work) -> None:
    assert works.get("too-early").body == b"done"
    [error] = works.marks(1)
    assert error.startswith("RuntimeError: finish_request() was called before start_response()")
    assert error.endswith("In a view of a framework, use after_response()")


def test_the_web_server_notices_that_a_promised_length_is_not_reached(works: Work) -> None:
    reply = works.get("short")
    assert (reply.body, reply.ended) == (b"only this", False)
    assert works.marks(1) == ["after short"]
    assert "GET /short: finish_request() was called before all of the Content-Length" in works.logged("/short:")


@pytest.mark.parametrize(
    ("method", "status", "body"), [("GET", 200, b"exact"), ("HEAD", 200, b""), ("GET", 204, b""), ("GET", 304, b"")]
)
def test_responses_of_an_exact_length_and_without_a_body(works: Work, method: str, status: int, body: bytes) -> None:
    reply = works.get("exact", query=str(status), method=method)
    assert (reply.status, reply.body, reply.ended) == (status, body, True)
    assert works.marks(1) == ["after exact"]


@pytest.mark.parametrize("flags", [0, raw.KEEP_CONN])
def test_a_body_that_was_not_read_does_not_harm_the_next_request(works: Work, flags: int) -> None:
    body = b"x" * 300_000
    with raw.Wire(works.address) as wire:
        head = raw.request_bytes(raw.web_params("/unread", method="POST", body=body), body, flags=flags)
        wire.send(head[:100_000])
        reply = wire.read_reply()
        assert (reply.body, reply.ended) == (b"not read", True)
        assert works.marks(1) == ["BodyDropped: the request's body was not read before its response was complete"]
    assert works.get("pid").status == 200


def test_functions_run_in_order_with_their_context_after_the_end(works: Work) -> None:
    reply = works.get("after")
    assert (reply.body, reply.ended) == (b"after", True)
    assert works.marks(5) == ["closed", "one alice", "two 2 bob False", "three", "four"]


def test_a_function_that_fails_does_not_stop_the_next(works: Work) -> None:
    assert works.get("failing").body == b"failing"
    assert works.marks(1) == ["the last one"]
    log = works.logged("interrupts()")
    assert "GET /failing: work.fails(), called by fpm.after_response(): uncaught exception\nTraceback" in log
    assert "work.py" in log.partition("Traceback")[2].splitlines()[1]
    assert "sys.exit(), called by fpm.after_response(): sys.exit(3) has ended it, not the worker" in log
    assert "KeyboardInterrupt" in log


def test_what_cannot_be_called_is_refused_at_once(works: Work) -> None:
    assert works.get("wrong").body == b"wrong"
    awaited, text = works.marks(2)
    assert awaited.startswith("work.wrong.<locals>.never_awaited() does nothing until it is awaited")
    assert text == "after_response() needs a function and its arguments, not str"


def test_after_an_exception_of_the_view(works: Work) -> None:
    assert works.get("crash").status == 500
    assert works.marks(1) == ["after the crash"]


def test_the_client_is_gone_and_the_work_is_done(works: Work) -> None:
    with raw.Wire(works.address) as wire:
        wire.send(raw.request_bytes(raw.web_params("/after")))
    assert works.marks(5)[-1] == "four"


def test_what_is_said_afterwards_is_heard(works: Work) -> None:
    assert works.get("streams").body == b"streams"
    for text in ("printed afterwards", "wsgi.errors afterwards", "logged afterwards"):
        wait_until(lambda text=text: any(text in worker.output() for worker in works.pool.workers))  # type: ignore[misc]


def test_the_scoreboard_says_what_is_done(works: Work) -> None:
    works.idle()
    with works.holding("first"):
        works.get("queue", query="0.5")
        slot = wait_until(lambda: finishing(works))
        assert (slot.task, slot.method, slot.uri) == ("work.work", "GET", "/queue")
        assert slot.request_start < slot.released
        assert (slot.duration, slot.later) == (0, ("work.work", "work.work"))
    works.marks(3)
    works.idle()
    after = read_board(works.pool.board.view, works.pool.settings.slots).slots[slot.index]
    wait_until(lambda: read_board(works.pool.board.view, works.pool.settings.slots).slots[slot.index].released == 0.0)
    assert after.duration > 1_500_000


def finishing(works: Work) -> Slot | None:
    """The worker that works after its response, with two functions still to come."""
    for slot in read_board(works.pool.board.view, works.pool.settings.slots).used:
        if slot.stage is Stage.FINISHED and slot.waiting == 2:
            return slot
    return None


def test_a_kept_connection_goes_on_elsewhere_or_later(works: Work) -> None:
    with raw.Wire(works.address) as wire:
        for _ in range(2):  # the second on the other worker
            wire.send(raw.request_bytes(raw.web_params("/slow", query="0.4"), flags=raw.KEEP_CONN))
            assert wire.read_reply().body == b"soon"
        wire.send(raw.request_bytes(raw.web_params("/pid"), flags=raw.KEEP_CONN))
        assert wire.read_reply().status == 200  # when one is done
    assert works.marks(2) == ["slow", "slow"]


# --- processes and threads ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "code", "said"),
    [("", 0, ""), ("finished", 0, ""), ("exit", 7, ""), ("raise", 1, "LookupError: in the child")],
)
def test_a_forked_child_that_comes_back_ends(works: Work, query: str, code: int, said: str) -> None:
    reply = works.get("forks", query=query)
    assert (reply.body, reply.ended) == (b"parent", True)
    child, parent = works.marks(2)
    assert child.startswith("child: finish_request() was called in a process that the application has forked")
    assert parent == f"child exited {code}"
    wait_until(lambda: any(said in worker.output() for worker in works.pool.workers))
    works.idle()


def test_a_child_writes_nothing_to_the_client(works: Work) -> None:
    reply = works.get("forks-in-generator")
    assert (reply.body, reply.ended) == (b"first second", True)
    assert works.marks(1) == ["the child's end"]
    assert works.get("forks-afterwards").body == b"forking"
    assert works.marks(2) == ["forked afterwards", "and its parent"]


def test_other_processes_and_threads(works: Work) -> None:
    assert works.get("others").body == b"others"
    assert works.marks(4) == ["multiprocessing", "joined 0", "subprocess", "thread"]
    works.idle()
    assert {works.get("pid").body.decode() for _ in range(20)} <= {str(worker.pid) for worker in works.pool.workers}


# --- pm.background_max ----------------------------------------------------------------------------------------------


def test_beyond_the_limit_the_work_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "marks").write_text("")
    monkeypatch.setenv("WORK_MARKS", str(tmp_path / "marks"))
    with WorkerPool("work:application", workers=2, pm_background_max=1) as pool:
        works = Work(pool, tmp_path / "marks")
        with works.holding("long"):
            works.get("slow", query="0&long")
            wait_until(lambda: Stage.FINISHED in bytes(pool.board.stages))
            for path, query, body, marks in (
                ("slow", "0&early", b"soon", ["early"]),
                ("before-return", "0", b"all of it", ["closed", "True", "returns"]),
                ("in-generator", "0", b"first last", ["generator goes on"]),
                ("after", "", b"after", ["closed", "one alice", "two 2 bob False", "three", "four"]),
                ("crash", "", None, ["after the crash"]),
            ):
                reply = works.get(path, query=query)
                assert works.marks(0) == marks, "the work was done before the response"
                assert reply.ended
                assert body is None or reply.body == body
            assert bytes(pool.board.stages).count(Stage.FINISHED) == 1
            assert sum(slot.background_early for slot in read_board(pool.board.view, 8).used) == 5
        assert works.marks(1) == ["long"]


@pytest.mark.parametrize("python", interpreters())
def test_every_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, python: str) -> None:
    (tmp_path / "marks").write_text("")
    monkeypatch.setenv("WORK_MARKS", str(tmp_path / "marks"))
    with WorkerPool("work:application", python=python) as pool:
        works = Work(pool, tmp_path / "marks")
        assert works.get("after").body == b"after"
        assert works.marks(5)[1:] == ["one alice", "two 2 bob False", "three", "four"]
        assert works.get("in-thread").body == b"threaded"
        assert works.get("forks", query="exit").body == b"parent"
        assert works.marks(3)[-1] == "child exited 7"


def test_never_more_than_the_limit_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "marks").write_text("")
    monkeypatch.setenv("WORK_MARKS", str(tmp_path / "marks"))
    with WorkerPool("work:application", workers=6, pm_background_max=2) as pool, ThreadPoolExecutor(6) as clients:
        works = Work(pool, tmp_path / "marks")
        for _ in range(3):
            wait_until(lambda: bytes(pool.board.stages[:6]) == bytes([Stage.ACCEPTING] * 6))
            before = sum(slot.background_early for slot in read_board(pool.board.view, 8).used)
            with works.holding("slow"):
                asked = [clients.submit(works.get, "slow") for _ in range(6)]
                wait_until(lambda: bytes(pool.board.stages).count(Stage.EXECUTING) == 4)
                wait_until(lambda: sum(one.done() for one in asked) == 2)  # noqa: B023
                assert bytes(pool.board.stages).count(Stage.FINISHED) == 2
            works.marks(6)
            assert sum(slot.background_early for slot in read_board(pool.board.view, 8).used) == before + 4
            assert {one.result().body for one in asked} == {b"soon"}


def test_the_access_log_has_the_time_of_the_response(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "access.log"
    monkeypatch.setenv("WORK_MARKS", str(tmp_path / "marks"))
    with WorkerPool("work:application", access_log=log, access_format="%r %{milliseconds}d") as pool:
        begin = time.monotonic()
        with Work(pool, tmp_path / "marks").holding("slow"):
            raw.get(pool.address, "/slow")
            line = wait_until(log.read_text)
            assert pool.board.stages[0] == Stage.FINISHED, "the line does not wait for the work"
        assert 0 <= float(line.split()[1]) <= (time.monotonic() - begin) * 1000
