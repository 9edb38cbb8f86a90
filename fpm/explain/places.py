"""Where in the application a worker is, in words. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby

from fpm.explain.facts import Place, Sight
from fpm.frozen import dataclass
from fpm.stacks.text.group import OURS

REPEATED = 50
"""Calls of one function on a stack from which it is a recursion."""
REQUEST_MAX = 200
"""Characters of a request in a sentence."""


def application_place(places: Sequence[Place]) -> Place | None:
    """Return the newest call of the application's own code, else the newest of a library; None if all are pyfpm's."""
    own = next((place for place in places if not place.library), None)
    return own or next((place for place in places if place.library != OURS), None)


def short_file(file: str, directory: str) -> str:
    """Return a path as seen from the pool's directory, if it is below it."""
    below = directory.rstrip("/") + "/"
    return file.removeprefix(below) if directory else file


def request_shown(request: str) -> str:
    """Return a request that fits into a sentence."""
    return request if len(request) <= REQUEST_MAX else f"{request[:REQUEST_MAX]}..."


def place_words(place: Place, directory: str) -> str:
    """Name a place: "shop.views.search (shop/views.py:41)", the module as the path from the pool's directory has it."""
    shown = short_file(place.file, directory)
    if place.library or not shown.endswith(".py"):
        return f"{place.function} ({shown}:{place.line})"
    stem = shown.removesuffix(".py").removesuffix("/__init__")
    module = stem.rpartition("/")[2] if stem.startswith("/") else stem.replace("/", ".")
    return f"{module}.{place.function} ({shown}:{place.line})"


def stack_words(places: Sequence[Place], directory: str, most: int) -> list[str]:
    """List the newest calls, a line each; those of a recursion that follow each other are counted."""
    runs = [(place, len(list(same))) for place, same in groupby(places)]
    lines = [
        f"{place.function} ({short_file(place.file, directory)}:{place.line})" + (f", {count} times" * (count > 1))
        for place, count in runs[:most]
    ]
    left = sum(count for _, count in runs[most:])
    return [*lines, f"... {left} older call{'s' * (left > 1)}"] if left else lines


@dataclass(frozen=True, slots=True)
class Recursion:
    """A function that calls itself, directly or by way of others."""

    place: Place
    depth: int
    """How many of its calls are on the stack."""


def find_recursion(sight: Sight) -> Recursion | None:
    """Find the function that has called itself so often that the stack is mostly its own."""
    if len(sight.places) < REPEATED:
        return None
    counts = Counter((place.function, place.file) for place in sight.places)
    _, depth = counts.most_common(1)[0]
    if depth < REPEATED:
        return None
    # Of several that call each other in turn, the application's newest is the one to look at.
    often = {name for name, count in counts.items() if count > depth // 2}
    found = [place for place in sight.places if (place.function, place.file) in often]
    newest = application_place(found) or found[0]
    # The line from which it calls itself, not the one where the last call stands.
    lines = Counter(place for place in found if (place.function, place.file) == (newest.function, newest.file))
    return Recursion(lines.most_common(1)[0][0], depth)
