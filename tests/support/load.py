"""Clients in a loop while something happens to the daemon."""

from __future__ import annotations

import threading
from types import TracebackType

from tests.support import raw_fastcgi

PACE = 0.005
"""Seconds between two requests of a client: faster ones leave nothing of the processors to what happens meanwhile."""


class Load:
    """A context in which `clients` threads ask again and again; `replies` and `errors` are what they got."""

    def __init__(self, address: raw_fastcgi.Address, path: str = "/", *, query: str = "", clients: int = 2) -> None:
        self.replies: list[raw_fastcgi.Reply] = []
        self.errors: list[str] = []
        self._stop = threading.Event()
        self._ask = lambda: raw_fastcgi.get(address, path, query=query)
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(90)

    def bodies(self) -> set[str]:
        """The different bodies so far."""
        return {reply.body.decode() for reply in list(self.replies)}

    def no_loss(self, *, status: int = 200) -> None:
        """Assert that every request was answered to its end."""
        assert not self.errors, f"{len(self.errors)} errors, {len(self.replies)} replies: {self.errors[:5]}"
        assert {reply.status for reply in self.replies} == {status}

    def _run(self) -> None:
        while not self._stop.wait(PACE):
            try:
                reply = self._ask()
            except OSError as error:
                self.errors.append(repr(error))
                continue
            if reply.ended:
                self.replies.append(reply)
            else:
                self.errors.append(f"cut off after {reply.stdout!r}")
