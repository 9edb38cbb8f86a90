"""What a worker counts for each pattern of path (fpm.scoreboard.route_fold), in a table of a fixed size.

Which patterns have an entry is decided by the Space-Saving sketch (Metwally, Agrawal, El Abbadi: Efficient Computation
of Frequent and Top-k Elements in Data Streams, 2005) with weights: a request weighs UNIT, and again as much for each
mean duration of a request that it has taken. So what comes often has an entry, and what comes seldom and takes long,
too. A pattern without one takes a free one, or else that of the least weight, and begins with this weight: each
pattern that weighs more than all of them together, divided by the number of entries, has one. What the former owner
had counted goes to the entry of the others, so an entry's numbers are true from the moment that it has been taken, and
the sum over all entries always is.

To change an owner takes as long as a request that does nothing, so it is done once in PLACE_AFTER microseconds of
requests. A request that gets no entry for that reason is one of the others, and its weight goes to the next one that
gets one: a sketch of samples. After FLOOD requests in a row without an entry, only the samples are looked for.

One writer for each table, without a lock: numbers change one by one, and a counter is odd while an entry changes its
owner. A table belongs to the slot and not to its worker: the next one goes on with it, if it is sound. The compiled hot
path does the same (`Routes` in fpm/_hotpath.c); tests compare the bytes. Pure.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence
from itertools import accumulate, repeat

from fpm.scoreboard.route_fold import TEXT_MAX, Patterns

ENTRIES = 64
"""The first one is that of all others."""
BUCKETS = 40
ENTRY = struct.Struct(f"=IIQQQQQQ{BUCKETS}I{TEXT_MAX}s")
"""Sequence of the table (in the first entry), bytes of the text, the weight with which it has begun, requests, errors,
time and CPU time in microseconds, growth of the memory in bytes, the buckets of the durations, the text.

In the first entry the text's place has, as a 32-bit number, how many of the other entries are in use."""
ROUTES_SIZE = ENTRIES * ENTRY.size
UNIT = 256
PLACE_AFTER = 2048
"""Microseconds of requests, after which one entry may change its owner."""
SAVED_MAX = 256
"""So many times that are not used are saved."""
FLOOD = 256
"""Requests in a row without an entry, from which on only samples of them are looked at."""
SOUND_MAX = (1 << 48) - 1
"""No number of a table grows so large: so long, in microseconds, no machine runs."""
WATCH = 32
"""Requests after which the memory is looked at, one by one, as it has grown."""
FIRST_BUCKET = 6
"""Bits of a duration (64 us), up to which all are in one bucket; then there are two for each bit."""
SHORT = 1000
"""Microseconds: see RouteTable.count_short()."""

_WORDS = ENTRY.size // 4
_LONGS = ENTRY.size // 8
USED_OFFSET = ENTRY.size - TEXT_MAX
"""Where the number of entries in use is."""
_BUCKETS_AT = 14
_INHERITED, _REQUESTS, _ERRORS, _TIME, _CPU, _GROWTH = range(1, 7)
_UINT_MAX = 0xFFFFFFFF
_ALL = struct.Struct(f"={BUCKETS}I")
_NOTHING = bytes(ENTRY.size - 8 * _REQUESTS)
_GIVEN = range(_REQUESTS, _GROWTH + 1)
_RULES = (UNIT, PLACE_AFTER, SAVED_MAX, FLOOD, WATCH)
ROUTES_LAYOUT = (ENTRIES, ENTRY.size, USED_OFFSET, 4 * _BUCKETS_AT, *_RULES, FIRST_BUCKET, BUCKETS)
"""What the compiled hot path must agree upon; see COMPILED_LAYOUT in fpm.scoreboard.writer."""
assert ENTRY.size % 8 == 0
assert _BUCKETS_AT * 4 == 8 * (_GROWTH + 1)


def bucket_begin(bucket: int) -> int:
    """Return the shortest duration in a bucket, in microseconds."""
    octave, half = divmod(bucket - 1, 2)
    return (1 << octave + FIRST_BUCKET) * (2 + half) // 2 if bucket else 0


BEGINS = [bucket_begin(bucket) for bucket in range(1, BUCKETS)]
"""Where each bucket but the first begins, and so the one before it ends."""


def bucket_of(duration: int) -> int:
    """Return the bucket of a duration in microseconds."""
    return bisect_right(BEGINS, duration)


