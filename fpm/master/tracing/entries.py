"""From a worker's slot and a stack to an entry of a slow log, as a value."""

from __future__ import annotations

from fpm.log.escape import decode_wire
from fpm.scoreboard.snapshot import Slot
from fpm.scoreboard.stages import DOING
from fpm.scoreboard.stages import Stage
from fpm.slowlog.entry import Entry
from fpm.slowlog.entry import Reason
from fpm.stack.trace import Trace

WITH_REQUEST = frozenset(set(Stage) - {Stage.FREE, Stage.CREATING, Stage.ACCEPTING, Stage.READING_HEADERS, Stage.END})
"""In the other stages the slot holds no request, or the one before."""


def make_entry(
    slot: Slot | None,
    trace: Trace,
    *,
    pool: str,
    script: str,
    reason: Reason,
    began: float,
    now: float,
    sample: int = 1,
) -> Entry:
    """What is known of a process and its request, when its stack was wanted.

    Args:
        slot: the worker's, as it was then; None for a template.
        script: the `app` directive.
        began: when the process began, epoch seconds.
        now: epoch seconds.
    """
    busy = slot is not None and slot.stage in WITH_REQUEST and slot.request_start > 0.0
    since = slot.request_start if slot is not None and busy else began
    uri = "" if slot is None or not busy else decode_wire(slot.uri + (f"?{slot.query}" if slot.query else ""))
    return Entry(
        time=now,
        pool=pool,
        pid=trace.pid,
        reason=reason,
        script=script,
        method=decode_wire(slot.method) if slot is not None and busy else "",
        uri=uri,
        seconds=max(now - since, 0.0),
        stage="template" if slot is None else DOING[slot.stage],
        sample=sample,
        trace=trace,
    )
