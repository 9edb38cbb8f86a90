"""Request stages, with PHP-FPM's names (fpm_request.h) and its texts for the status page (fpm_request.c)."""

from __future__ import annotations

from enum import IntEnum


class Stage(IntEnum):
    """What a worker is doing; one byte for each slot of the scoreboard. FREE marks a slot without a worker."""

    FREE = 0
    CREATING = 1
    ACCEPTING = 2
    READING_HEADERS = 3
    INFO = 4
    EXECUTING = 5
    END = 6
    FINISHED = 7


STATE_TEXT: dict[Stage, str] = {
    Stage.FREE: "Free",
    Stage.CREATING: "Creating",
    Stage.ACCEPTING: "Idle",
    Stage.READING_HEADERS: "Reading headers",
    Stage.INFO: "Getting request information",
    Stage.EXECUTING: "Running",
    Stage.END: "Ending",
    Stage.FINISHED: "Finishing",
}
