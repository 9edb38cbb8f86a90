"""Which functions for after the response have not begun: what is said of a worker that is, or will be, ended. Pure."""

from __future__ import annotations

from fpm.log.escape import cut, decode_wire, escape
from fpm.scoreboard.snapshot import Slot

NAME_MAX = 120
"""Characters of a name that are shown."""


def name_task(slot: Slot) -> str:
    """The function that runs after the response, "" without one; fit for a log line."""
    return cut(escape(decode_wire(slot.task)), NAME_MAX)


def name_undone(slot: Slot) -> str:
    """The functions that wait behind it, as in "shop.mail, shop.count and 2 more"; "" if there are none."""
    if not slot.waiting:
        return ""
    names = [cut(escape(decode_wire(name)), NAME_MAX) for name in slot.later]
    more = slot.waiting - len(names)
    if not names:
        return f"{more} function{'' if more == 1 else 's'}"
    return ", ".join(names) + (f" and {more} more" if more > 0 else "")
