"""When is which request over which limit: pure arithmetic on what a worker's slot says.

All times are CLOCK_MONOTONIC seconds: all processes of the machine share that clock and nobody can set it. What a slot
says is untrusted: a beginning that cannot be true is taken for one just now, so that a lie makes a limit come later.
Pure.
"""

from __future__ import annotations

from dataclasses import replace
from enum import Enum

from fpm.config.model import PoolConfig
from fpm.frozen import dataclass
from fpm.scoreboard.snapshot import Clocks, Slot
from fpm.scoreboard.stages import Stage

REQUEST_INTERRUPT_GRACE = 3.0
"""Seconds from fpm.RequestTimeout to the end of the worker."""
REMIND_AFTER = 0.05
"""Seconds from the signal for fpm.RequestTimeout to the next one, if the first has found the worker in code of pyfpm;
each pause is as long again as the time that has passed."""
LOOK_INTERVAL = 0.02
"""Seconds between two looks at a pool's requests, at least: whatever its workers write, the master has other pools."""
RUNNING = frozenset({Stage.EXECUTING, Stage.READING_BODY, Stage.SENDING, Stage.FINISHED})
BEGINNING = frozenset({Stage.READING_HEADERS, Stage.INFO})
"""The slot still holds the request before."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a pool's requests, in seconds; 0.0: off."""

    slow: float = 0.0
    slow_again: float = 0.0
    terminate: float = 0.0
    background: float = 0.0
    """From the response on; `terminate` and `slow` from the request's beginning on."""
    track_finished: bool = False
    """`terminate` and `slow` go on after the response."""
    interrupt: bool = False

    @property
    def shortest(self) -> float:
        """A request that begins now is over no limit sooner; 0.0: there is no limit."""
        return min((one for one in (self.slow, self.terminate, self.background) if one > 0.0), default=0.0)


def limits_of(config: PoolConfig) -> Limits:
    """The limits that a pool's configuration sets."""
    return Limits(
        slow=config.request_slowlog_timeout,
        slow_again=config.request_slowlog_interval,
        terminate=config.request_terminate_timeout,
        background=config.background_timeout,
        track_finished=config.request_terminate_timeout_track_finished,
        interrupt=config.request_interrupt,
    )


class Action(Enum):
    """What to do about a request now."""

    NOTHING = "nothing"
    LOG = "log"
    """It is slow: log it, with its stack."""
    INTERRUPT = "interrupt"
    REMIND = "remind"
    """It has been interrupted; it may not have come to it."""
    TERMINATE = "terminate"


@dataclass(frozen=True, slots=True)
class Watch:
    """One request and what has been done about it."""

    request: int
    """Its number, as the worker counts."""
    began: float
    freed: float = 0.0
    """When its response was complete; 0.0: it is not."""
    samples: int = 0
    """How often it was logged as slow."""
    sampled: float = 0.0
    interrupted: float = 0.0
    reminded: int = 0
    over: str = ""
    """The limit that it was over when it was interrupted or ended."""
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """One look at one worker."""

    action: Action = Action.NOTHING
    watch: Watch | None = None
    """What to remember of its request; None: it has none."""
    next: float | None = None
    """When to look again; None: not before it begins another request."""


def is_over(stage: Stage, slot: Clocks | Slot) -> bool:
    """Has the request ended, though the worker has not said so yet? After its response the duration is that of it."""
    return slot.duration > 0 and stage is not Stage.FINISHED


def decide_timeout(limits: Limits, stage: Stage, slot: Clocks | Slot, former: Watch | None, now: float) -> Decision:
    """What to do about a worker's request.

    Args:
        stage: read before the slot, so that the slot is of this stage's request or of a later one.
        former: what was remembered at the last look.
    """
    if stage in BEGINNING:
        return Decision(next=now + limits.shortest if limits.shortest else None)
    if stage not in RUNNING or is_over(stage, slot):
        return Decision()
    watch = _seen(stage, slot, former, now)
    if watch.ended:
        return Decision(watch=watch)
    end, over = _end_of(limits, watch)
    if end is not None and now >= end:
        if not limits.interrupt or (watch.interrupted and now >= watch.interrupted + REQUEST_INTERRUPT_GRACE):
            return Decision(Action.TERMINATE, replace(watch, ended=True, over=over))
        if not watch.interrupted:
            watch = replace(watch, interrupted=now, reminded=0, over=over)
            return Decision(Action.INTERRUPT, watch, now + REQUEST_INTERRUPT_GRACE)
        return _remind(watch, now)
    slow = _slow_at(limits, watch)
    action = Action.NOTHING
    if slow is not None and now >= slow:
        action, watch = Action.LOG, replace(watch, samples=watch.samples + 1, sampled=now)
        slow = _slow_at(limits, watch)
    # A response that is complete wakes nobody.
    background = now + limits.background if limits.background and not watch.freed else None
    times = [one for one in (slow, end, background) if one is not None]
    return Decision(action, watch, min(times, default=None))


def _remind(watch: Watch, now: float) -> Decision:
    action, last = Action.NOTHING, watch.interrupted + REQUEST_INTERRUPT_GRACE
    due = watch.interrupted + REMIND_AFTER * 2**watch.reminded
    if now >= due:
        action, watch = Action.REMIND, replace(watch, reminded=watch.reminded + 1)
        due = watch.interrupted + REMIND_AFTER * 2**watch.reminded
    return Decision(action, watch, min(last, max(due, now + LOOK_INTERVAL)))


def _seen(stage: Stage, slot: Clocks | Slot, former: Watch | None, now: float) -> Watch:
    if former is None or former.request != slot.requests:
        watch = Watch(slot.requests, _believed(slot.began, now))
    else:
        watch = former
    if stage is not Stage.FINISHED:
        return replace(watch, freed=0.0) if watch.freed else watch
    if not watch.freed:
        # What was done about the request is done; its limits after the response are others.
        watch = replace(watch, freed=max(_believed(slot.freed, now), watch.began), interrupted=0.0)
    return watch


def _believed(said: float, now: float) -> float:
    return said if 0.0 < said <= now else now


def _end_of(limits: Limits, watch: Watch) -> tuple[float | None, str]:
    """When the request is over a limit that ends it, and which."""
    found = []
    if limits.terminate and (not watch.freed or limits.track_finished):
        found.append((watch.began + limits.terminate, "request_terminate_timeout"))
    if limits.background and watch.freed:
        found.append((watch.freed + limits.background, "background_timeout"))
    return min(found, default=(None, ""))


def _slow_at(limits: Limits, watch: Watch) -> float | None:
    if not limits.slow or (watch.freed and not limits.track_finished):
        return None
    if not watch.samples:
        return watch.began + limits.slow
    return watch.sampled + limits.slow_again if limits.slow_again else None
