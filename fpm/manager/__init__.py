"""The manager as a library: a program builds a configuration in code and starts, watches, reloads and stops a manager.

    from fpm.manager import Manager, Pool

    with Manager([Pool("shop", app="shop.wsgi:application", listen="shop.sock", pm_max_children=8)]) as manager:
        for event in manager.events():
            print(event.pool, event.text)

The master runs as a process of its own, as the daemon's does: what a program has loaded never gets into it or into a
pool. It ends when the program ends, however that happens.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fpm.errors import ConfigError, ControlError, StartError
from fpm.library import current
from fpm.manager.events import Event, Kind
from fpm.manager.in_pool_stub import Absent
from fpm.manager.reload_result import Reloaded

if TYPE_CHECKING:
    from fpm.manager.configuration import Pool, Settings
    from fpm.manager.manager import Manager

__all__ = [
    "ConfigError",
    "ControlError",
    "Event",
    "Kind",
    "Manager",
    "Pool",
    "Reloaded",
    "Settings",
    "StartError",
]

_LATE = {
    "Manager": "fpm.manager.manager",
    "Pool": "fpm.manager.configuration",
    "Settings": "fpm.manager.configuration",
}
"""What is not there in a pool, which may import this package all the same."""


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module 'fpm.manager' has no attribute {name!r}")
    return Absent if current.in_pool else getattr(import_module(_LATE[name]), name)
