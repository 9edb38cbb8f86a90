"""A worker that is interrupted at any moment."""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter

from fpm.protocol.spec import INTERRUPT_SIGNAL
from fpm.scoreboard.layout import slot_offset
from fpm.scoreboard.memory import want_interrupt
from fpm.scoreboard.reading import try_clocks
from tests.support import raw_fastcgi as raw
from tests.support.worker_process import WorkerPool


def is_enough(found: Counter[tuple[int, bool]]) -> bool:
    """Whether requests of both kinds have been seen."""
    return found[200, True] > 20 and found[504, True] > 0


def test_signals_at_any_moment_harm_nothing() -> None:
    """Wherever the worker is just then: a response is whole, or it is a 504; and the worker is as before."""
    found: Counter[tuple[int, bool]] = Counter()
    stopped = threading.Event()
    with WorkerPool("protocol:application", workers=1) as pool:
        board, pid = pool.board, pool.workers[0].pid

        def interrupt() -> None:
            while not stopped.wait(random.random() * 0.003):
                ahead = random.choice([0, 0, 0, 1])
                want_interrupt(board.view, board.slots, 0, try_clocks(board.view, board.slots, 0)[0].requests + ahead)
                os.kill(pid, INTERRUPT_SIGNAL)

        thread = threading.Thread(target=interrupt)
        thread.start()
        try:
            begin = time.monotonic()
            while (taken := time.monotonic() - begin) < 2.0 or (taken < 60.0 and not is_enough(found)):
                body = b"x" * random.choice([0, 10, 100_000])
                params = raw.web_params("/x", method="POST" if body else "GET", body=body)
                reply = raw.exchange(pool.address, params, body)
                assert len(reply.body) == int(reply.headers.get("content-length", len(reply.body)))
                found[reply.status, reply.ended] += 1
        finally:
            stopped.set()
            thread.join()
        assert raw.get(pool.address, "/x").status == 200
        assert pool.workers[0].process.poll() is None
        assert not board.view[slot_offset(board.slots, 0)] & 1, "nobody was left in the middle of writing his slot"
    assert set(found) <= {(200, True), (504, True)}, found
    assert is_enough(found), found
