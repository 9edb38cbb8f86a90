"""Requests leave nothing behind in a worker: no object, no reference to what was there before, no memory."""

from __future__ import annotations

import contextlib
import json
from itertools import cycle, islice

from tests.support import raw_fastcgi as raw
from tests.support.odd_plans import Plan, quote_plan
from tests.support.worker_process import WorkerPool

WARM_UP = 8000
"""Requests until all that is remembered is full."""
COUNT = 20000
SLACK = {"objects": 200, "references": 1000, "blocks": 1000, "resident": 1 << 20}
"""What may be there by chance; one thing left by each of one kind of requests is as much as there are of that kind."""
OK = ["start", "200 OK", ["list", ["tuple", "X-A", "b"]]]
SIZED = ["start", "200 OK", ["list", ["tuple", "Content-Length", "5"]]]
BODY = ["list", ["bytes", 5]]
PLANS: list[Plan] = [
    {"do": [OK], "return": BODY},
    {"do": [SIZED], "return": ["tuple", ["bytes", 2], ["bytes", 3]]},
    {"do": [SIZED], "return": ["generator", ["bytes", 5]]},
    {"do": [["start", "204 No Content", ["list"]]], "return": ["list"]},
    {"do": [["start", "200 Caf\xe9", ["fields", ["pair", "X-A", ["times", "x", 5000]]], "none"]], "return": BODY},
    {"do": [["try", ["start", "200 O\nK", ["list"]]], OK, ["try", OK], ["environ", "clear"]], "return": BODY},
    {"do": [OK, ["cycle"], ["write", ["bytes", 7]]], "return": BODY},
    {"do": [OK, ["finish"], ["after", ["nothing"]]], "return": BODY},
    {"do": [OK, ["keep"], ["try", ["late", ["write", ["bytes", 1]]]]], "return": BODY},
    {"do": [OK, ["raise", "ValueError"]], "return": BODY},
]
"""Each is answered COUNT / len(PLANS) times, which is more than SLACK allows of most."""


class Client:
    """Sends requests, on a kept connection where there is one."""

    def __init__(self, pool: WorkerPool) -> None:
        self._pool = pool
        self._kept: raw.Wire | None = None

    def ask(self, plan: Plan, method: str = "GET", *, keep: bool = False) -> raw.Reply:
        """Have a request answered."""
        data = raw.request_bytes(raw.web_params("/", method=method, query=quote_plan(plan)), flags=keep)
        wire, self._kept = self._kept, None
        reply = raw.Reply()
        if wire is not None:
            with contextlib.suppress(OSError):
                wire.send(data)
                reply = wire.read_reply()
        if wire is None or not reply.ended:
            if wire is not None:
                wire.close()
            wire = raw.Wire(self._pool.address)
            wire.send(data)
            reply = wire.read_reply()
        if keep:
            self._kept = wire
        else:
            wire.close()
        return reply


def exchange(client: Client, pool: WorkerPool, count: int) -> dict[str, int]:
    """Have so many requests of all kinds served, and count what is there."""
    for number, plan in enumerate(islice(cycle(PLANS), count)):
        client.ask(plan, "HEAD" if number % 7 == 3 else "GET", keep=number % 3 > 0)
        if number % 200 == 0:
            pool.worker.receive_all().clear()
    client.ask("diary")  # else it grows
    return json.loads(client.ask("census").body)


def test_requests_leave_nothing_behind() -> None:
    with WorkerPool("odd:application") as pool:
        client = Client(pool)
        exchange(client, pool, WARM_UP)
        before = exchange(client, pool, len(PLANS))
        after = exchange(client, pool, COUNT)
        grown = {name: after[name] - before[name] for name in before}
        assert not {name: more for name, more in grown.items() if more > SLACK[name]}, grown
