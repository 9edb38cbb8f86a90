"""What the user of `pyfpm top` has chosen, and what each key does. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from fpm.cli.top_figures import BY_KEY, SORT_KEYS, PoolRow, SortKey, WorkerRow, sort_pools, sort_workers
from fpm.cli.top_routes import ROUTE_BY_KEY, ROUTE_BY_NAME, ROUTE_KEYS, RouteKey, RouteRow, sort_routes

HELP = (
    "Enter     open the pool: its workers; Esc goes back",
    "t         trace: the stack of the worker, or of the pool's busy workers",
    "/         filter by pool, application, state, request or pid; Esc removes it",
    "w         all workers, or pools",
    "a         by URL: what each pattern of path costs, or pools",
    "z         by URL: count from now on, or since the daemon's start",
    "up, down  select a row (also k, j; space and page keys)",
    "o         reverse the order",
    *(f"{one.key}         sort by {one.name}" for one in SORT_KEYS),
    *(f"{one.key}         by URL: sort by {one.name}" for one in ROUTE_KEYS),
    "",
    "P95, ERRORS, 5XX and SLOW are of the last 5 minutes, as far as the past is known, else since the start",
    "",
    "h, ?      this help",
    "q         quit",
)
DOWN, UP = frozenset({"down", "j", "page down", " "}), frozenset({"up", "k", "page up"})
FILTER_MAX = 60

Rows = Sequence[PoolRow] | Sequence[WorkerRow] | Sequence[RouteRow]


@dataclass
class View:
    """What is shown."""

    sort: SortKey
    workers: bool = False
    urls: bool = False
    """The rows are routes."""
    route_sort: RouteKey = ROUTE_BY_NAME["time"]
    is_zeroed: bool = False
    """Of routes, what was counted before is left out."""
    upside_down: bool = False
    cursor: int = 0
    """The selected row."""
    offset: int = 0
    """Rows scrolled away."""
    pool: str = ""
    """The pool that has been opened, or ""."""
    filter: str = ""
    is_typing: bool = False
    """The filter is being typed."""
    pane: tuple[str, ...] = ()
    """Lines that are shown instead of the table: help or a stack."""
    trace: str = ""
    """A worker or pool whose stack is wanted; whoever takes it puts it into the pane."""
    targets: list[str] = field(default_factory=list)
    """What each row of the last picture can be traced as."""
    names: list[str] = field(default_factory=list)
    """The pool of each row."""

    @property
    def shows_workers(self) -> bool:
        """Tell whether the rows are workers, of all pools or of one."""
        return self.workers or bool(self.pool)

    @property
    def sort_keys(self) -> Sequence[SortKey | RouteKey]:
        """Return the ways of sorting these rows."""
        return ROUTE_KEYS if self.urls else SORT_KEYS

    @property
    def sorting(self) -> SortKey | RouteKey:
        """Return the one that is in force."""
        return self.route_sort if self.urls else self.sort

    def press(self, key: str, page: int) -> bool:
        """Do what a key says; True: quit.

        Args:
            page: rows on the screen.
        """
        if key == "interrupt":
            return True
        if self.is_typing:
            self._type(key)
        elif key in DOWN | UP:
            self._move(key, page)
        elif self.pane:
            self.pane, self.offset = (), 0
        elif key == "q":
            return True
        else:
            self._choose(key)
        return False

    def show(self, lines: Sequence[str]) -> None:
        """Show these lines until a key is pressed."""
        self.pane, self.offset = tuple(lines), 0

    def select(self, pools: Sequence[PoolRow], workers: Sequence[WorkerRow], routes: Sequence[RouteRow] = ()) -> Rows:
        """Return the rows that are wanted, in order; the cursor is kept among them."""
        rows: Rows
        if self.urls:
            here = [row for row in routes if self.pool in ("", row.pool.name) and self._has_route(row)]
            rows = sort_routes(here, self.route_sort, upside_down=self.upside_down)
            self.targets = [row.pool.name for row in rows]
        elif self.shows_workers:
            found = [row for row in workers if self.pool in ("", row.pool.name) and self._has_worker(row)]
            rows = found = sort_workers(found, self.sort, upside_down=self.upside_down)
            self.targets = [str(row.worker.pid) for row in found]
        else:
            rows = sort_pools([row for row in pools if self._has_pool(row)], self.sort, upside_down=self.upside_down)
            self.targets = [row.pool.name for row in rows]
        self.names = [row.pool.name for row in rows]
        self.cursor = max(min(self.cursor, len(rows) - 1), 0)
        return rows

    def scroll(self, count: int, room: int) -> None:
        """Keep the selected row, or the pane, within the `room` rows of the screen."""
        if not self.pane:
            self.offset = max(min(self.offset, self.cursor), self.cursor - room + 1)
        self.offset = max(min(self.offset, count - room), 0)

    def _move(self, key: str, page: int) -> None:
        steps = page if key in ("page down", " ", "page up") else 1
        steps = steps if key in DOWN else -steps
        if self.pane:
            self.offset = max(self.offset + steps, 0)
        else:
            self.cursor = max(self.cursor + steps, 0)

    def _type(self, key: str) -> None:
        if key in ("enter", "escape"):
            self.is_typing = False
            self.filter = self.filter if key == "enter" else ""
        elif key == "backspace":
            self.filter = self.filter[:-1]
        elif len(key) == 1 and key.isprintable() and len(self.filter) < FILTER_MAX:
            self.filter += key
        self.cursor = 0

    def _choose(self, key: str) -> None:
        here = self.cursor < len(self.names)
        if self.urls and key in ROUTE_BY_KEY:
            self.route_sort, self.cursor = ROUTE_BY_KEY[key], 0
        elif not self.urls and key in BY_KEY:
            self.sort, self.cursor = BY_KEY[key], 0
        elif key == "a":
            self.urls, self.cursor = not self.urls, 0
        elif key == "z":
            self.is_zeroed = not self.is_zeroed
        elif key == "w":
            self.workers, self.pool, self.urls, self.cursor = self.urls or not self.shows_workers, "", False, 0
        elif key == "o":
            self.upside_down = not self.upside_down
        elif key in ("h", "?"):
            self.show(HELP)
        elif key == "/":
            self.is_typing = True
        elif key == "enter" and here and not self.shows_workers:
            self.pool, self.cursor = self.names[self.cursor], 0
        elif key in ("t", "enter") and here and not (self.urls and key == "enter"):
            self.trace = self.targets[self.cursor]
        elif key in ("escape", "backspace"):
            self.pool, self.filter, self.cursor = "", "" if not self.pool else self.filter, 0

    def _has_pool(self, row: PoolRow) -> bool:
        request = f"{row.oldest.request_method} {row.oldest.request_uri}" if row.oldest else ""
        return self._matches(row.pool.name, row.pool.app, row.pool.state, request)

    def _has_route(self, row: RouteRow) -> bool:
        return self._matches(row.pool.name, row.name)

    def _has_worker(self, row: WorkerRow) -> bool:
        worker = row.worker
        request = f"{worker.request_method} {worker.request_uri}"
        return self._matches(row.pool.name, row.pool.app, worker.state, request, str(worker.pid))

    def _matches(self, *texts: str) -> bool:
        return any(self.filter.lower() in text.lower() for text in texts)
