"""Requests to a site, by the client in load.c, and what came of them."""

from __future__ import annotations

import json
import subprocess
import tempfile
from dataclasses import dataclass

from bench import tools

LONGEST = 30.0
"""Seconds that any load may last; the client's own patience comes on top."""


@dataclass(frozen=True)
class Load:
    """What to ask.

    Attributes:
        path: each {9}, {f} and {a} in it is another digit, hexadecimal digit and letter with each request.
        seconds, requests: where it ends, whichever is first; 0 is no limit.
        rate: requests a second, whatever the answers do; 0: each connection asks again when it has its answer.
        upload: bytes of a body to send; 0 is a GET.
        headers: more header lines.
    """

    path: str = "/"
    connections: int = 16
    seconds: float = 1.0
    requests: int = 0
    rate: float = 0.0
    upload: int = 0
    headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it; times in seconds. Answers with another status than 200 have failed.

    Attributes:
        bytes: of the bodies that came.
        first: until the first byte of the first answer.
        least, p50, p90, p99, most: of the time that a request took, from least to most.
    """

    requests: int
    failed: int
    seconds: float
    bytes: int
    first: float
    least: float
    p50: float
    p90: float
    p99: float
    most: float

    @property
    def rate(self) -> float:
        """Answered requests a second."""
        return self.requests / self.seconds


def run(port: int, host: str, load: Load) -> Outcome:
    """Load one site.

    Raises:
        RuntimeError: not one request was answered.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".headers") as headers:
        headers.write("".join(f"{line}\r\n" for line in load.headers))
        headers.flush()
        numbers = [load.connections, min(load.seconds, LONGEST), load.requests, load.rate, load.upload]
        command = [str(tools.compiled("load")), host, str(port), load.path, *(str(number) for number in numbers)]
        done = subprocess.run([*command, headers.name], capture_output=True, text=True, timeout=200, check=False)
    if done.returncode:
        raise RuntimeError(f"load on {host}{load.path}: {done.stderr}")
    outcome = Outcome(**json.loads(done.stdout))
    if outcome.requests == 0:
        raise RuntimeError(f"load on {host}{load.path}: no answer of {outcome.failed} requests")
    return outcome
