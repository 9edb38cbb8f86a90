"""Stacks, asked for on the control socket rather than by a process each."""

from __future__ import annotations

import json
from typing import Any

from tests.support import control
from tests.support.fpm import Daemon
from tests.support.held import holding
from tests.support.waiting import wait_until

Entry = dict[str, Any]


def ask(fpm: Daemon, target: str | None = None, **more: Any) -> list[dict[str, Any]]:
    """All messages of the answer, the last one with "ok"."""
    return list(control.messages(fpm.control, "trace", target=target, **{"format": "json", **more}))


def traced(fpm: Daemon, target: str | None = None, **more: Any) -> list[Entry]:
    """The entries as `pyfpm trace --json` prints them."""
    messages = ask(fpm, target, **more)
    assert messages[-1]["ok"], messages
    return [json.loads(message["entry"]) for message in messages if "entry" in message]


def functions(entry: Entry) -> list[str]:
    """Of the first thread, the newest first."""
    return [frame["function"] for thread in entry["threads"][:1] for frame in thread["frames"]]


def look(fpm: Daemon, path: str, *, place: str = "", pool: str = "www") -> Entry:
    """The entry of a request at this path, once it shows that the request is at its place, or has no stack."""

    def at_its_place() -> Entry | None:
        found = traced(fpm, pool)  # none of several idle ones, while a former worker is still there
        return next((one for one in found if (place in functions(one) if place else one["error"])), None)

    with holding(fpm, path, pool=pool) as replies:
        entry = wait_until(at_its_place, message=f"{path} has no such stack")
    assert [reply.result().status for reply in replies] == [200]
    return entry
