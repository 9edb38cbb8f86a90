"""An application, whatever it does, is answered for by the compiled hot path as by plain Python, byte by byte."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpm.protocol.messages import SlowRequest, WorkerReady
from fpm.scoreboard.reading import read_slot
from fpm.scoreboard.stages import Stage
from fpm.scoreboard.statistics import CLASSES, HISTOGRAMS, read_statistics
from tests.support import raw_fastcgi as raw
from tests.support.directories import opened_directory
from tests.support.hot_server import needs_compiled
from tests.support.odd_plans import DIARY, Plan, make_plan, quote_plan
from tests.support.waiting import wait_until
from tests.support.worker_process import WorkerPool

pytestmark = needs_compiled

OUR_FRAME = re.compile(r'  File "[^"]*/fpm/[^"]*".*\n(?:    .*\n)*')
ADDRESS = re.compile(r"0x[0-9a-f]{6,}")
METHODS = ["GET", "GET", "GET", "HEAD", "POST", "OPTIONS", ""]
FORMAT = '%r %m %q %s %l %u "%{Set-Cookie}o" "%{Content-Length}o" "%{X-A}o"'
RECORD_HEADER = 8


@dataclass
class Outcome:
    """All that can be seen of a request."""

    answer: bytes
    is_open: bool
    diary: bytes
    """What the application has seen, and the whole answer to the request that asked for it."""
    begun: tuple[Any, ...]
    """The slot while the answer is out."""
    ended: tuple[Any, ...]
    messages: list[str]
    lines: list[str]
    """Of the access log."""
    counted: tuple[int, ...]
    """Responses by class, aborted ones, and how many times of each kind."""


class Side:
    """One worker."""

    def __init__(self, directory: Path, *, hotpath: bool) -> None:
        self._log = directory / f"access-{hotpath}.log"
        self._log.touch()
        self.pool = WorkerPool("odd:application", hotpath=hotpath, access_log=self._log, access_format=FORMAT)
        self._read = self._seen = 0

    def try_out(self, params: dict[str, str], *, keep: bool) -> Outcome:
        """Send a request, and look at all that comes of it."""
        with raw.Wire(self.pool.address) as wire:
            wire.send(raw.request_bytes(params, flags=keep))
            answer = read_answer(wire)
            begun = self._begun()
            try:
                wire.send(raw.request_bytes(raw.web_params("/diary", query=DIARY)))
                diary = read_answer(wire)
            except OSError:
                diary = b""  # it is closed
            is_open = bool(diary)
        if not is_open:
            with raw.Wire(self.pool.address) as wire:
                wire.send(raw.request_bytes(raw.web_params("/diary", query=DIARY)))
                diary = read_answer(wire)
        counted = self._count()
        ended = self._slot("requests", "errors", "slow_requests", "waiting", "released", "background_early")
        return Outcome(answer, is_open, diary, begun, ended, self._messages(), self.lines(), counted)

    def _count(self) -> tuple[int, ...]:
        """All of them, when the times of the last request, which are counted after its class, are among them."""
        return wait_until(
            lambda: (
                (found := self._read_counts()) and sum(found[: CLASSES + 1]) == found[-1] == self.requests() and found
            )
        )

    def _read_counts(self) -> tuple[int, ...]:
        found = read_statistics(self.pool.board.sum_statistics())
        return (*found.classes, found.aborted, *(getattr(found, name).count for name in HISTOGRAMS))

    def _begun(self) -> tuple[Any, ...]:
        # A slot that is just being written has no texts.
        return wait_until(
            lambda: (slot := self._slot("uri", "method", "query", "user", "requests", "content_length"))[0] and slot
        )

    def _slot(self, *names: str) -> tuple[Any, ...]:
        slot = read_slot(self.pool.board.view, self.pool.settings.slots, 0)
        return tuple(getattr(slot, name) for name in names)

    def _messages(self) -> list[str]:
        messages = [one for one in self.pool.worker.receive_all() if not isinstance(one, WorkerReady)]
        new, self._seen = messages[self._seen :], len(messages)
        return [re.sub(ADDRESS, "0x", re.sub(OUR_FRAME, "", str(one).replace("\\n", "\n"))) for one in new]

    def requests(self) -> int:
        """How many have come."""
        return int(self._slot("requests")[0])

    def lines(self) -> list[str]:
        text = self._log.read_bytes()
        new, self._read = text[self._read : text.rfind(b"\n") + 1], text.rfind(b"\n") + 1
        return [line for line in new.decode().splitlines() if not line.startswith("/diary")]


def read_answer(wire: raw.Wire) -> bytes:
    """Read up to END_REQUEST or the end, and what comes with it."""
    answer = b""
    while (record := wire.read_record()) is not None:
        kind, number, content = record
        answer += raw.record(kind, content, request=number)
        if kind == raw.END:
            return answer + wire.read_buffered()
    return answer


class Twins:
    """Two workers with the same application, of which one is compiled."""

    def __init__(self) -> None:
        self._opened = opened_directory()
        directory = self._opened.__enter__()
        self.sides = [Side(directory, hotpath=hotpath) for hotpath in (True, False)]

    def __enter__(self) -> Twins:
        return self

    def __exit__(self, *details: Any) -> None:
        for side in self.sides:
            side.pool.__exit__(*details)
        self._opened.__exit__(*details)

    def compare(self, plan: Plan, *, method: str = "GET", user: str = "", keep: bool = False) -> Outcome:
        """Have both do the same."""
        params = raw.web_params(f"/{method}", method=method, query=quote_plan(plan))
        if user:
            params["REMOTE_USER"] = user
        compiled, plain = (side.try_out(params, keep=keep) for side in self.sides)
        assert compiled == plain, f"{method} keep={keep} {plan}"
        return compiled


def test_any_application_is_answered_for_alike() -> None:
    with Twins() as twins:

        @settings(max_examples=300)
        @given(seed=st.integers(0, 2**64))
        def check(seed: int) -> None:
            random = Random(seed)
            user = random.choice(["", "", "", "caf\xe9", "x" * 40])
            twins.compare(make_plan(random), method=random.choice(METHODS), user=user, keep=random.random() < 0.5)

        check()


def answer_of(size: int, *steps: Plan) -> Plan:
    """Plan an answer with a body of so many bytes."""
    return {"do": [["start", "200 OK", ["list", ["tuple", "X-A", "b"]]], *steps], "return": ["list", ["bytes", size]]}


LATE = [
    ["write", ["bytes", 3]],
    ["write", ["bytes", 3], "keywords"],
    ["write", "text"],
    ["start", "200 OK", ["list"]],
    ["start", "200 OK", ["list"], "error"],
    ["start", "200 O\nK", ["list"], "error"],
]


@pytest.mark.parametrize("size", [5, 70000])
def test_what_is_kept_of_a_request_and_called_after_its_end_does_the_same(size: int) -> None:
    with Twins() as twins:
        for late in LATE:
            assert b"01234" in twins.compare(answer_of(size, ["keep"])).answer
            outcome = twins.compare(answer_of(5, ["try", ["late", late]]))
            assert b"nothing is kept" not in outcome.diary


def test_a_request_that_is_slow_counts_and_is_told() -> None:
    params = raw.web_params("/slow", query=quote_plan(answer_of(5, ["busy", 0.1])))
    for hotpath in (True, False):
        with WorkerPool("odd:application", hotpath=hotpath, request_slowlog_timeout=0.05) as pool:
            raw.exchange(pool.address, params)
            told = pool.worker.wait_message(SlowRequest)
            assert told.request.startswith("GET /slow?")
            assert read_slot(pool.board.view, pool.settings.slots, 0).slow_requests == 1


@pytest.mark.parametrize("size", [5, 16000, 40000, 65400, 65500, 70000])
def test_a_connection_that_is_not_kept_is_refused_alike(size: int) -> None:
    """Of two kept ones a worker alone keeps one, and says so before the answer's end."""
    plan = answer_of(size)
    with Twins() as twins:
        first = [raw.Wire(side.pool.address) for side in twins.sides]
        for wire in first:
            wire.send(raw.request_bytes(raw.web_params("/", query=DIARY), flags=raw.KEEP_CONN))
            assert read_answer(wire)
        outcome = twins.compare(plan, keep=True)
        assert not outcome.is_open
        assert raw.record(raw.END, bytes(8)) + raw.record(raw.ABORT + 5) == outcome.answer[-24:]
        for wire in first:
            wire.close()


