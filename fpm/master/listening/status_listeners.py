"""The addresses at which the status process answers: which there should be, and the listening sockets for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from fpm.config.model import Config, GlobalConfig, ListenAddress, PoolConfig, UnixAddress
from fpm.errors import StartError
from fpm.events.base import Emit
from fpm.events.pool import StatusListenFailed
from fpm.frozen import dataclass
from fpm.log.lines import pool_prefix
from fpm.master.listening.inherited import InheritedFds, dump_listener, restore_listener
from fpm.master.listening.listeners import socket_access
from fpm.protocol.status import SiteSpec
from fpm.system.listening import Listener, open_address
from fpm.system.socket_access import SocketAccess

BACKLOG = 128
DEFAULT_STATUS_PATH = "/status"
DEFAULT_PING_PATH = "/ping"
"""For pools that have pm.status_listen and no paths of their own."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Says what should be at one address."""

    spec: SiteSpec
    access: SocketAccess
    pool: str
    """Whose it is; "" if it is the daemon's."""


def wanted_sites(config: Config) -> dict[ListenAddress, Wanted]:
    """Return what a configuration wants at each address."""
    found = {}
    settings = config.global_
    if settings.status_listen is not None:
        allow = tuple(str(network) for network in settings.status_allow)
        access = SocketAccess(settings.status_listen_mode, settings.status_listen_owner, settings.status_listen_group)
        plain = SiteSpec("", "", "", "", peers=allow, allow=allow, exemplars=settings.status_listen_exemplars)
        site = _guarded(plain, settings.status_listen, settings)
        found[settings.status_listen] = Wanted(site, access, "")
    for pool in config.pools:
        if pool.pm_status_listen is not None:
            site = _guarded(_pool_site(pool), pool.pm_status_listen, settings)
            found[pool.pm_status_listen] = Wanted(site, socket_access(pool), pool.name)
    return found


def _guarded(site: SiteSpec, address: ListenAddress, settings: GlobalConfig) -> SiteSpec:
    """Keep what every local user, and every page in a browser there, could ask for at a TCP port to what they may see.

    A web page can make its own name resolve to 127.0.0.1 (DNS rebinding) and then read what is answered; its requests
    have that name in their Host header.
    """
    if isinstance(address, UnixAddress):
        return site
    return replace(
        site, details=settings.status_listen_details, hosts=tuple(name.lower() for name in settings.status_listen_hosts)
    )


def _pool_site(pool: PoolConfig) -> SiteSpec:
    return SiteSpec(
        pool=pool.name,
        status_path=pool.pm_status_path or DEFAULT_STATUS_PATH,
        ping_path=pool.ping_path or DEFAULT_PING_PATH,
        ping_response=pool.ping_response,
        peers=tuple(str(network) for network in pool.listen_allowed_clients),
        allow=tuple(str(network) for network in pool.pm_status_allow),
    )


def serve_without(emit: Emit) -> Callable[[str, str], bool]:
    """Make the function that only says which pool has no status page, for StatusListeners.open."""

    def refused(pool: str, reason: str) -> bool:
        emit(StatusListenFailed(reason.removeprefix(pool_prefix(pool)), pool=pool))
        return False

    return refused


class StatusListeners:
    """Owns the listening sockets; a reload first opens what it needs, then takes it or gives it back."""

    def __init__(self) -> None:
        self.on_change: Callable[[], None] | None = None
        """Called when other sockets, or the same with another content, count."""
        self.listeners: dict[ListenAddress, Listener] = {}
        self.specs: dict[ListenAddress, SiteSpec] = {}
        self.users: frozenset[int] = frozenset()
        """Of pools, as whom the status process must not run."""
        self._next: tuple[dict[ListenAddress, Listener], dict[ListenAddress, SiteSpec]] = ({}, {})
        self._next_users: frozenset[int] = frozenset()

    def open(self, config: Config, refused: Callable[[str, str], bool]) -> None:
        """Open what this configuration needs and is not there yet; `take_over` makes it count.

        Args:
            refused: told the pool whose address cannot be had, and why; does everything fail for it?

        Raises:
            StartError: an address cannot be had; nothing has changed then.
        """
        self.give_back()
        self._next_users = frozenset(pool.identity.uid for pool in config.pools if pool.identity is not None)
        opened: dict[ListenAddress, Listener] = {}
        specs: dict[ListenAddress, SiteSpec] = {}
        self._next = opened, specs
        for address, one in wanted_sites(config).items():
            try:
                if address not in self.listeners or self.listeners[address].can_return:
                    opened[address] = open_address(address, BACKLOG, one.access)
            except StartError as error:
                if not one.pool:
                    self.give_back()
                    raise StartError(f"[global] status_listen: {error}") from error
                reason = f"{pool_prefix(one.pool)}pm.status_listen: {error}"
                if refused(one.pool, reason):
                    self.give_back()
                    raise StartError(reason) from error
            else:
                specs[address] = one.spec

    def take_over(self) -> None:
        """Make the configuration of `open` count, and close sockets that it does not name."""
        opened, specs = self._next
        self._next = {}, {}
        if not opened and specs == self.specs and self._next_users == self.users:
            return
        self.users = self._next_users
        for address in self.listeners.keys() & opened.keys():
            self.listeners[address].close()  # its file was removed
        self.listeners |= opened
        for address in self.listeners.keys() - specs.keys():
            self.listeners.pop(address).close()
        self.specs = specs
        if self.on_change is not None:
            self.on_change()

    def give_back(self) -> None:
        """Close what was opened for a configuration that does not count."""
        opened, _ = self._next
        self._next = {}, {}
        for listener in opened.values():
            listener.close()

    def dump(self, kept: InheritedFds) -> list[dict[str, Any]]:
        """Describe the sockets by their addresses, for an upgrade."""
        return [
            {"address": str(address), **dump_listener(listener, kept)} for address, listener in self.listeners.items()
        ]

    def restore(self, inherited: list[Mapping[str, Any]], config: Config, refused: Callable[[str, str], bool]) -> None:
        """Go on with the sockets of the former program; for `refused` see `open`.

        Raises:
            StartError: one that was not inherited cannot be opened.
        """
        addresses = {str(address): address for address in wanted_sites(config)}
        for state in inherited:
            address = addresses.get(state["address"])
            if address is not None:
                self.listeners[address] = restore_listener(address, state)
        self.open(config, refused)
        self.take_over()

    def close(self) -> None:
        """Close all sockets."""
        self.give_back()
        for listener in self.listeners.values():
            listener.close()
        self.listeners.clear()
