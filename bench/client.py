"""A client that asks at a steady rate and writes down every answer; and what those answers mean."""

from __future__ import annotations

import http.client
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

PATIENCE = 5.0
"""Seconds until a request without an answer has failed."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One request and what came of it.

    Attributes:
        sent: monotonic seconds.
        took: seconds.
        text: the body of a 200; None if it has failed: another status, a cut connection, or silence.
    """

    sent: float
    took: float
    text: str | None

    @property
    def came(self) -> float:
        """Monotonic seconds."""
        return self.sent + self.took


class Client:
    """One visitor with a kept connection to the web server."""

    def __init__(self, port: int, path: str) -> None:
        self.answers: list[Answer] = []
        self._path = path
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)

    def visit(self, rate: float, seconds: float, between: Callable[[], bool]) -> None:
        """Ask `rate` times a second, one after another; what a slow answer has made impossible is not made up for.

        Args:
            between: called before each request; the visit ends early when it returns False.
        """
        due = time.monotonic()
        end = due + seconds
        while due < end and between():
            time.sleep(max(0.0, due - time.monotonic()))
            self.answers.append(self._ask())
            due = max(due + 1 / rate, time.monotonic())
        self._connection.close()

    def _ask(self) -> Answer:
        sent, text = time.monotonic(), None
        try:
            self._connection.request("GET", self._path)
            response = self._connection.getresponse()
            body = response.read()
            if response.status == 200:
                text = body.decode("latin-1")
        except (OSError, http.client.HTTPException):
            self._connection.close()  # the next request opens it anew
        return Answer(sent, time.monotonic() - sent, text)


def failures(answers: Sequence[Answer]) -> int:
    """How many requests have failed."""
    return sum(1 for answer in answers if answer.text is None)


def outage(answers: Sequence[Answer]) -> float:
    """Seconds from the first failed request to the first good answer after which none fails; infinite if none does."""
    failed = [number for number, answer in enumerate(answers) if answer.text is None]
    if not failed:
        return 0.0
    after = failed[-1] + 1
    return answers[after].came - answers[failed[0]].sent if after < len(answers) else math.inf


def percentile(answers: Sequence[Answer], share: float) -> float:
    """The time in seconds within which this share of the requests was answered (nearest rank)."""
    times = sorted(answer.took for answer in answers)
    return times[min(len(times) - 1, math.ceil(share * len(times)) - 1)] if times else math.nan
