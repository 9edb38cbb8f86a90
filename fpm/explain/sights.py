"""What each busy worker does, put together from the status and from stacks, whichever there are. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache

from fpm.explain.facts import AFTER, BODY, CREATING, SENDING, TEMPLATE, Place, Sight, Thread
from fpm.explain.places import application_place
from fpm.scoreboard.stages import DOING, OWN_STATE_TEXT, Stage
from fpm.stacks.text.entry import Entry
from fpm.stacks.text.group import library_of, without_ours
from fpm.stacks.trace import Frame, ThreadStack
from fpm.status.overview import Pool, Worker

_CALL = re.compile(r"(.*) \((.*):(\d{1,9})\)", re.DOTALL)
"""A line of a stack in the status, as in "search (/srv/shop/views.py:41)"."""
_STAGES = {OWN_STATE_TEXT[stage]: DOING[stage] for stage in (Stage.READING_BODY, Stage.SENDING, Stage.FINISHED)}
STACKS_KEPT = 1000
"""Stacks of the slow log whose lines need not be read again: a page is made every few seconds."""
_STARTING = {TEMPLATE: TEMPLATE, DOING[Stage.CREATING]: CREATING}
MODULE = "<module>"
"""The function of a line that is in none, as where a SyntaxError is."""
OTHERS_MAX = 20
"""Threads besides the main one that are kept."""


def make_sights(pool: Pool, looks: Sequence[Entry]) -> tuple[Sight, ...]:
    """Put together what each busy worker does, the longest at it first, and what was looked at that starts.

    Args:
        looks: stacks taken just now; where one is missing, that of the slow log counts.
    """
    seen = {look.pid: look for look in looks}
    slow = {one.pid: one.stack for one in reversed(pool.slow) if one.running and one.stack}
    lengths = {one.pid: one.content_length for one in pool.status.processes}
    found = [
        _with_stack(_of_worker(worker, lengths.get(worker.pid, 0)), seen.get(worker.pid), slow.get(worker.pid, ()))
        for worker in pool.workers
        if not worker.idle and worker.pid
    ]
    # A worker that imports for itself has no number in the status yet.
    starting = [(look, _STARTING[look.stage]) for look in looks if look.stage in _STARTING]
    found += [_with_stack(Sight(look.pid, "", look.seconds, stage), look, ()) for look, stage in starting]
    return tuple(sorted(found, key=lambda one: -one.seconds))


def choose_looks(pool: Pool) -> list[int]:
    """Put the pids of busy workers into the order in which to look at them, so that few looks tell most: one at each
    place that the slow log knows, and each whose place is not known, the longest at it first; then a second one ..."""
    looks: Counter[tuple[str, str]] = Counter()
    ranked = []
    for sight in make_sights(pool, ()):
        place = application_place(sight.places)
        rank = 0
        if place is not None:
            rank = looks[(place.function, place.file)]
            looks[(place.function, place.file)] += 1
        ranked.append((rank, -sight.seconds, sight.pid))
    return [pid for _, _, pid in sorted(ranked)]


def _of_worker(worker: Worker, content_length: int) -> Sight:
    has_request = worker.request_uri != "-" and worker.request_method != "-"
    stage = _STAGES.get(worker.state, DOING[Stage.EXECUTING] if worker.state == "Running" else worker.state.lower())
    return Sight(
        pid=worker.pid,
        request=f"{worker.request_method} {worker.request_uri}" if has_request else "",
        seconds=worker.task_age if stage == AFTER else worker.request_age,
        stage=stage,
        task=worker.task,
        content_length=content_length,
    )


def _with_stack(sight: Sight, look: Entry | None, lines: Sequence[str]) -> Sight:
    if look is None:
        return replace(sight, places=_places_of_lines(tuple(lines))) if lines else sight
    trace = look.trace
    main = next((thread for thread in trace.threads if thread.main), trace.threads[0] if trace.threads else None)
    if main is None:
        return replace(sight, error=trace.error or "no stack", is_live=True)
    stage = look.stage if look.stage in (BODY, SENDING, AFTER, TEMPLATE, DOING[Stage.EXECUTING]) else sight.stage
    others = [Thread(one.doing, tuple(places_of(one.frames))) for one in trace.threads if one is not main]
    return replace(
        sight,
        stage=stage,
        places=tuple(places_of(main.frames)),
        native=tuple(_native(main)),
        doing=main.doing,
        others=tuple(others[:OTHERS_MAX]),
        is_live=True,
        error=trace.error,
    )


@lru_cache(STACKS_KEPT)
def _places_of_lines(lines: tuple[str, ...]) -> tuple[Place, ...]:
    return tuple(places_of(read_calls(lines)))


def places_of(frames: Iterable[Frame]) -> list[Place]:
    """Return the lines of calls without those of pyfpm itself and of C, in their order."""
    kept = without_ours([frame for frame in frames if not frame.native])
    return [Place(one.function or MODULE, one.file, one.line, library_of(one)) for one in kept]


def _native(thread: ThreadStack) -> Iterable[str]:
    for frame in thread.frames:
        if not frame.native:
            return
        yield frame.function.partition("+0x")[0]


def read_calls(lines: Sequence[str]) -> Iterable[Frame]:
    """Read calls as the status has them, as in "search (/srv/shop/views.py:41)"."""
    for line in lines:
        found = _CALL.fullmatch(line)
        if found is not None:
            yield Frame(found[1], found[2], int(found[3]))
