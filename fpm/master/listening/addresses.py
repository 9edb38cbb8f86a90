"""Assigns listening sockets to pools: passed by systemd, kept from a pool that a reload removes, or new."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping

from fpm.config.model import Config, PoolConfig
from fpm.errors import InstanceRunning, StartError
from fpm.master.listening.listeners import adopt_listener, is_same_address, open_listener
from fpm.master.listening.status_listeners import StatusListeners
from fpm.system.listening import Listener, stand_in


class PassedSockets:
    """The sockets of LISTEN_FDS (sd_listen_fds(3)) that no pool has taken yet."""

    def __init__(self, passed: Mapping[str, int]) -> None:
        self._passed = dict(passed)

    def listener_for(self, pool: PoolConfig) -> Listener:
        """Return the passed socket with the pool's name, else the one with its address, else a new socket.

        If there is none to be had (the address cannot be bound, the passed descriptor is no listening socket), the
        result says so: that keeps this pool alone from serving.

        Raises:
            InstanceRunning: a master with the same configuration listens there.
        """
        name = pool.name if pool.name in self._passed else None
        if name is None:
            name = next((name for name, fd in self._passed.items() if is_same_address(fd, pool.listen)), None)
        try:
            return open_listener(pool) if name is None else adopt_listener(pool, self._passed.pop(name))
        except InstanceRunning:
            raise
        except StartError as error:
            return stand_in(pool.listen, str(error))

    def close(self) -> list[str]:
        """Close the remaining sockets; return their names."""
        names = list(self._passed)
        for fd in self._passed.values():
            os.close(fd)
        self._passed.clear()
        return names


class NewListeners:
    """The sockets that a new configuration needs besides those that stay with their pools.

    If a pool is renamed, or two exchange their addresses, the existing sockets are used: connections in their queues
    are not lost.
    """

    def __init__(self, status: StatusListeners) -> None:
        """Start with no sockets.

        Args:
            status: the daemon's sockets for the status process, which are opened, taken over and given back together.
        """
        self._status = status
        self.by_pool: dict[str, Listener] = {}
        self._givers: list[tuple[Listener, Listener]] = []

    def open(
        self,
        config: Config,
        running: Mapping[str, tuple[PoolConfig, Listener]],
        lost: Collection[str],
        refused: Callable[[str, str], bool],
        no_page: Callable[[str, str], bool],
    ) -> None:
        """Open one for each new pool and each whose address has changed, and those of the status process.

        Args:
            running: configuration and listener of the pools that are running.
            lost: pools that get a new socket at the same address, as the file of theirs has been removed.
            refused: told a pool whose address cannot be bound, and why; does the whole reload fail for it?
            no_page: the same for the address of its status page.

        Raises:
            StartError: an address cannot be bound; nothing has changed then.
        """
        try:
            self._status.open(config, no_page)
            for pool in config.pools:
                present = running.get(pool.name)
                if present is None or present[0].listen != pool.listen or pool.name in lost:
                    self._open_for(pool, running, refused)
        except StartError:
            self.give_back()
            raise

    def _open_for(
        self,
        pool: PoolConfig,
        running: Mapping[str, tuple[PoolConfig, Listener]],
        refused: Callable[[str, str], bool],
    ) -> None:
        try:
            self.by_pool[pool.name] = self._one(pool, running)
        except StartError as error:
            if refused(pool.name, str(error)):
                raise

    def take_over(self) -> None:
        """Commit: the former owners no longer remove the socket files."""
        for giver, _ in self._givers:
            giver.inode, giver.is_ours = None, False
        self._status.take_over()

    def _one(self, pool: PoolConfig, running: Mapping[str, tuple[PoolConfig, Listener]]) -> Listener:
        for config, listener in running.values():
            # A pool whose name and address stay is not here: two pools cannot have one address (fpm.config.check).
            if config.listen == pool.listen and not listener.can_return:
                copy = Listener(listener.address, listener.socket.dup(), listener.inode, listener.is_ours)
                self._givers.append((listener, copy))
                return copy
        return open_listener(pool)

    def disown(self) -> None:
        """Cancel, first: the former owners keep their sockets and files, whatever becomes of the copies."""
        for _, copy in self._givers:
            copy.inode, copy.is_ours = None, False

    def give_back(self) -> None:
        """Cancel: close what was opened."""
        self._status.give_back()
        self.disown()
        for listener in self.by_pool.values():
            listener.close()
