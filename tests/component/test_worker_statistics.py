"""Workers count each request once, whatever ends it: by its class, or as aborted, with its times."""

from __future__ import annotations

import time

from fpm.scoreboard.reading import read_slot
from fpm.scoreboard.stages import Stage
from fpm.scoreboard.statistics import Statistics, read_statistics
from tests.support import raw_fastcgi as raw
from tests.support.old_board import make_old_board
from tests.support.waiting import wait_until
from tests.support.worker_process import WorkerPool
from tests.unit.test_scoreboard_counting import NO_TIMES


def ended(pool: WorkerPool) -> Statistics:
    """What has been counted when no request is in hand, and nobody is about to count."""
    former: Statistics | None = None

    def find() -> Statistics | None:
        nonlocal former
        last, former = former, read_statistics(pool.board.sum_statistics())
        slots = [read_slot(pool.board.view, pool.settings.slots, index) for index in range(len(pool.workers))]
        is_over = sum(former.classes) + former.aborted == sum(slot.requests for slot in slots)
        return former if is_over and former == last else None

    return wait_until(find)


WAYS = [
    ("/200", "GET", 1),
    ("/200", "HEAD", 1),
    ("/204", "GET", 1),
    ("/304", "GET", 2),
    ("/404", "GET", 3),
    ("/503", "GET", 4),
    ("/600", "GET", 4),
    ("/fail", "GET", 4),
    ("/fail_late", "GET", 1),
    ("/time_out", "GET", 4),
    ("/promise", "GET", 4),
    ("/finish", "GET", 1),
    ("/after", "GET", 1),
    ("/large", "GET", 1),
    ("/read", "POST", 1),
    ("/ping", "GET", 1),
    ("/status", "GET", 1),
]
END_OF_BODY = 8
"""Bytes of the record that ends a body."""
NOTHING_SENT = {"/promise"}


def test_each_response_is_counted_in_its_class() -> None:
    expected, first_bytes = [0] * 5, 0
    with WorkerPool("counted:application", ping_path="/ping", pm_status_path="/status") as pool:
        for path, method, kind in WAYS:
            with raw.Wire(pool.address) as wire:
                wire.send(raw.request_bytes(raw.web_params(path, method=method), b"x" * 10 * (method == "POST")))
                while wire.read_record() is not None:
                    pass
            expected[kind] += 1
            first_bytes += path not in NOTHING_SENT
            found = ended(pool)
            assert (found.classes, found.aborted) == (tuple(expected), 0), path
            assert found.response.count == found.cpu.count == sum(expected)
            assert found.first_byte.count == first_bytes
        with raw.Wire(pool.address) as wire:
            for _ in range(3):
                wire.send(raw.request_bytes(raw.web_params("/403"), flags=raw.KEEP_CONN))
                assert wire.read_reply().status == 403
        assert ended(pool).classes[3] == expected[3] + 3
        assert ended(pool).queue_wait.count == 0


def test_a_web_server_that_is_gone_is_counted_as_such() -> None:
    with WorkerPool("counted:application") as pool:
        params = raw.web_params("/read", method="POST", body=b"12345")
        with raw.Wire(pool.address) as wire:
            wire.send(raw.request_bytes(params)[:-END_OF_BODY])
            wait_until(pool.is_reading_body)
        assert (ended(pool).aborted, ended(pool).first_byte.count) == (1, 0)
        with raw.Wire(pool.address) as wire:
            wire.send(raw.request_bytes(params)[:-END_OF_BODY])
            wait_until(pool.is_reading_body)
            wire.send(raw.record(raw.ABORT))
            assert wire.read_reply().stdout == b""
        assert (ended(pool).aborted, ended(pool).first_byte.count) == (2, 0)
        held = pool.directory / "held"
        held.touch()
        with raw.Wire(pool.address) as wire:
            wire.send(raw.request_bytes(raw.web_params("/hold", query=str(held))))
            wait_until(lambda: pool.board.stages[0] == Stage.EXECUTING)
        held.unlink()
        found = wait_until(lambda: (now := ended(pool)).response.count == 3 and now)
        assert (found.classes, found.aborted, found.first_byte.count) == ((0,) * 5, 3, 0)
        with raw.Wire(pool.address) as wire:
            wire.send(raw.request_bytes(raw.web_params("/large")))
            assert wire.read_record()
        assert ended(pool).aborted == found.aborted + 1
        assert ended(pool).first_byte.count == found.first_byte.count + 1


def test_the_first_byte_of_a_stream_comes_before_its_end() -> None:
    with WorkerPool("counted:application") as pool, raw.Wire(pool.address) as wire:
        body = raw.request_bytes(raw.web_params("/pieces", method="POST", body=b"12345"))
        wire.send(body[:-END_OF_BODY])
        assert wire.read_record()
        wait_until(pool.is_reading_body)
        wire.send(body[-END_OF_BODY:])
        wire.read_reply()
        found = ended(pool)
        assert found.classes == (0, 1, 0, 0, 0)
        assert found.response.total > found.first_byte.total > 0


def test_a_wait_is_counted_if_the_web_server_tells_of_it() -> None:
    with WorkerPool("counted:application") as pool:
        params = raw.web_params("/200")
        for number, ago in enumerate((0, 0.5, 20, 3000, -0.5), 1):
            before = ended(pool).queue_wait.total
            params["REQUEST_START"] = f"{time.time() - ago:.3f}"
            raw.exchange(pool.address, params)
            found = ended(pool)
            assert found.queue_wait.count == number
            assert found.queue_wait.total - before >= 1e6 * ago - 1000
        for text in NO_TIMES:
            raw.exchange(pool.address, params | {"REQUEST_START": text})
        raw.exchange(pool.address, params | {"REQUEST_START": f"t={time.time() * 1e6:.0f}"})
        raw.exchange(pool.address, params | {"REQUEST_START": f"{time.time() * 1e3:.0f}"})
        assert ended(pool).queue_wait.count == 7


def test_the_next_worker_of_a_slot_goes_on() -> None:
    with WorkerPool("counted:application") as pool:
        raw.get(pool.address, "/404")
        ended(pool)
        worker = pool.workers.pop()
        worker.channel.close()
        assert worker.process.wait(60) == 0
        pool.start_worker()
        raw.get(pool.address, "/404")
        assert wait_until(lambda: read_statistics(pool.board.sum_statistics()).classes == (0, 0, 0, 2, 0))


def test_a_worker_serves_on_a_scoreboard_of_an_older_pyfpm() -> None:
    board = make_old_board(8)
    with WorkerPool("counted:application", board=board) as pool:
        for _ in range(3):
            assert raw.get(pool.address, "/404").status == 404
        assert wait_until(lambda: read_slot(board.view, 8, 0).requests == 3)
        assert board.sum_statistics() == b""
