"""What the application tests/apps/odd.py shall do: mostly what applications do, and now and then what none should."""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random
from typing import Any, TypeVar
from urllib.parse import quote

Plan = Any
"""JSON."""
One = TypeVar("One")

DIARY = quote(json.dumps("diary"))
STATUSES = [
    "200 OK",
    "200",
    "200 ",
    "404 Not Found",
    "204 No Content",
    "304 Not Modified",
    "101 Switching Protocols",
    "103 Early Hints",
    "205 Reset Content",
    "600 Odd",
    "200 " + "x" * 94,
    "200 " + "x" * 96,
    "200 " + "x" * 97,
    "200 %s%n\t'",
    "200 Caf\xe9",
]
BAD_STATUSES = [
    "",
    "20 OK",
    "2000 OK",
    "099 Low",
    "200 O\nK",
    "200 O\0K",
    "200 \u20ac",
    "200 \ud800",
    ["text", "200 Ok"],
    ["text", "204 No Content"],
    ["latin", "200 OK"],
    200,
    None,
]
NAMES = ["X-A", "Set-Cookie", "Content-Type", "Location", "ETag", "content-Length", "X_!#$", "Vary"]
BAD_NAMES = ["", "Status", "a b", "a:b", "\xe9", "a\n", "\ud800", 5, None, ["latin", "X-B"], ["text", "X-Sub"]]
HOPS = ["Connection", "keep-alive", "Transfer-Encoding", "Upgrade", "TE"]
VALUES = ["", "text/plain", "0", "caf\xe9", "\xff\x80", "a\tb", "  ", "%s", ["times", "x", 100], ["times", "x", 101]]
LONG_VALUES = [["times", "v", 3700], ["times", "v", 3900], ["times", "v", 4096], ["times", "\xe9", 2000]]
BAD_VALUES = ["a\nb", "a\r\nX: y", "\0", "\x7f", "\u20ac", "\udc80", 5, None, ["latin", "x"], ["text", "sub"]]
LENGTHS = ["-1", "+5", " 5", "5 ", "5,5", "0x5", "\xb2", "5.0", "abc", "", "9223372036854775807", "9" * 25]
SIZES = [0, 0, 1, 5, 13, 200, 4000, 16200, 16384, 16500, 65000, 65400, 65500, 65535, 65536, 70000]
ENTRIES = ["REQUEST_METHOD", "QUERY_STRING", "SCRIPT_NAME", "PATH_INFO", "REMOTE_USER", "CONTENT_LENGTH", "wsgi.input"]
EXCEPTIONS = ["ValueError", "ValueError", "SystemExit", "Timeout"]


def quote_plan(plan: Plan) -> str:
    """Put a plan into a query."""
    return quote(json.dumps(plan, separators=(",", ":")), safe="{}[]:,\"'/")


def make_plan(random: Random) -> Plan:
    """Make the plan of one request."""
    return PlanMaker(random).make()


class PlanMaker:
    """Makes one plan."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._size = 0
        """Bytes of the body."""
        self._oddity = random.choice((0.0, 0.02, 0.1, 0.3))
        """How often something is done that is not usual."""

    def make(self) -> Plan:
        """Make it."""
        result = self._result()
        steps = [] if self._is_odd() else [self._start()]
        while self._is_odd() and len(steps) < 6:
            steps.insert(self._random.randint(0, len(steps)), self._step())
        if self._is_odd() and isinstance(result, list) and result[0] == "generator":
            steps, result = [], [result[0], *(["step", step] for step in steps), *result[1:]]
        return {"do": steps, "return": result}

    def _is_odd(self) -> bool:
        return self._random.random() < self._oddity

    def _pick(self, usual: Sequence[One], odd: Sequence[One]) -> One:
        return self._random.choice(odd if self._is_odd() else usual)

    # ---------------------------------------------------------------- the head

    def _start(self) -> Plan:
        random = self._random
        status = self._pick(STATUSES[:1] if random.random() < 0.7 else STATUSES, BAD_STATUSES)
        fields = [self._field() for _ in range(random.choice((0, 1, 1, 2, 2, 3, 3, 40 if self._is_odd() else 4)))]
        container = self._pick(["list"], ["fields", "tuple", "iterator"])
        how = self._pick(["plain"], ["keywords", "none", "few", "error", "false"])
        step = ["start", status, [container, *fields], how]
        return ["try", step] if self._is_odd() else step

    def _field(self) -> Plan:
        random = self._random
        if self._is_odd():
            return random.choice(["X-A: 1", ["list", "X-A", "1"], ["tuple", "X-A"], ["tuple", "X", "y", "z"], None])
        name = self._pick(NAMES, BAD_NAMES)
        value = self._pick(VALUES, BAD_VALUES if random.random() < 0.5 else LONG_VALUES)
        if self._is_odd():
            name = random.choice(HOPS)
        if self._is_odd():
            name = ["caller", "X-Caller", ["try", self._step()]]
        if name == "content-Length":
            value = self._length()
        elif name == "Set-Cookie":
            value = f"id={random.getrandbits(64)}"
        return ["pair" if self._is_odd() else "tuple", name, value]

    def _length(self) -> str:
        if self._is_odd():
            return self._random.choice(LENGTHS)
        size = self._size
        if self._is_odd():
            size = max(0, size + self._random.choice((-1000, -1, 1, 1000)))
        return f"{size:07}" if self._is_odd() else str(size)

    # ---------------------------------------------------------------- the body

    def _result(self) -> Plan:
        random = self._random
        if self._is_odd():
            return random.choice([None, 5, "text", ["bytes", 3], ["data", 3], ["wrapper", ["file", 40000]]])
        count = self._pick([1], [0, 2, 3, 15, 16, 17, 40])
        blocks = [self._block(count) for _ in range(count)]
        kind = self._pick(["list", "list", "tuple"], ["fields", "pair", "iterator", "generator", "generator"])
        result = [kind, *blocks]
        if kind == "generator" and self._is_odd():
            result.insert(random.randint(1, len(result)), ["step", self._step()])
        if self._is_odd():
            result = [random.choice(("closing", "counted")), result, self._step()]
        return result

    def _block(self, count: int) -> Plan:
        size = self._random.choice(SIZES[:6] if self._random.random() < 0.8 or count > 3 else SIZES)
        self._size += size
        if self._is_odd():
            return self._random.choice([["bytearray", size], ["view", size], "text", None, 7])
        return ["data" if self._is_odd() else "bytes", size]

    # ---------------------------------------------------------------- what else it does

    def _step(self, depth: int = 0) -> Plan:
        random = self._random
        if depth > 2:
            return ["nothing"]
        made = random.choice(
            [
                self._start,
                lambda: ["write", self._block(1), *(["keywords"] if self._is_odd() else [])],
                lambda: random.choice([["finish"], ["finish", ["list", ["bytes", 5]]], ["finish", ["generator", ""]]]),
                lambda: ["after", self._step(depth + 1)],
                lambda: ["raise", random.choice(EXCEPTIONS)],
                self._environ,
                lambda: ["busy", 0.0015],
                lambda: ["keep"],
                lambda: ["late", self._step(depth + 1)],
                lambda: ["cycle"],
            ]
        )()
        return ["try", made] if random.random() < 0.4 else made

    def _environ(self) -> Plan:
        name = self._random.choice(ENTRIES)
        values = [["environ", "__setitem__", name, value] for value in ("HEAD", "GET", 5, None)]
        return self._random.choice([["environ", "pop", name, None], ["environ", "clear"], *values])
