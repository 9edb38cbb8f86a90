"""The past of all pools as bytes for a file, which may be damaged, or somebody else's. Pure.

The file holds two copies, which are written in turn, each with its length and checksum: whoever is killed while he
writes leaves the other one.
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from fpm.frozen import dataclass
from fpm.protocol.wire import read_dataclass
from fpm.scoreboard.number import COUNT_MAX
from fpm.status.past.counts import COUNT_TOP, Sums, check_counts, pack_counts
from fpm.status.past.marks import MARKS, TEXT_MAX
from fpm.status.past.points import ROW, check_row, read_row
from fpm.status.past.recent import Mark, MarkKind
from fpm.status.past.sample import Counted, Landmarks, Sample
from fpm.status.past.track import COARSE_POINTS, FINE_POINTS, MIDDLE_POINTS, Point, Track

VERSION = 1
COPY_MAX = 32 * 1024 * 1024
"""Bytes of one copy, packed."""
PLAIN_MAX = 8 * COPY_MAX
"""Bytes of it, unpacked."""
MAGIC = b"pyfpm:P\n"
HEAD = struct.Struct("<8sIIQQ")
"""MAGIC, version, checksum (CRC-32) of what follows, its length, number of this copy."""
_SIZE = struct.Struct("<H")


@dataclass(frozen=True, slots=True)
class Copy:
    """One of the two copies."""

    number: int
    """The greater one is the newer."""
    packed: bytes


def pack_copy(number: int, tracks: Mapping[str, bytes], most: int = COPY_MAX) -> bytes:
    """Pack what `pack_track` has made of each pool.

    Raises:
        ValueError: it is too much.
    """
    head = json.dumps([[name, len(data)] for name, data in tracks.items()]).encode()
    packed = zlib.compress(b"".join([head, b"\n", *tracks.values()]), 1)
    if HEAD.size + len(packed) > most:
        raise ValueError(f"the past of the pools takes {len(packed)} bytes, and there is room for {most}")
    return HEAD.pack(MAGIC, VERSION, zlib.crc32(packed), len(packed), number) + packed


def read_copy(data: bytes) -> Copy:
    """Read what `pack_copy` has made, with whatever comes after it.

    Raises:
        ValueError: these bytes are something else, or damaged.
    """
    if len(data) < HEAD.size:
        raise ValueError("it is too short")
    magic, version, checksum, length, number = HEAD.unpack_from(data)
    packed = data[HEAD.size : HEAD.size + length]
    if magic != MAGIC:
        raise ValueError("it is no history of pyfpm")
    if version != VERSION:
        raise ValueError(f"it is of version {version}, and not {VERSION}")
    if len(packed) != length or zlib.crc32(packed) != checksum:
        raise ValueError("it is damaged")
    return Copy(number, packed)


def read_tracks(copy: Copy) -> dict[str, Track]:
    """Read the past of all pools.

    Raises:
        ValueError: it is damaged.
    """
    try:
        unpacker = zlib.decompressobj()
        plain = unpacker.decompress(copy.packed, PLAIN_MAX)
        at = plain.index(b"\n") + 1
        found = {}
        for name, size in json.loads(plain[:at]):
            found[str(name)] = _read_track(plain[at : at + int(size)])
            at += int(size)
        return found
    except (zlib.error, struct.error, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise ValueError(f"it is damaged: {error!r}") from error


# -------------------------------------------------------------------------------------------------------- one pool


def pack_track(track: Track, *, with_fine: bool = True) -> bytes:
    """Pack the past of one pool: its last sample and marks, then the points.

    The finest ones come last: a former version of pyfpm leaves them aside.
    """
    coarse, middle, fine = track.kept_points()
    fine = fine if with_fine else []
    head = {
        "base": None if track.base is None else _pack_sample(track.base),
        "saturated_since": track.saturated_since,
        "marks": [[mark.at, mark.kind.value, mark.text] for mark in track.marks],
        "points": [len(coarse), len(middle)],
        "fine": len(fine),
    }
    counts = b"" if track.base is None else pack_counts(track.base.counted.statistics, COUNT_MAX)
    parts = [json.dumps(head).encode(), b"\n", _SIZE.pack(len(counts)), counts, *(row.pack() for row, _ in coarse)]
    for row, counted in (*middle, *fine):
        parts += [row.pack(), _SIZE.pack(len(counted)), counted]
    return b"".join(parts)


def _pack_sample(sample: Sample) -> dict[str, Any]:
    counted = sample.counted
    numbers = [counted.requests, counted.errors, counted.slow, counted.deaths]
    return {"at": sample.at, "start": sample.start, "numbers": numbers, "landmarks": asdict(sample.landmarks)}


def _read_track(data: bytes) -> Track:
    at = data.index(b"\n") + 1
    head = json.loads(data[:at])
    told = (*head["points"], head.get("fine", 0))
    coarse, middle, fine = (min(max(int(count), 0), most) for count, most in zip(told, _MOST, strict=True))
    counts, at = _read_counts(data, at, COUNT_MAX)
    rows = [(read_row(data, at + number * ROW.size), b"") for number in range(coarse)]
    points = list(_read_points(data, at + coarse * ROW.size, middle + fine))
    if not all(check_row(row) for row, _ in (*rows, *points)):
        raise ValueError("a point cannot be true")
    track = Track()
    track.base = None if head["base"] is None else _read_sample(head["base"], counts)
    since = head["saturated_since"]
    track.saturated_since = None if since is None else _time(since)
    track.marks = [Mark(_time(at), MarkKind(kind), str(text)[:TEXT_MAX]) for at, kind, text in head["marks"][-MARKS:]]
    track.refill(rows, points[:middle], points[middle:])
    return track


_MOST = (COARSE_POINTS + 1, MIDDLE_POINTS + 1, FINE_POINTS)
"""Points of each kind; the last one of the first two may be on its way still."""


def _read_points(data: bytes, at: int, count: int) -> Iterator[Point]:
    for _ in range(count):
        row = read_row(data, at)
        counts, at = _read_counts(data, at + ROW.size, COUNT_TOP)
        yield row, counts


def _read_counts(data: bytes, at: int, most: int) -> tuple[bytes, int]:
    (size,) = _SIZE.unpack_from(data, at)
    at += _SIZE.size
    return check_counts(data[at : at + size], most), at + size


def _read_sample(values: Mapping[str, Any], counts: bytes) -> Sample:
    sums = Sums()
    sums.add(counts)
    numbers = [min(max(int(number), 0), COUNT_MAX) for number in values["numbers"]]
    landmarks: Landmarks = read_dataclass(Landmarks, values["landmarks"])
    times = (landmarks.started, landmarks.executed, landmarks.last_reload, landmarks.last_death, landmarks.failed_since)
    if not all(map(math.isfinite, times)):
        raise ValueError("a time is none")
    requests, errors, slow, deaths = numbers
    counted = Counted(requests, errors, slow, deaths, sums.as_statistics())
    return Sample(_time(values["at"]), _time(values["start"]), 0, 0, 0, False, counted, landmarks)


def _time(value: Any) -> float:
    number = float(value)
    if not 0.0 <= number < 1e11:
        raise ValueError("a time is none")
    return number
