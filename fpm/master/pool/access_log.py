"""The access log of one pool: opened here, written by its workers, which get the descriptor."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from fpm.log.target import open_shared_log
from fpm.master.listening.inherited import InheritedFds, take_inherited


class AccessLog:
    """Holds the descriptor."""

    def __init__(self) -> None:
        self.fd: int | None = None
        """None: the pool has no access log."""
        self._path: str | None = None

    def follow(self, path: str | None) -> bool:
        """Write to this file from now on; returns whether that is another one.

        Raises:
            StartError: it cannot be opened; the former one stays in use.
        """
        if path == self._path:
            return False
        self._open(path)
        return True

    def reopen(self) -> bool:
        """Open the same file anew (SIGUSR1); returns whether there is one.

        Raises:
            StartError: it cannot be opened; the former one stays in use.
        """
        if self._path is None:
            return False
        self._open(self._path)
        return True

    def dump(self, kept: InheritedFds) -> dict[str, Any]:
        """Describe it for the next master."""
        return {"fd": kept.keep(-1 if self.fd is None else self.fd), "path": self._path}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where `dump` was."""
        fd = take_inherited(state["fd"])
        self.fd, self._path = None if fd < 0 else fd, state["path"]

    def close(self) -> None:
        """Give the descriptor back."""
        if self.fd is not None:
            os.close(self.fd)
            self.fd = self._path = None

    def _open(self, path: str | None) -> None:
        fd = None if path is None else open_shared_log(path, "access.log")
        self.close()
        self.fd, self._path = fd, path
