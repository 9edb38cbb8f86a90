"""A client of the control socket, independent of ours: a line of JSON goes there, lines of JSON come back."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ANSWER_TIME = 60.0


def connect(path: Path) -> socket.socket:
    """A connection that waits ANSWER_TIME for each answer; the caller closes it."""
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(path))  # without a timeout it waits for room in the queue (unix(7))
    client.settimeout(ANSWER_TIME)
    return client


def messages(path: Path, command: str, **arguments: Any) -> Iterator[dict[str, Any]]:
    """Send a command; every message of the answer, the last of them with `ok`."""
    with connect(path) as client:
        client.sendall(json.dumps({"command": command, **arguments}).encode() + b"\n")
        with client.makefile("rb") as lines:
            for line in lines:
                yield json.loads(line)
