"""What `request_statistics` costs: with and without it, compiled and in plain Python, by what the paths are like."""

from __future__ import annotations

from bench.cases.pairs import Group, LoadCase
from bench.load import Load
from bench.peers import PLAIN, PLAIN_UNCOUNTED, PYFPM, UNCOUNTED

PEERS = (PYFPM, UNCOUNTED, PLAIN, PLAIN_UNCOUNTED)
UUID = "-".join("{f}" * digits for digits in (8, 4, 4, 4, 12))


def _case(name: str, what: str, path: str, *, usual: bool = False) -> LoadCase:
    """A slice is short: what changes on the machine between two of them is more than what is looked for."""
    load = Load(path, connections=8, seconds=0.15)
    return LoadCase(f"routes-{name}", f"Hello world, {what}, 8 clients", load, PEERS, ("cpu", "user"), usual=usual)


GROUP = Group(
    [
        _case("same", "always the same path", "/orders/list"),
        _case("number", "a number in the path", "/api/v1/orders/{9}{9}{9}{9}{9}/items", usual=True),
        _case("uuid", "a UUID in the path", f"/users/{UUID}"),
        _case("new", "always another pattern", "/{a}{a}{a}{a}-{a}{a}{a}{a}-{9}{9}{9}{9}{9}.html"),
    ]
)
