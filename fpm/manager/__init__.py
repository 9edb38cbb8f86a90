"""The manager as a library: a program builds a configuration in code and starts, watches, reloads and stops a manager.

    from fpm.manager import Manager, Pool

    with Manager([Pool("shop", app="shop.wsgi:application", listen="shop.sock", pm_max_children=8)]) as manager:
        for event in manager.events():
            print(event.pool, event.text)

The master is a separate process, as in the daemon: nothing that the program has loaded gets into it or into a pool. It
exits when the program exits, however that happens.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

from fpm.errors import ConfigError, ControlError, StartError
from fpm.events.base import Event
from fpm.library import current

if TYPE_CHECKING:
    from fpm.manager.child import ReloadResult
    from fpm.manager.configuration import Pool, Settings
    from fpm.manager.directive_types import GlobalDirectives, PoolDirectives
    from fpm.manager.manager import Manager

__all__ = [
    "ConfigError",
    "ControlError",
    "Event",
    "GlobalDirectives",
    "Manager",
    "Pool",
    "PoolDirectives",
    "ReloadResult",
    "Settings",
    "StartError",
]

_LATE = {
    "GlobalDirectives": "fpm.manager.directive_types",
    "Manager": "fpm.manager.manager",
    "Pool": "fpm.manager.configuration",
    "PoolDirectives": "fpm.manager.directive_types",
    "ReloadResult": "fpm.manager.child",
    "Settings": "fpm.manager.configuration",
}
"""Names that a pool does not have, although it may import this package."""


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module 'fpm.manager' has no attribute {name!r}")
    return InPoolStub if current.in_pool else getattr(import_module(_LATE[name]), name)


class InPoolStub:
    """A stand-in for Manager in a pool: a module may create one, but using it raises an error."""

    def __init__(self, *positional: Any, **keywords: Any) -> None:
        pass

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)  # what copy, pickle and inspect look for
        _refuse()

    def __enter__(self) -> NoReturn:
        _refuse()

    def __exit__(self, *error: object) -> None:
        pass


def _refuse() -> NoReturn:
    raise RuntimeError(
        "a manager cannot be used in a process of a pool. If this file holds the application, too, put what starts "
        'the manager below `if __name__ == "__main__":`'
    )
