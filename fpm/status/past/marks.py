"""What has happened to a pool between two samples, as marks on the axis of time. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from fpm.scoreboard.number import describe_death
from fpm.status.past.recent import Mark, MarkKind
from fpm.status.past.sample import Sample

MARKS = 50
"""Marks that are kept of each pool."""
TOGETHER = 60.0
"""Seconds within which deaths are one mark, so that a pool that dies all the time has room for its deploys."""
LATER = 60.0
"""Seconds after the daemon's start from which a pool that begins is a new one."""
TEXT_MAX = 200


def find_marks(former: Sample | None, now: Sample) -> list[Mark]:
    """Find what has happened since `former`; None: nothing is known of before."""
    return [replace(mark, text=mark.text[:TEXT_MAX]) for mark in _find(former, now)]


def _find(former: Sample | None, now: Sample) -> Iterator[Mark]:
    mine = now.landmarks
    before = former.landmarks if former is not None else None
    if before is None or before.started != mine.started:
        if now.start > mine.started + LATER and before is None:
            yield Mark(now.start, MarkKind.DEPLOY, _deployed(now))
        else:
            yield Mark(mine.started, MarkKind.START, mine.version)
        if mine.failed_since:
            yield Mark(mine.failed_since, MarkKind.FAILED, mine.error)
        return
    if mine.executed > max(before.executed, mine.started):
        yield Mark(mine.executed, MarkKind.UPGRADE, mine.version)
    if mine.generation > before.generation > 0:
        is_reload = mine.last_reload > before.last_reload
        yield Mark(mine.last_reload if is_reload else now.at, MarkKind.DEPLOY, _deployed(now))
    elif mine.reload_error and mine.last_reload > before.last_reload:
        yield Mark(mine.last_reload, MarkKind.RELOAD_FAILED, mine.reload_error)
    if former is not None and mine.last_death > before.last_death:
        count = max(now.counted.deaths - former.counted.deaths, 1)
        yield Mark(mine.last_death, MarkKind.DEATH, _died(count, mine.death_status))
    if mine.failed_since and not before.failed_since:
        yield Mark(mine.failed_since, MarkKind.FAILED, mine.error)
    elif before.failed_since and not mine.failed_since:
        yield Mark(now.at, MarkKind.RECOVERED)


def _deployed(now: Sample) -> str:
    return ", ".join([f"generation {now.landmarks.generation}", *filter(None, [now.landmarks.directory])])


def _died(count: int, status: int) -> str:
    cause = describe_death(status)
    return cause if count == 1 else f"{count} deaths, the last one {cause}"


def add_mark(marks: list[Mark], mark: Mark) -> None:
    """Add a mark to the others, which come in the order of time; of too many, the first death goes first."""
    last = marks[-1] if marks else None
    if last is not None and last.kind is mark.kind is MarkKind.DEATH and mark.at - last.at < TOGETHER:
        marks[-1] = Mark(last.at, MarkKind.DEATH, _several(mark))
        return
    marks.append(mark)
    marks.sort(key=lambda one: one.at)
    if len(marks) > MARKS:
        marks.remove(next((one for one in marks if one.kind is MarkKind.DEATH), marks[0]))


def _several(mark: Mark) -> str:
    return mark.text if "the last one" in mark.text else f"several deaths, the last one {mark.text}"
