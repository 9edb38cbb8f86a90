"""What `pyfpm stop`, `start` and `reload` wait for, in words. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fpm.status.figures import format_span
from fpm.status.overview import Pool

NAMED = 1
"""Requests or pools that are named; the others are counted."""
UNCHANGED = ": unchanged"
UNCHANGED_MAX = 10
"""Unchanged pools that are named in a plan."""


def requests_words(pools: Sequence[Pool]) -> str:
    """Return `waiting for 3 requests (shop: GET /report 12 s)`, the longest one named; "" if no process is left."""
    busy = [(pool.name, worker) for pool in pools for worker in pool.workers if not worker.idle]
    if not busy:
        left = sum(len(pool.workers) for pool in pools)
        return f"waiting for {_count(left, 'worker')} to exit" if left else ""
    name, worker = max(busy, key=lambda one: one[1].request_age)
    request = f"{worker.request_method} {worker.request_uri} " if worker.request_uri != "-" else ""
    return f"waiting for {_count(len(busy), 'request')} ({name}: {request}{format_span(worker.request_age)})"


def start_words(pools: Sequence[Pool]) -> str:
    """Return `waiting for 2 of 27 pools (shop is starting)`; "" if all are ready or have failed."""
    starting = [pool.name for pool in pools if pool.state == "starting"]
    if not starting:
        return ""
    return f"waiting for {len(starting)} of {_count(len(pools), 'pool')} ({starting[0]} is starting)"


def plan_words(lines: Sequence[str]) -> list[str]:
    """Return the plan of a reload with many unchanged pools counted, for those that change to be seen."""
    changes = [line for line in lines if not line.endswith(UNCHANGED)]
    if len(lines) - len(changes) <= UNCHANGED_MAX:
        return list(lines)
    return [*changes, f"{len(lines) - len(changes)} {'other ' if changes else ''}pools{UNCHANGED}"]


class ReloadSteps:
    """How far a reload has come, by the messages of the master."""

    def __init__(self) -> None:
        self.plan: Sequence[Mapping[str, Any]] = ()
        self._steps: dict[str, str] = {}
        """The last step of each pool that is checked."""
        self._since: dict[str, float] = {}
        self._swapped = self._of = 0

    def take(self, message: Mapping[str, Any], now: float) -> None:
        """Note one message, at `now` in monotonic seconds."""
        self.plan = message.get("pools", self.plan)
        if "pool" in message:
            name = str(message["pool"])
            self._steps[name], self._since[name] = str(message.get("step", "")), now
        if "swapped" in message:
            self._swapped, self._of = int(message["swapped"]), int(message["of"])

    def words(self, now: float) -> str:
        """Say what is waited for."""
        if self._of:
            return f"{self._swapped} of {_count(self._of, 'worker')} replaced"
        under_way = [name for name, step in self._steps.items() if step != "checked" and not step.startswith("failed")]
        done = len(self._steps) - len(under_way)
        if not under_way:
            return ""
        oldest = min(under_way, key=lambda name: self._since[name])
        span = format_span(now - self._since[oldest])
        total = max(sum(bool(one.get("checked")) for one in self.plan), len(self._steps))
        return f"{done} of {_count(total, 'pool')} checked ({oldest}: {self._steps[oldest]} {span})"

    def summary(self) -> str:
        """Say what a reload that has succeeded has done; "" if the plan has said it all."""
        checked = sum(step == "checked" for step in self._steps.values())
        if not checked:
            return ""
        return f"{_count(checked, 'pool')} checked, {_count(self._of, 'worker')} replaced"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
