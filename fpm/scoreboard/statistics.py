"""What the workers of a pool count of their requests: a block of numbers for each slot, beside the slots.

One writer at a time for each block and one store for each number, without a lock and without a sequence counter:
numbers only grow. A block belongs to the slot and not to its worker: the next one goes on with what is there, so a
death moves nothing, but adds the request that it has ended (by the master, before the slot is free again). The pool's
numbers are the sum over all blocks. They are untrusted as all of the scoreboard. Pure.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from fpm.frozen import dataclass
from fpm.scoreboard.buckets import BUCKETS, Histogram
from fpm.scoreboard.number import COUNT_MAX

CLASSES = 5
"""1xx to 5xx."""
HISTOGRAMS = ("response", "first_byte", "queue_wait", "cpu")
"""In this order in a block: for each the sum, then the buckets."""
USUAL = len(HISTOGRAMS)
"""The place of one more, behind them, for usual responses: of a status 2xx, sent as one, after a time so short that it
is taken for CPU time (see fpm.worker.accounting). They are counted here alone, for their class and for three times."""
_NUMBERS = CLASSES + 1 + (len(HISTOGRAMS) + 1) * (1 + BUCKETS)
STATISTICS_SIZE = (8 * _NUMBERS + 63) // 64 * 64
"""Bytes of a block: 64-bit numbers, little-endian as all of the scoreboard, and what is left of the last cache line."""
CLASSES_OFFSET = 0
ABORTED_OFFSET = 8 * CLASSES
HISTOGRAM_SIZE = 8 * (1 + BUCKETS)
HISTOGRAMS_OFFSET = ABORTED_OFFSET + 8

_BLOCK = struct.Struct(f"<{_NUMBERS}Q")


@dataclass(frozen=True, slots=True)
class Statistics:
    """What has been counted of a pool's requests since its start."""

    classes: tuple[int, ...] = (0,) * CLASSES
    """Responses by the first digit of their status."""
    aborted: int = 0
    """Requests whose web server was gone before the end of the response, or whose worker has died in it."""
    response: Histogram = Histogram()
    """From the request's variables to the end of its response, or of its worker."""
    first_byte: Histogram = Histogram()
    """From the request's variables to the first byte that was sent."""
    queue_wait: Histogram = Histogram()
    """From the web server's connect, as far as it tells when that was (REQUEST_START), to the worker that took it."""
    cpu: Histogram = Histogram()

    @property
    def count(self) -> int:
        """Return how many responses there are."""
        return sum(self.classes)

    def __sub__(self, former: Statistics) -> Statistics:
        """Return what has been counted since `former`; of counters that have begun anew, what they have."""
        classes = tuple([new - old for new, old in zip(self.classes, former.classes, strict=True)])
        if min(classes) < 0 or self.aborted < former.aborted:
            return self
        return Statistics(
            classes,
            self.aborted - former.aborted,
            *(getattr(self, name) - getattr(former, name) for name in HISTOGRAMS),
        )


NOTHING_COUNTED = Statistics()


def sum_blocks(blocks: Iterable[memoryview | bytes]) -> bytes:
    """Add blocks up; "" for none, or if nothing has been counted.

    They are added as one long number each, which is a hundred times as quick as number by number. A sum that does not
    fit, which only a process of the pool can have made, spoils its neighbour in the same pool.
    """
    return pack_sum(sum([int.from_bytes(block, "little") for block in blocks]))


def pack_sum(total: int) -> bytes:
    """Make a block of such a sum; "" if it is 0."""
    return (total & _MASK).to_bytes(STATISTICS_SIZE, "little") if total else b""


_MASK = (1 << 8 * STATISTICS_SIZE) - 1


def read_statistics(block: bytes | memoryview) -> Statistics:
    """Read a block, or the sum of several; "" is nothing counted."""
    if len(block) < _BLOCK.size:
        return NOTHING_COUNTED
    numbers: tuple[int, ...] = _BLOCK.unpack_from(block)
    if max(numbers) > _NUMBER_MAX:  # nobody counts so far
        numbers = tuple([min(number, _NUMBER_MAX) for number in numbers])
    at = CLASSES + 1
    *histograms, whole = [
        Histogram(numbers[first], numbers[first + 1 : first + 1 + BUCKETS])
        for first in range(at, _NUMBERS, 1 + BUCKETS)
    ]
    response, first_byte, queue_wait, cpu = histograms
    informational, success, *others = numbers[:CLASSES]
    if usual := whole.count:
        success = min(success + usual, COUNT_MAX)
        response, first_byte, cpu = response + whole, first_byte + whole, cpu + whole
    return Statistics((informational, success, *others), numbers[CLASSES], response, first_byte, queue_wait, cpu)


_NUMBER_MAX = COUNT_MAX // 2
"""Two are added up."""
