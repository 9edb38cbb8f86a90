"""When and how a worker leaves. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import IntEnum

from fpm.errors import EXIT_OK
from fpm.protocol.spec import WorkerSettings


class Leaving(IntEnum):
    """How far a worker is on its way out."""

    NOT = 0
    TOLD = 1
    """It leaves when what is to be done first is done."""
    HANDED_OVER = 2
    """Everything that others could take has been handed over; the rest is answered here."""


@dataclass(slots=True)
class Departure:
    """How this worker leaves."""

    stage: Leaving = Leaving.NOT
    is_final: bool = False
    """The pool ends: nobody will take what this worker leaves behind."""
    queued: int = 0
    """Connections that wait in the listen queue when the pool ends, and are still answered."""
    code: int = EXIT_OK

    def begin(self, code: int = EXIT_OK) -> None:
        """Leave; again does not change how far it has come."""
        self.stage, self.code = max(self.stage, Leaving.TOLD), max(self.code, code)


def draw_limit(settings: WorkerSettings) -> int:
    """Decide how many requests this worker serves; 0: no limit. The jitter keeps workers from leaving all at once."""
    if not settings.pm_max_requests:
        return 0
    return settings.pm_max_requests + random.randint(0, max(0, settings.pm_max_requests_jitter))
