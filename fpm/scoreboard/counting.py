"""How a worker counts its requests in its slot's block of statistics (fpm.scoreboard.statistics has the layout). Pure.

Each request is counted once, when its response is out, its web server is known to be gone, or its worker has ended in
the middle of it: as a response of its class, or as aborted. So over the life of a scoreboard

    sum of the classes + aborted = durations of responses = requests that have ended

which is `requests` without those in hand. A CPU time has each that its worker has lived through, a time to first byte
each of which a byte was sent, a queue wait each of which the web server has told when it came; that is counted when the
request begins. Plain stores of whole numbers, each by the only writer: the worker (fpm/_hotpath.c does the same), and
once that has ended, before the slot has another one, the master for the request that it has ended in (count_lost()).
"""

from __future__ import annotations

from bisect import bisect_left

from fpm.scoreboard.buckets import BOUNDS
from fpm.scoreboard.statistics import (
    ABORTED_OFFSET,
    CLASSES,
    CLASSES_OFFSET,
    HISTOGRAM_SIZE,
    HISTOGRAMS,
    HISTOGRAMS_OFFSET,
    STATISTICS_SIZE,
    USUAL,
)

ABORTED = ABORTED_OFFSET // 8
"""In the place of a class: the web server was gone before the end of the response, or the worker has died in it."""
NONE = -1
"""In the place of a time: nothing to be counted."""
QUEUE_WAIT_MAX = 3_600_000_000
"""Microseconds: what is longer is no wait but a clock that is wrong, or not a time at all."""
CLOCK_SKEW_MAX = 1_000_000
"""Microseconds for which the web server's clock may be ahead: then the wait is none."""
USUAL_MAX = 1000
"""Microseconds that a usual response takes at most."""
START_SIZE = 32
"""Bytes of REQUEST_START that are looked at; longer ones are no time."""

_FAILURE = CLASSES_OFFSET // 8 + CLASSES - 1
_KINDS = {str(digit): CLASSES_OFFSET // 8 + digit - 1 for digit in range(1, CLASSES + 1)}
_RESPONSE, _FIRST_BYTE, _QUEUE_WAIT, _CPU, _USUAL = [
    (HISTOGRAMS_OFFSET + place * HISTOGRAM_SIZE) // 8
    for place in (*map(HISTOGRAMS.index, ("response", "first_byte", "queue_wait", "cpu")), USUAL)
]
_SHORT = [_USUAL + 1 + bisect_left(BOUNDS, duration) for duration in range(USUAL_MAX + 1)]
"""Where a usual response of each duration is counted."""

STATISTICS_LAYOUT = (
    CLASSES_OFFSET,
    ABORTED_OFFSET,
    HISTOGRAM_SIZE,
    8 * _RESPONSE,
    8 * _FIRST_BYTE,
    8 * _QUEUE_WAIT,
    8 * _CPU,
    8 * _USUAL,
    QUEUE_WAIT_MAX,
    CLOCK_SKEW_MAX,
    START_SIZE,
    *BOUNDS,
)
"""What fpm/_hotpath.c has as numbers of its own; see COMPILED_LAYOUT in fpm.scoreboard.writer."""


def kind_of(status: str) -> int:
    """Return as what a response with this status is counted; one that is none, "" too, is the server's failure."""
    return _KINDS.get(status[:1], _FAILURE)


class RequestCounter:
    """Counts in one block.

    Args:
        block: of the slot; one of a scoreboard without room is empty, and then it is counted where nobody looks.
    """

    __slots__ = ("_numbers", "block")

    def __init__(self, block: memoryview) -> None:
        self.block = block if len(block) >= STATISTICS_SIZE else memoryview(bytearray(STATISTICS_SIZE))
        self._numbers = self.block.cast("Q")

    def count_usual(self, duration: int) -> None:
        """Count a usual response (fpm.scoreboard.statistics.USUAL), in as few steps as possible.

        Args:
            duration: microseconds, up to USUAL_MAX.
        """
        numbers = self._numbers
        try:
            numbers[_USUAL] += duration
            numbers[_SHORT[duration]] += 1
        except ValueError:
            return  # the application has written into it, and what it left has no room for one more

    def count_response(self, kind: int, duration: int, first_byte: int, cpu: int) -> None:
        """Count a request that has ended; times are microseconds.

        Args:
            kind: see kind_of(), or ABORTED.
            first_byte: NONE if nothing of the response was sent.
            cpu: NONE if nobody knows.
        """
        numbers = self._numbers
        try:
            numbers[kind] += 1
            numbers[_RESPONSE] += duration
            numbers[_RESPONSE + 1 + bisect_left(BOUNDS, duration)] += 1
            if first_byte != NONE:
                numbers[_FIRST_BYTE] += first_byte
                numbers[_FIRST_BYTE + 1 + bisect_left(BOUNDS, first_byte)] += 1
            if cpu != NONE:
                numbers[_CPU] += cpu
                numbers[_CPU + 1 + bisect_left(BOUNDS, cpu)] += 1
        except ValueError:
            return  # as above

    def count_wait(self, request_start: str, now: float) -> None:
        """Count how long a request has waited for a worker.

        Args:
            request_start: what the web server says, see read_wait().
            now: epoch seconds.
        """
        wait = read_wait(request_start, now)
        if wait == NONE:
            return
        numbers = self._numbers
        try:
            numbers[_QUEUE_WAIT] += wait
            numbers[_QUEUE_WAIT + 1 + bisect_left(BOUNDS, wait)] += 1
        except ValueError:
            return  # as above

    def close(self) -> None:
        """Let go of the block."""
        self._numbers.release()
        self.block.release()


def count_lost(block: memoryview, duration: float, first_byte: float | None) -> None:
    """Count a request that its worker has ended in, for the worker, as what its client has got.

    Without a byte of the response the web server answers 502 or 504 itself; with some of it the client has a part.

    Args:
        block: of the slot, in which nobody else counts.
        duration: seconds from the request's variables to the end of the worker, as far as that is believed.
        first_byte: seconds to the first byte; None if nothing was sent.
    """
    microseconds = int(duration * 1e6)
    counter = RequestCounter(block)
    if first_byte is None:
        counter.count_response(_FAILURE, microseconds, NONE, NONE)
    else:
        counter.count_response(ABORTED, microseconds, min(int(first_byte * 1e6), microseconds), NONE)
    counter.close()


def read_wait(request_start: str, now: float) -> int:
    """Return the microseconds since a time that a web server has told; NONE if it is no time, or cannot be true.

    Args:
        request_start: since the epoch, in seconds ("1700000000.123", as nginx' $msec), or in milliseconds or
            microseconds, which are told by their size; "t=" may be before it, as New Relic has it.
        now: epoch seconds.
    """
    text = request_start.removeprefix("t=")
    whole, _, part = text.partition(".")
    if len(request_start) > START_SIZE or not (text.isascii() and whole.isdigit() and (part.isdigit() or not part)):
        return NONE
    number = int(whole)
    unit = 1_000_000 if number < 10**11 else 1000 if number < 10**14 else 1
    microseconds = int(f"{part}000000"[:6]) * unit // 1_000_000
    wait = int(now * 1e6) - (number * unit + microseconds)
    return max(wait, 0) if -CLOCK_SKEW_MAX <= wait <= QUEUE_WAIT_MAX else NONE
