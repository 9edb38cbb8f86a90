"""The master's states and the ways out of them (PHP-FPM's fpm_pctl): normal, finishing, terminating. Pure."""

from __future__ import annotations

from collections.abc import Container
from enum import Enum
from signal import Signals

from fpm.frozen import dataclass

KILL_AFTER = 1.0
"""Seconds between SIGTERM and SIGKILL when a graceful stop has used up its time (PHP-FPM's second step)."""
KILL_ROUNDS = 5
"""How often everything that is left is killed; what lives on then cannot be ended (it sleeps uninterruptibly)."""
FAST_KILL_AFTER = 5.0
"""The longest that a fast stop waits before SIGKILL."""


class State(Enum):
    """What the master is doing."""

    NORMAL = "normal"
    FINISHING = "finishing"
    TERMINATING = "terminating"


class Step(Enum):
    """How strongly processes are asked to leave."""

    QUIT = "quit"
    TERM = "term"
    KILL = "kill"


@dataclass(frozen=True, slots=True)
class Ending:
    """A stop in progress: what to do now and how long to wait before the next step (seconds)."""

    step: Step
    wait: float
    kills: int = 0
    """How often everything has been killed before."""

    @property
    def is_in_vain(self) -> bool:
        """Shall the master end, and leave what is left?"""
        return self.kills >= KILL_ROUNDS


def stop_state(numbers: Container[Signals], *, sigterm: str) -> State | None:
    """Return what signals ask for: a stop at once, a graceful one, or none.

    Args:
        sigterm: the directive, `fast` or `graceful`.
    """
    if Signals.SIGINT in numbers or (Signals.SIGTERM in numbers and sigterm == "fast"):
        return State.TERMINATING
    if Signals.SIGQUIT in numbers or Signals.SIGTERM in numbers:
        return State.FINISHING
    return None


ALLOWED: dict[State, frozenset[State]] = {
    State.NORMAL: frozenset({State.FINISHING, State.TERMINATING}),
    State.FINISHING: frozenset({State.TERMINATING}),
    State.TERMINATING: frozenset(),
}


def may_change(state: State, wanted: State) -> bool:
    """Is this change of state allowed?"""
    return wanted in ALLOWED[state]


def first_ending(state: State, control_timeout: float) -> Ending:
    """The first step of a stop.

    Args:
        control_timeout: process_control_timeout in seconds.
    """
    if state is State.TERMINATING:
        return Ending(Step.TERM, min(control_timeout or FAST_KILL_AFTER, FAST_KILL_AFTER))
    return Ending(Step.QUIT, control_timeout)


def next_ending(ending: Ending) -> Ending:
    """The step after `ending` when its time is up: QUIT, TERM, then KILL a few times."""
    if ending.step is Step.QUIT:
        return Ending(Step.TERM, KILL_AFTER)
    return Ending(Step.KILL, KILL_AFTER, ending.kills + (ending.step is Step.KILL))
