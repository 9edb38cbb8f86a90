"""Keeps what the generations of a pool share in their jails, without touching it: see fpm.launcher.jail.world."""

from __future__ import annotations

import os
import socket
from typing import Any

from fpm.config.model import PoolConfig
from fpm.master.listening.inherited import InheritedFds, take_inherited
from fpm.master.pool.specs import world_of
from fpm.protocol.spec import FD_WORLD_PUT, FD_WORLD_TAKE

Key = tuple[object, ...]


class PoolWorld:
    """A socket pair in which launchers leave descriptors for those that come after them."""

    def __init__(self) -> None:
        self._key: Key = ()
        """Of what it is like: a pool that wants another one gets another."""
        self._ends: tuple[int, int] | None = None

    def descriptors(self, config: PoolConfig) -> dict[int, int]:
        """Return the ends for a launcher, by the numbers that it gets; none where nothing is shared.

        Raises:
            OSError: no descriptors left.
        """
        if not world_of(config):
            self.close()
            return {}
        key = _key(config)
        if self._ends is None or key != self._key:
            self.close()
            take, put = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._key, self._ends = key, (take.detach(), put.detach())
        return dict(zip((FD_WORLD_TAKE, FD_WORLD_PUT), self._ends, strict=True))

    def dump(self, kept: InheritedFds) -> dict[str, Any]:
        """Describe it for the next master."""
        return {"key": list(self._key), "ends": [kept.keep(fd) for fd in self._ends or ()]}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where `dump` was."""
        ends = [take_inherited(fd) for fd in state["ends"]]
        self._key, self._ends = tuple(state["key"]), (ends[0], ends[1]) if ends else None

    def close(self) -> None:
        """Let go; it lives on as long as a process of the pool is in it."""
        for fd in self._ends or ():
            os.close(fd)
        self._ends = None


def _key(config: PoolConfig) -> Key:
    shared = " ".join(world_of(config))
    return shared, config.network, config.network_bridge, config.network_gateway, config.private_tmp_size
