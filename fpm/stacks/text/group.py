"""Entries with the same stack, counted: where the time of slow requests goes.

Two stacks are the same if the functions and files of the main thread's frames are the same from the newest to the
oldest. Lines are counted and do not tell them apart, since samples of one loop fall on any of its lines; nor does the
depth of a recursion; nor the worker's own frames.

Samples of one request (request_slowlog_interval) are one request. Its time is shared out among the stacks in which it
was seen, by samples, so that the times of all groups together are those of all requests. That is the time that it has
really taken, where a log tells of its end, and else its age at its last sample.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from fpm.stacks.text.entry import Entry
from fpm.stacks.text.sampled import Ends, Key, SampledRequest
from fpm.stacks.text.uri import uri_pattern
from fpm.stacks.trace import Frame

_OURS = re.compile(r"/fpm/(?:(?:launcher|template|worker|wsgi|fastcgi)/(?:\w+/)*\w+|library)\.py$|^<pyfpm boot>$")
_INSTALLED = re.compile(r"/(?:site|dist)-packages/(([^/]+)[^\n]*)")
_STANDARD = re.compile(r"/lib(?:64)?/python3[^/]*/(([^/]+)[^\n]*)|^(<frozen ([^>.]+)[^>]*>)$")
OURS = "fpm"
_COMMAND = "<string>"
"""The file of `python -c`, by which a template begins."""
NAMES_MAX = 4
"""Libraries that are named where frames are left out."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Frames of libraries that are left out."""

    count: int
    names: tuple[str, ...]
    """The libraries that they are of."""


def without_ours(frames: Sequence[Frame]) -> Sequence[Frame]:
    """Remove the worker's own frames, with which every request begins; if there are no others, only `python -c`."""
    whole = len(frames)
    if whole > 1 and frames[-1].file == _COMMAND and is_ours(frames[-2]):
        whole -= 1
    end = whole
    while end > 0 and is_ours(frames[end - 1]):
        end -= 1
    return frames[: end or whole]


def is_ours(frame: Frame) -> bool:
    """Decide whether a frame is of pyfpm's own code in a worker."""
    return _OURS.search(frame.file) is not None


def library_of(frame: Frame) -> str:
    """Return the package that a frame belongs to; "" for one of the application."""
    if frame.native:
        return frame.file.rpartition("/")[2].partition(".so")[0] or "C"
    if is_ours(frame):
        return OURS
    found = _INSTALLED.search(frame.file) or _STANDARD.search(frame.file)
    return (found[2] or found[4]).removesuffix(".py") if found else ""


def short_file(frame: Frame) -> str:
    """Return the file without the directory that all libraries are in."""
    if frame.native:
        return frame.file.rpartition("/")[2]
    found = _INSTALLED.search(frame.file) or _STANDARD.search(frame.file)
    return (found[1] or found[3]) if found else frame.file


def relevant_frames(frames: Sequence[Frame]) -> list[Frame | Gap]:
    """Keep the newest frame, those of the application, and the call by which it went into a library.

    Everything, if none is of the application; of a stack that is pyfpm's own the newest.
    """
    is_own = [not library_of(frame) for frame in frames]
    if not any(is_own) and not all(map(is_ours, frames)):
        return list(frames)
    kept: list[Frame | Gap] = []
    left_out: list[Frame] = []
    for at, frame in enumerate(frames):
        calls_library = at + 1 < len(frames) and is_own[at + 1]
        if at == 0 or is_own[at] or calls_library:
            _close_gap(kept, left_out)
            kept.append(frame)
        else:
            left_out.append(frame)
    _close_gap(kept, left_out)
    return kept


def _close_gap(kept: list[Frame | Gap], left_out: list[Frame]) -> None:
    if len(left_out) == 1:
        kept.append(left_out[0])
    elif left_out:
        names = dict.fromkeys(library_of(frame) for frame in left_out)
        kept.append(Gap(len(left_out), tuple(names)[:NAMES_MAX]))
    left_out.clear()


GROUPS_MAX = 5000
"""Different stacks; those that come later are counted together."""
FRAMES_MAX = 200
"""Frames of a stack that are looked at."""
NAMES_MAX = 200
"""Different lines, patterns and so on of a group; those that come later are counted as OTHER."""
OPEN_MAX = 10_000
"""Requests that may have another sample."""
OTHER = "(other)"
_DIGITS = re.compile(r"\d+")


@dataclass(slots=True)
class Group:
    """The entries with one stack."""

    frames: tuple[Frame, ...]
    """As in the first entry."""
    lines: tuple[Counter[int | str], ...]
    """Of each frame: how often each line was seen."""
    error: str
    """Why there is no stack."""
    first: float
    """Epoch seconds of the first entry."""
    last: float
    requests: int = 0
    samples: int = 0
    total: float = 0.0
    """Seconds."""
    longest: float = 0.0
    """Seconds: of the longest request that was seen here, or the greatest age at which one was."""
    longest_uri: str = ""
    """Method and URI of that one."""
    ended: int = 0
    """Entries of processes that were ended for it."""
    unfinished: int = 0
    """Requests of which no log tells how long they have really taken."""
    uris: Counter[str] = field(default_factory=Counter)
    pools: Counter[str] = field(default_factory=Counter)
    doing: Counter[str] = field(default_factory=Counter)
    """What the main thread was doing, without numbers."""


