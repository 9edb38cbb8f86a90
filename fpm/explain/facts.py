"""What is known of a pool when somebody asks what is wrong with it. Texts are decoded and not escaped. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from fpm.frozen import dataclass
from fpm.scoreboard.stages import DOING, OWN_STATE_TEXT, Stage
from fpm.stacks.text.entry import Entry
from fpm.status.overview import Daemon, Pool
from fpm.status.past.recent import Window
from fpm.status.trouble import lately

BODY, SENDING, AFTER = DOING[Stage.READING_BODY], DOING[Stage.SENDING], DOING[Stage.FINISHED]
"""What a worker does that waits for its web server, or works after its response; see `Sight.stage`."""
TEMPLATE = "template"
"""The stage of a process that imports the application and serves nothing yet."""
CREATING = OWN_STATE_TEXT[Stage.CREATING].lower()
"""The same of a worker, which imports for itself with preload = no."""


@dataclass(frozen=True, slots=True)
class Place:
    """A line of code on a stack."""

    function: str
    file: str
    """"" if it is not known."""
    line: int
    library: str
    """The package that it belongs to; "" for the application's own code."""


@dataclass(frozen=True, slots=True)
class Thread:
    """Another thread of a worker than the one that serves its request."""

    doing: str
    """As in fpm.stacks.trace.ThreadStack."""
    places: tuple[Place, ...]
    """The newest call first."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What one busy process does."""

    pid: int
    request: str
    """Method and URI; "" without one."""
    seconds: float
    """Since the request began; in background work, since the response was complete."""
    stage: str
    """In the words of fpm.scoreboard.stages.DOING, or TEMPLATE."""
    task: str = ""
    """The function that runs after the response."""
    content_length: int = 0
    """Of the request, bytes."""
    places: tuple[Place, ...] = ()
    """Its main thread's calls without pyfpm's own, the newest first; empty if its stack is not known."""
    native: tuple[str, ...] = ()
    """Functions of C that the newest of them has called, the newest first, as far as they are known."""
    doing: str = ""
    """What its main thread does, as in fpm.stacks.trace.ThreadStack; "" if it is not known."""
    others: tuple[Thread, ...] = ()
    database: str = ""
    """The database of SQLite whose lock it waits for, as far as that is known."""
    holder: int = 0
    """The process that has this lock; 0: not known."""
    is_live: bool = False
    """Its stack was taken just now, not for the slow log."""
    error: str = ""
    """Why its stack is not known."""


@dataclass(frozen=True, slots=True)
class Descriptors:
    """How many descriptors a process has open, and how many it may have."""

    used: int
    limit: int
    targets: tuple[str, ...] = ()
    """What most of them are, as in "812 files in /tmp/ (as /tmp/report-88.csv)"; empty where that was not looked at."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that is looked at; what could not be found out is empty."""

    pool: Pool
    daemon: Daemon
    looks: tuple[Entry, ...] = ()
    """Stacks of busy workers, and of templates that are starting, taken just now: the longest at it first."""
    unseen: int = 0
    """Busy workers that were not looked at."""
    sights: tuple[Sight, ...] = ()
    """What each busy worker does, whether it was looked at or not, and each starting template that was; the longest
    at it first. See fpm.explain.sights."""
    descriptors: Mapping[int, Descriptors] = field(default_factory=dict)
    """By pid, of the workers."""
    output: tuple[str, ...] = ()
    """The newest lines of the error log about this pool, the newest last."""

    @property
    def now(self) -> float:
        """Return when the pool was looked at, epoch seconds."""
        return self.daemon.now

    @property
    def lately(self) -> Window | None:
        """Return what was counted in the last five minutes; None: nobody keeps a history, or not yet."""
        return lately(self.pool)