@pytest.mark.parametrize("fields", [["list"], ["list", ["tuple", "X-A", "b"]]])
def test_a_peer_that_is_slow_gets_all_of_it_and_the_log_says_the_same(fields: Plan) -> None:
    plan = {"do": [["start", "200 OK", fields]], "return": ["list", *[["bytes", 30000]] * 2]}
    params = raw.web_params("/", query=quote_plan(plan))
    answers, lines = [], []
    with Twins() as twins:
        for side in twins.sides:
            stages = side.pool.board.stages
            with raw.Wire(side.pool.address) as wire:
                count = 0
                while not side.pool.is_held_up():
                    count += 1
                    assert count < 100, "the peer's buffer takes everything"
                    wire.send(raw.request_bytes(params, flags=raw.KEEP_CONN))
                    wait_until(
                        lambda stages=stages, side=side, count=count: (
                            side.pool.is_held_up() or (stages[0] == Stage.ACCEPTING and side.requests() == count)
                        )
                    )
                answers.append([wire.read_reply() for _ in range(count)])
            wait_until(lambda stages=stages: stages[0] == Stage.ACCEPTING)
            lines.append(side.lines())
    assert answers[0] == answers[1]
    assert lines[0] == lines[1]
    assert '"60000"' in lines[0][-1]
