"""Checks the arguments of flup's servers and translates them into directives' values.

Names, order and defaults are those of flup.server.fcgi.WSGIServer and flup.server.fcgi_fork.WSGIServer.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from fpm.frozen import dataclass

Address = str | tuple[str, int]

THREADED = ("multithreaded", "multiprocess", "bindAddress", "umask", "multiplexed", "debug", "roles", "forceCGI")
"""Positional arguments of flup.server.fcgi after `application` and `environ`."""
PREFORKED = ("bindAddress", "umask", "multiplexed", "debug", "roles", "forceCGI")
"""Those of flup.server.fcgi_fork."""
NUMBERS = {"minSpare": 1, "maxSpare": 5, "maxChildren": 50, "maxRequests": 0, "maxThreads": 50}
UNUSED = {
    "multithreaded": "workers are processes with one thread each",
    "multiplexed": "a connection carries one request at a time",
    "debug": "tracebacks go to the log, not to the client",
    "timeout": "",
    "loggingLevel": "",
    "jobClass": "",
    "jobArgs": "",
}
"""Accepted without effect, and the reason for the notice."""
RESPONDER = 1
CHILDREN_MOST = 1000
"""Maximum number of workers. flup's maxThreads can be anything; processes cost more."""


class Keywords(TypedDict, total=False):
    """The keyword arguments."""

    multithreaded: bool
    multiprocess: bool
    bindAddress: str | os.PathLike[str] | tuple[str, int] | None
    umask: int | None
    multiplexed: bool
    debug: bool
    roles: Sequence[int]
    forceCGI: bool
    minSpare: int
    maxSpare: int
    maxChildren: int
    maxRequests: int
    maxThreads: int
    timeout: float | None
    loggingLevel: int
    jobClass: object
    jobArgs: object


@dataclass(frozen=True, slots=True)
class Arguments:
    """The checked arguments."""

    address: Address | None
    """None: the listening socket is descriptor 0."""
    umask: int | None
    force_cgi: bool
    min_spare: int
    max_spare: int
    max_children: int
    max_requests: int
    notice: str
    """One line about arguments without effect; "" if there is none."""


def read_arguments(positional: Sequence[Any], keywords: Mapping[str, Any]) -> Arguments:
    """Check the arguments and compute the numbers of workers.

    Args:
        positional: those after `application` and `environ`, in the order of one of flup's two modules: flup.server.fcgi
            has a bool where flup.server.fcgi_fork has the address.

    Raises:
        TypeError: an argument is unknown, is given twice, or has a value of another type.
        ValueError: a value is out of range.
    """
    given = _by_name(positional, keywords)
    numbers = {name: _number(name, given.get(name, default)) for name, default in NUMBERS.items()}
    roles = given.get("roles", (RESPONDER,))
    if RESPONDER not in roles:
        raise ValueError(f"roles: pyfpm answers as a responder ({RESPONDER}) only, found {roles!r}")
    most = numbers["maxChildren" if "maxChildren" in given or "maxThreads" not in given else "maxThreads"]
    is_alone = given.get("multithreaded") is False and not given.get("multiprocess") and "maxChildren" not in given
    min_spare = max(1, numbers["minSpare"])
    max_spare = max(min_spare, numbers["maxSpare"])
    most = min(max(max_spare, most), CHILDREN_MOST)
    if is_alone:  # the application must not be called twice at once
        min_spare = max_spare = most = 1
    return Arguments(
        address=_address(given.get("bindAddress")),
        umask=_umask(given.get("umask")),
        force_cgi=bool(given.get("forceCGI")),
        min_spare=min(min_spare, most),
        max_spare=min(max_spare, most),
        max_children=most,
        max_requests=numbers["maxRequests"],
        notice=_notice(given),
    )


def _by_name(positional: Sequence[Any], keywords: Mapping[str, Any]) -> dict[str, Any]:
    order = THREADED if positional and isinstance(positional[0], int) else PREFORKED
    if len(positional) > len(order):
        count = len(positional) + 2
        raise TypeError(f"WSGIServer() takes at most {len(order) + 2} positional arguments, found {count}")
    given = dict(zip(order, positional, strict=False))
    for name, value in keywords.items():
        if name not in THREADED and name not in NUMBERS and name not in UNUSED:
            raise TypeError(f"WSGIServer() got an unexpected keyword argument {name!r}")
        if name in given:
            raise TypeError(f"WSGIServer() got multiple values for argument {name!r}")
        given[name] = value
    return given


def _number(name: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name}: expected a whole number, found {value!r}")
    if value < 0:
        raise ValueError(f"{name}: expected 0 or more, found {value}")
    return value


def _umask(value: Any) -> int | None:
    if value is None:
        return None
    if _number("umask", value) > 0o777:
        raise ValueError(f"umask: expected at most 0o777, found {value:#o}")
    return int(value)


def _address(value: Any) -> Address | None:
    if value is None:
        return None
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, str):
        if not value:
            raise ValueError("bindAddress: the path of the socket is empty")
        return value
    if not isinstance(value, tuple | list) or len(value) != 2 or not isinstance(value[0], str):
        raise TypeError(f"bindAddress: expected a path, or (host, port), found {value!r}")
    if _number("bindAddress: port", value[1]) > 65535:
        raise ValueError(f"bindAddress: there is no port {value[1]}")
    return value[0], value[1]


def _notice(given: Mapping[str, Any]) -> str:
    found = [name for name in UNUSED if given.get(name) not in (None, False, ())]
    texts = [f"{name} ({UNUSED[name]})" if UNUSED[name] else name for name in found]
    return f"WSGIServer: without effect under pyfpm: {', '.join(texts)}" if texts else ""
