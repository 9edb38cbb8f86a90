"""What has become of a pool's requests, as numbers of its table; see fpm.scoreboard.numbers. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fpm.scoreboard.counted import CountedNumbers
from fpm.scoreboard.number import COUNT, UINT, Line, Metric, number
from fpm.scoreboard.statistics import Statistics


def _responses(name: str) -> Any:
    """A number of responses of one class."""
    metric = Metric("responses", "Responses by the class of their status.", "counter", label=f'class="{name}"')
    return number(key=f"responses {name}", metric=metric, line=Line("responses", f"{name} {{}}"))


@dataclass(slots=True)
class ResponseNumbers(CountedNumbers):
    """Adds how requests have ended. What has no code is the sum of what all slots have counted."""

    responses_1xx: int = _responses("1xx")
    responses_2xx: int = _responses("2xx")
    responses_3xx: int = _responses("3xx")
    responses_4xx: int = _responses("4xx")
    responses_5xx: int = _responses("5xx")
    """With those of the 503 responder, those whose workers have died before a byte was sent, and whether or not an
    exception was their reason; `errors` are exceptions."""
    aborted: int = number(
        key="aborted",
        metric=Metric(
            "aborted_requests",
            "Requests whose web server was gone before the end of the response, or whose worker has died in it.",
            "counter",
        ),
        line=Line("requests", "{} aborted"),
    )
    timeouts: int = number(
        UINT,
        key="timeouts",
        metric=Metric("request_timeouts", "Requests ended by request_terminate_timeout.", "counter"),
        line=Line("requests", "{} timed out"),
    )
    """Interrupted by fpm.RequestTimeout, or with their worker."""
    unavailable: int = number(
        COUNT,
        key="unavailable",
        metric=Metric(
            "unavailable_responses", "Responses 503 because the application does not start; also among 5xx.", "counter"
        ),
        line=Line("responses", "{} because it does not start"),
    )

    def take_statistics(self, statistics: Statistics) -> None:
        """Show what all slots together have counted."""
        for digit, count in enumerate(statistics.classes, 1):
            setattr(self, f"responses_{digit}xx", count)
        self.aborted = statistics.aborted
