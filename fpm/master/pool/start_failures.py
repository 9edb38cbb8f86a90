"""Why a pool's application does not start, and when that is tried again. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from fpm.frozen import dataclass, known_fields
from fpm.master.pool.history import Failing
from fpm.master.processes.backoff import Backoff, after_template_failure


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a pool has no application."""

    error: str
    traceback: str
    since: float
    """Epoch seconds: since when it has none, whatever has failed since."""


class StartFailures:
    """What is remembered of failed starts, of templates and of the 503 responder. `now` is monotonic seconds."""

    def __init__(self) -> None:
        self.failure: Failure | None = None
        """None while the application starts, as far as is known."""
        self.obstacle = ""
        """What the configuration lacks on this machine, which says more than the error of the step that fails by it."""
        self.backoff = Backoff()
        self._responder_backoff = Backoff()

    def add(self, failure: Failure, now: float) -> float:
        """Note a failure; returns the seconds until the next try."""
        since = failure.since if self.failure is None else self.failure.since
        error = failure.error
        if self.obstacle and self.obstacle not in error:
            error = f"{error} (when the configuration was read: {self.obstacle})"
        self.failure = replace(failure, error=error, since=since)
        return self.add_death(now)

    def add_death(self, now: float) -> float:
        """Note that a template which had started has ended young; returns the seconds until the next one."""
        self.backoff = after_template_failure(self.backoff, now)
        return self.pause(now)

    def add_responder_death(self, now: float) -> float:
        """Note that the responder has ended; returns the seconds until the next one."""
        self._responder_backoff = after_template_failure(self._responder_backoff, now)
        return self._responder_backoff.until - now

    def pause(self, now: float) -> float:
        """Seconds until the next try; 0.0: now."""
        return max(self.backoff.until - now, 0.0)

    def end_pause(self) -> None:
        """Try at once what could not be tried: a template has started. It has not served yet."""
        self.backoff = replace(self.backoff, until=0.0)

    def forget(self) -> None:
        """Another generation begins: what has failed before says nothing of it."""
        self.failure, self.obstacle = None, ""
        self.backoff = Backoff()

    def clear(self) -> None:
        """A worker serves."""
        self.forget()
        self._responder_backoff = Backoff()

    def describe(self, now: float, epoch: float) -> Failing | None:
        """What the status tells; None if nothing has failed.

        Args:
            epoch: the same moment in epoch seconds.
        """
        if self.failure is None:
            return None
        return Failing(self.failure.since, self.backoff.failures, epoch + self.pause(now))

    def dump(self) -> dict[str, Any] | None:
        """Describe the failure for the next master, which tries again at once."""
        return None if self.failure is None else asdict(self.failure)

    def restore(self, state: Mapping[str, Any] | None) -> None:
        """Go on where `dump` was."""
        self.failure = None if state is None else Failure(**known_fields(Failure, state))
