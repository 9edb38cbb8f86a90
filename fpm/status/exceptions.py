"""Exceptions of an application, counted by the line that they come from. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fpm.frozen import dataclass, known_fields


@dataclass(frozen=True, slots=True)
class SeenException:
    """One exception, as often as it has come from the same line. Times are epoch seconds."""

    kind: str
    """Its type, as in "KeyError" or "shop.errors.NoStock"."""
    message: str
    """Of the last one, its first line."""
    place: str
    """The newest call of the application's own code, as in "search (/srv/shop/views.py:41)"; "" if it is not known."""
    count: int
    first: float
    last: float
    pid: int
    """Of the last one's worker."""
    request: str = ""
    """Method and URI of the last one; "" if it is not known."""
    stack: tuple[str, ...] = ()
    """Calls, the newest first, without most of those within libraries."""
    printed: bool = False
    """Its traceback was printed: the application has caught it, as a framework does that answers 500 itself, or it has
    ended a thread. Else nobody has caught it, and pyfpm has answered 500."""

    @property
    def words(self) -> str:
        """Return it as Python does: its type and its message."""
        return f"{self.kind}: {self.message}" if self.message else self.kind


def read_exception_seen(values: Mapping[str, Any]) -> SeenException:
    """Read one from JSON, which has lists for tuples, of this version of pyfpm or another.

    Raises:
        TypeError: one of the first seven values is missing.
    """
    return SeenException(**known_fields(SeenException, values) | {"stack": tuple(values.get("stack", ()))})