_SHORT = [_BUCKETS_AT + bucket_of(duration) for duration in range(SHORT + 1)]


class RouteTable:
    """Writes one slot's table.

    It has many attributes and methods: each step is tested against its counterpart in C.

    Args:
        table: its memory, ROUTES_SIZE bytes.
        peak: bytes of memory that the worker has used at most until now.

    Attributes:
        watching: after so many requests from now on somebody should look at the memory.
    """

    def __init__(self, table: memoryview, peak: int) -> None:
        self._table = table
        self._longs, self._words = table.cast("Q"), table.cast("I")
        self._sequence = self._words[0]
        self._peak = peak
        self._unseen = 0
        self.watching = 0
        self._patterns = Patterns()
        self._places: dict[bytes, int] = {}
        """Entries by their texts."""
        self._texts: list[bytes] = []
        """Of all entries but the first."""
        self._saved = SAVED_MAX * PLACE_AFTER
        """Microseconds of requests that have not been used for a change of an owner."""
        self._missed = 0
        """Requests in a row without an entry."""
        self._noted: defaultdict[int, list[int]] = defaultdict(list)
        """Durations by entries, while count_short() is at it."""
        if not self._take_over():
            self._begin_anew()
        self._former = self._longs[_REQUESTS], self._longs[_TIME]
        """Requests of the others and their time at the last change of an owner: those since then have got no entry."""

    def _begin_anew(self) -> None:
        self._table[:] = bytes(ROUTES_SIZE)
        self._sequence = 0
        for kept in (self._places, self._texts, self._noted):
            kept.clear()

    def _take_over(self) -> bool:
        """Go on with what a worker before has left; False: it is not sound, as after a death in the middle."""
        used = self._words[USED_OFFSET // 4]
        if self._words[0] & 1 or used >= ENTRIES:
            return False
        for entry in range(used + 1):
            _, size, *numbers = ENTRY.unpack_from(self._table, entry * ENTRY.size)
            text = numbers.pop()[:size]
            if max(numbers) > SOUND_MAX or (not 0 < size <= TEXT_MAX or text in self._places if entry else size):
                return False
            if entry:
                self._places[text] = entry
        self._texts.extend(self._places)
        return True

    def count(self, path: str, duration: int, cpu: int, failed: bool, peak: int) -> None:
        """Count a request.

        Args:
            path: as in environ, decoded as Latin-1.
            duration, cpu: microseconds.
            failed: an uncaught exception, or a response of class 5xx.
            peak: bytes of memory that the worker has used at most until now; 0: nobody has looked.
        """
        try:
            entry = self._find(path, duration)
            longs, words, at = self._longs, self._words, entry * _LONGS
            longs[at + _REQUESTS] += 1
            longs[at + _TIME] += duration
            longs[at + _CPU] += cpu
            if failed:
                longs[at + _ERRORS] += 1
            bucket = 2 * at + _BUCKETS_AT + bisect_right(BEGINS, duration)
            words[bucket] += words[bucket] < _UINT_MAX
            if peak:
                self._grow(entry, peak)
            else:
                self._unseen += 1
        except ValueError:  # the application has written into it, and what it left has no room for one more
            self._begin_anew()

    def count_short(self, requests: Sequence[tuple[str, int]]) -> None:
        """Count many, in as few steps as possible, as count() does: of SHORT at most, which is taken for CPU time.

        Args:
            requests: of each the path and the duration; none has failed, and nobody has looked at the memory.
        """
        noted, find, get_pattern, zeros = self._noted, self._places.get, self._patterns.__getitem__, repeat(0)
        try:
            paths, durations = zip(*requests, strict=True)
            # If all have entries, it does not matter in which order they are counted.
            if self._missed < FLOOD and all(entries := list(map(find, map(get_pattern, paths), zeros))):
                for entry, duration in zip(entries, durations, strict=True):
                    noted[entry].append(duration)
                self._saved += sum(durations)
                self._missed = 0
            else:
                at = 0
                while at < len(requests):
                    if self._missed < FLOOD or not (passed := self._pass_over(durations[at:])):
                        noted[self._find(*requests[at])].append(durations[at])
                        passed = 1
                    at += passed
            self._write_noted()
            self._unseen += len(requests)
        except ValueError:  # as above
            self._begin_anew()

    def _pass_over(self, durations: Sequence[int]) -> int:
        """Count as _find() does those in a flood that are not looked at; returns how many of the first ones."""
        sums = list(accumulate(durations, initial=self._saved))
        count = max(bisect_left(sums, PLACE_AFTER) - 1, 0)
        self._noted[0].extend(durations[:count])
        self._saved = sums[count]
        self._missed += count
        return count

    def _write_noted(self) -> None:
        longs, words = self._longs, self._words
        for entry, durations in self._noted.items():
            at, time = entry * _LONGS, sum(durations)
            longs[at + _REQUESTS] += len(durations)
            longs[at + _TIME] += time
            longs[at + _CPU] += time
            buckets = list(map(_SHORT.__getitem__, durations))
            for bucket in set(buckets):
                words[2 * at + bucket] = min(words[2 * at + bucket] + buckets.count(bucket), _UINT_MAX)
        self._noted.clear()

    def look(self, path: str, peak: int) -> None:
        """Say how much memory the worker has used until now, as there was work after the response to this path."""
        try:
            self._grow(self._places.get(self._patterns[path], 0), peak)
        except ValueError:  # as above
            self._begin_anew()

    def _find(self, path: str, duration: int) -> int:
        """Return the entry of a request; 0: it is one of the others."""
        self._saved += duration
        self._missed += 1
        if self._missed <= FLOOD or self._saved >= PLACE_AFTER:
            text = self._patterns[path]
            if entry := self._places.get(text):
                self._missed = 0
                return entry
            if len(self._texts) < ENTRIES - 1:
                return self._place(text, 0, len(self._texts) + 1)
            if self._saved >= PLACE_AFTER:
                self._saved = min(self._saved, SAVED_MAX * PLACE_AFTER) - PLACE_AFTER
                return self._replace(text)
        return 0

    def _grow(self, entry: int, peak: int) -> None:
        """By what the memory has grown since somebody looked is the last request's, if it was the only one."""
        grown = peak - self._peak
        if grown > 0:
            self._longs[(0 if self._unseen else entry) * _LONGS + _GROWTH] += grown
            self._peak = peak
            self.watching = WATCH
        elif self.watching:
            self.watching -= 1
        self._unseen = 0

    def _replace(self, text: bytes) -> int:
        """Give a pattern the entry of the least weight."""
        self._write_noted()
        columns = [self._longs[number::_LONGS].tolist() for number in (_INHERITED, _REQUESTS, _TIME)]
        mean = sum(columns[2]) // (sum(columns[1]) or 1) or 1
        passed = columns[1][0] - self._former[0] + (columns[2][0] - self._former[1]) // mean
        _, *weights = [began + UNIT * (requests + time // mean) for began, requests, time in zip(*columns, strict=True)]
        weight = min(weights)
        entry = self._place(text, weight + UNIT * passed, weights.index(weight) + 1)
        self._former = self._longs[_REQUESTS], self._longs[_TIME]
        return entry

    def _place(self, text: bytes, weight: int, entry: int) -> int:
        """Let a pattern begin with this entry, and this weight."""
        words, table, at = self._words, self._table, entry * ENTRY.size
        words[0] = self._sequence = self._sequence + 1 & _UINT_MAX
        if entry > len(self._texts):
            self._texts.append(text)
            words[USED_OFFSET // 4] = entry
        else:
            self._give_to_others(entry)
            del self._places[self._texts[entry - 1]]
            self._texts[entry - 1] = text
        self._longs[at // 8 + _INHERITED] = weight
        table[at + 8 * _REQUESTS : at + ENTRY.size] = _NOTHING
        table[at + USED_OFFSET : at + USED_OFFSET + len(text)] = text
        words[at // 4 + 1] = len(text)
        self._places[text] = entry
        words[0] = self._sequence = self._sequence + 1 & _UINT_MAX
        return entry

    def _give_to_others(self, entry: int) -> None:
        words, longs, at = self._words, self._longs, entry * _LONGS
        for number in _GIVEN:
            if count := longs[at + number]:
                longs[number] += count
        counted = _ALL.unpack_from(self._table, entry * ENTRY.size + 4 * _BUCKETS_AT)
        for bucket, requests in enumerate(counted):
            if requests:
                words[_BUCKETS_AT + bucket] = min(words[_BUCKETS_AT + bucket] + requests, _UINT_MAX)

    def close(self) -> None:
        """Let go of the memory."""
        self._longs.release()
        self._words.release()
        self._table.release()