class Grouping:
    """Counts entries one by one; it keeps the groups alone."""

    def __init__(self) -> None:
        self.groups: dict[Key, Group] = {}
        self.entries = 0
        self.requests = 0
        self._open: dict[tuple[str, int], SampledRequest] = {}
        self._ends = Ends()

    def add(self, entry: Entry) -> None:
        """Count an entry, or learn how long a request has taken."""
        if entry.reason == "end":
            self._end(entry)
            return
        self.entries += 1
        frames = _frames(entry)
        key = _key(entry, frames)
        group = self.groups.get(key)
        if group is None:
            key, group = self._new(key, entry, frames)
        _count_sample(group, entry, frames)
        request = self._request(entry)
        if key not in request.groups:
            group.requests += 1
            _count(group.uris, f"{entry.method} {uri_pattern(entry.uri)}" if entry.method else "-")
            _count(group.pools, entry.pool)
        request.groups[key] += 1

    def finish(self) -> list[Group]:
        """Return the groups, after the last entry."""
        while self._open:
            self._close(next(iter(self._open)))
        return list(self.groups.values())

    def _new(self, key: Key, entry: Entry, frames: tuple[Frame, ...]) -> tuple[Key, Group]:
        if len(self.groups) >= GROUPS_MAX:
            key, frames = (OTHER,), ()
        group = self.groups.get(key)
        if group is None:
            error = "" if frames else (entry.trace.error or OTHER)
            lines: tuple[Counter[int | str], ...] = tuple(Counter() for _ in frames)
            group = self.groups[key] = Group(frames, lines, error, entry.time, entry.time)
        return key, group

    def _request(self, entry: Entry) -> SampledRequest:
        """Find the request that this entry is a sample of."""
        worker = (entry.pool, entry.pid)
        start = entry.time - entry.seconds
        name = f"{entry.method} {entry.uri}"
        known = self._open.get(worker)
        is_first = entry.reason == "slow" and entry.sample == 1
        if known is not None and not is_first and known.is_same(name, start):
            known.seconds = max(known.seconds, entry.seconds)
            return known
        if known is not None:
            self._close(worker)
        elif len(self._open) >= OPEN_MAX:
            self._close(next(iter(self._open)))
        self.requests += 1
        request = self._open[worker] = SampledRequest(name, start, entry.seconds)
        return request

    def _end(self, entry: Entry) -> None:
        worker, start = (entry.pool, entry.pid), entry.time - entry.seconds
        name = f"{entry.method} {entry.uri}"
        known = self._open.get(worker)
        if known is not None and known.is_same(name, start):
            known.end(entry.seconds)
        else:
            self._ends.add(entry)

    def _close(self, worker: tuple[str, int]) -> None:
        request = self._open.pop(worker)
        if not request.is_over:
            self._ends.look_up(*worker, request)
        samples = request.groups.total()
        for key, count in request.groups.items():
            group = self.groups[key]
            group.total += request.seconds * count / samples
            group.unfinished += not request.is_over
            if request.is_over and request.seconds > group.longest:
                group.longest, group.longest_uri = request.seconds, request.name.strip()


def ordered(groups: Iterable[Group], by: str) -> list[Group]:
    """Sort groups, the greatest first.

    Args:
        by: count, total or longest.
    """
    if by == "count":
        return sorted(groups, key=lambda group: (-group.requests, -group.total, -group.last))
    if by == "longest":
        return sorted(groups, key=lambda group: (-group.longest, -group.total, -group.last))
    return sorted(groups, key=lambda group: (-group.total, -group.requests, -group.last))


def _frames(entry: Entry) -> tuple[Frame, ...]:
    """Return the main thread's frames without the worker's own and the repetitions of a recursion."""
    threads = entry.trace.threads
    main = next((thread for thread in threads if thread.main), threads[0] if threads else None)
    kept: list[Frame] = []
    for frame in without_ours(main.frames[:FRAMES_MAX]) if main is not None else ():
        if frame.native:
            # Without a symbol it is an offset, which is another at each call.
            frame = replace(frame, function=frame.function.partition("+0x")[0])
        if not kept or frame.function != kept[-1].function or frame.file != kept[-1].file:
            kept.append(frame)
    return tuple(kept)


def _key(entry: Entry, frames: tuple[Frame, ...]) -> Key:
    # Function and file of each frame, or why there are none.
    if not frames:
        return ("", _DIGITS.sub("N", entry.trace.error))
    return tuple([text for frame in frames for text in (frame.function, frame.file)])


def _count_sample(group: Group, entry: Entry, frames: tuple[Frame, ...]) -> None:
    group.samples += 1
    group.first = min(group.first, entry.time)
    group.last = max(group.last, entry.time)
    if entry.seconds >= group.longest:
        group.longest = entry.seconds
        group.longest_uri = f"{entry.method} {entry.uri}" if entry.method else ""
    if entry.reason not in ("slow", "interrupt", "trace"):
        group.ended += 1
    doing = next((thread.doing for thread in entry.trace.threads if thread.main), "")
    if doing:
        _count(group.doing, doing.partition("(")[0])
    for frame, lines in zip(frames, group.lines, strict=False):
        if frame.line in lines or len(lines) < NAMES_MAX:
            lines[frame.line] += 1
        else:
            lines[OTHER] += 1


def _count(counter: Counter[str], name: str) -> None:
    counter[name if name in counter or len(counter) < NAMES_MAX else OTHER] += 1
