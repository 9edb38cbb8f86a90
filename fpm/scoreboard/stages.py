"""Request stages, with PHP-FPM's names (fpm_request.h) and its texts for the status page (fpm_request.c). Pure."""

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
    READING_BODY = 8
    """EXECUTING, and the worker waits for the web server to send more of the request's body."""
    SENDING = 9
    """EXECUTING, and the worker waits for the web server to take more of the response."""


STATE_TEXT: dict[Stage, str] = {
    Stage.FREE: "Free",
    Stage.CREATING: "Creating",
    Stage.ACCEPTING: "Idle",
    Stage.READING_HEADERS: "Reading headers",
    Stage.INFO: "Getting request information",
    Stage.EXECUTING: "Running",
    Stage.END: "Ending",
    Stage.FINISHED: "Finishing",
    Stage.READING_BODY: "Running",
    Stage.SENDING: "Running",
}
"""PHP-FPM has no words for the last two, and neither have the monitors that read its page."""

OWN_STATE_TEXT = STATE_TEXT | {Stage.READING_BODY: "Reading body", Stage.SENDING: "Sending"}
"""What our own pages and commands show."""

DOING: dict[Stage, str] = {
    Stage.FREE: "not there",
    Stage.CREATING: "starting",
    Stage.ACCEPTING: "idle",
    Stage.READING_HEADERS: "beginning a request",
    Stage.INFO: "beginning a request",
    Stage.EXECUTING: "running",
    Stage.END: "leaving",
    Stage.FINISHED: "after the response",
    Stage.READING_BODY: "reading the request's body",
    Stage.SENDING: "sending the response",
}
"""The same in plain words, for the slow log and `pyfpm trace`."""
