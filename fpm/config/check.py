"""Rules between directives that need only their values. The sentences are PHP-FPM's where it has the rule. Pure.

Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from posixpath import basename, dirname, join

from fpm.config.model import AbstractAddress, ListenAddress, TcpAddress, UnixAddress
from fpm.config.section import Diagnostics, Section
from fpm.config.system import System
from fpm.log.access import compile_format


def check_global(section: Section, report: Diagnostics) -> None:
    threshold, interval = section.values["emergency_restart_threshold"], section.values["emergency_restart_interval"]
    names = ("emergency_restart_threshold", "emergency_restart_interval")
    if section.is_valid(*names) and bool(threshold) != bool(interval):
        name, other = names if threshold else names[::-1]
        report.notice(section.location_of(name), "global", name, f"has no effect without {other}")


def check_manager(pool: Section, report: Diagnostics) -> None:
    """Check the numbers of workers that the process manager needs, and compute the rest."""
    values = pool.values
    _check_memory(pool, report)
    most = values["pm.max_children"] or 0
    if values["pm.max_requests_jitter"] is None:
        values["pm.max_requests_jitter"] = values["pm.max_requests"] // 10
    if values["pm"] == "dynamic":
        if pool.is_valid(*_SPARE):
            _check_dynamic(pool, report)
        return
    values["pm.start_servers"] = most if values["pm"] == "static" else 0
    values["pm.min_spare_servers"] = values["pm.max_spare_servers"] = 0
    timeout = values["pm.process_idle_timeout"]
    if values["pm"] == "ondemand" and pool.is_valid("pm.process_idle_timeout") and timeout <= 0:
        report.add_error(
            pool, "pm.process_idle_timeout", f"pm.process_idle_timeout({timeout:g}s) must be greater than 0s"
        )


_MEMORY = (("pm.max_memory", "pm.max_memory_hard"), ("pm.memory_soft", "pm.memory_hard"))
"""Soft and hard limits."""


def _check_memory(pool: Section, report: Diagnostics) -> None:
    for soft, hard in _MEMORY:
        low, high = pool.values[soft], pool.values[hard]
        if pool.is_valid(soft, hard) and 0 < high <= low:
            sentence = f"{hard}({high}) must be greater than {soft}({low}). Raise it, or lower {soft}"
            report.add_error(pool, hard, sentence)


_SPARE = ("pm.start_servers", "pm.min_spare_servers", "pm.max_spare_servers")


def _check_dynamic(pool: Section, report: Diagnostics) -> None:
    values = pool.values
    most, start, low, high = (values[name] for name in ("pm.max_children", *_SPARE))
    for name, value in (("pm.min_spare_servers", low), ("pm.max_spare_servers", high)):
        if not value:
            shown = "" if value is None else f"({value})"
            report.add_error(pool, name, f"{name}{shown} must be a positive value. pm = dynamic needs it")
    if not pool.is_valid("pm.max_children", *_SPARE) or most is None:
        return
    spare = f"pm.min_spare_servers({low}) and pm.max_spare_servers({high})"
    if low > most or high > most:
        report.add_error(
            pool,
            "pm.min_spare_servers" if low > most else "pm.max_spare_servers",
            f"{spare} cannot be greater than pm.max_children({most}). Lower them, or raise pm.max_children",
        )
    elif high < low:
        report.add_error(
            pool,
            "pm.max_spare_servers",
            f"pm.max_spare_servers({high}) must not be less than pm.min_spare_servers({low})",
        )
    elif start is None:
        values["pm.start_servers"] = low + (high - low) // 2
    elif not low <= start <= high:
        report.add_error(
            pool,
            "pm.start_servers",
            f"pm.start_servers({start}) must not be less than pm.min_spare_servers({low}) and not greater than "
            f"pm.max_spare_servers({high})",
        )


def check_pages(pool: Section, report: Diagnostics) -> None:
    """Check the status and ping pages, and who may connect."""
    values = pool.values
    if not values["ping.response"]:
        report.add_error(
            pool, "ping.response", "the ping response page '' is not long enough. Write at least one character"
        )
    same = values["ping.path"] and values["ping.path"] == values["pm.status_path"]
    if same and pool.is_valid("ping.path", "pm.status_path"):
        report.add_error(pool, "ping.path", f"'{values['ping.path']}' is also pm.status_path. Choose another path")
    if values["listen.allowed_clients"] and isinstance(values["listen"], UnixAddress | AbstractAddress):
        report.notice(
            pool.location_of("listen.allowed_clients"),
            pool.name,
            "listen.allowed_clients",
            "is ignored for a Unix socket. listen.mode, listen.owner and listen.group control who may connect"
            if isinstance(values["listen"], UnixAddress)
            else "is ignored for an abstract Unix socket. Listen at a path, and set listen.group",
        )


TOLD = (
    *("access.format", "access.suppress_path", "app", "listen.allowed_clients", "ping.path", "ping.response"),
    *("pm.status_allow", "pm.status_path", "script_name"),
)
"""What running workers are told in one message."""
TOLD_MAX = 60_000
"""Bytes of it, as JSON: a message has 64 KiB (fpm.protocol.wire.MESSAGE_MAX)."""


def check_told(pool: Section, report: Diagnostics) -> None:
    """Check that the workers can be told all that they need."""
    sizes = {name: _size_as_json(pool.values[name]) for name in TOLD if pool.is_valid(name)}
    total = sum(sizes.values())
    if total > TOLD_MAX:
        longest = max(sizes, key=sizes.__getitem__)
        report.add_error(
            pool,
            longest,
            f"{', '.join(TOLD)} have {total} bytes together, and at most {TOLD_MAX} can be sent to a worker. Shorten "
            f"{longest}, which has {sizes[longest]}",
        )


def _size_as_json(value: object) -> int:
    return len(json.dumps([str(item) for item in value] if isinstance(value, tuple | list) else str(value)))


ENV_ONE_MAX = 131_072
"""Bytes of NAME=VALUE and its NUL: MAX_ARG_STRLEN of execve(2), 32 pages of 4 KiB."""
ENV_ALL_MAX = 1_500_000
"""Bytes of all of them: execve(2) takes a quarter of the stack's limit, usually 2 MiB, with the arguments."""
_NO_VARIABLE = re.compile(r"""[\s"'=]""")


def check_env(pool: Section, report: Diagnostics) -> None:
    """Check that a process can be executed with the pool's variables."""
    total = 0
    for name, value in pool.values["env"]:
        size = len(f"{name}={value}".encode("utf-8", "surrogateescape")) + 1
        total += size
        if not name or _NO_VARIABLE.search(name):
            sentence = f"'{name}' is no name of a variable. Write env[NAME] = value, without quotes or spaces in NAME"
        elif size > ENV_ONE_MAX:
            sentence = (
                f"{name} has {size} bytes, and the kernel takes at most {ENV_ONE_MAX} with its name. Put it in a file"
            )
        else:
            continue
        report.add_error(pool, "env", sentence, pool.location_of_key("env", name))
    if total > ENV_ALL_MAX and pool.is_valid("env"):
        sentence = f"the variables have {total} bytes together, and at most {ENV_ALL_MAX} are sure to work. Use a file"
        report.add_error(pool, "env", sentence)


def check_logs(pool: Section, report: Diagnostics) -> None:
    """Check the access log's format, and the time limits against each other."""
    values = pool.values
    if pool.is_valid("access.format"):
        try:
            compile_format(values["access.format"])
        except ValueError as error:
            report.add_error(
                pool, "access.format", f"wrong format for access.format '{values['access.format']}': {error}"
            )
    slow, end = values["request_slowlog_timeout"], values["request_terminate_timeout"]
    if not pool.is_valid("request_slowlog_timeout", "request_terminate_timeout"):
        return
    if slow and not values["slowlog"] and pool.is_valid("slowlog"):
        report.add_error(
            pool,
            "request_slowlog_timeout",
            "'slowlog' must be specified for use with 'request_slowlog_timeout'. Write slowlog = PATH",
        )
    elif end and slow > end:
        report.add_error(
            pool,
            "request_slowlog_timeout",
            f"'request_slowlog_timeout' ({slow:g}) can't be greater than 'request_terminate_timeout' ({end:g})",
        )
    if values["request_slowlog_interval"] and not slow:
        where = pool.location_of("request_slowlog_interval")
        report.notice(where, pool.name, "request_slowlog_interval", "has no effect without request_slowlog_timeout")


ADDRESSES = ("control", "pid", "listen", "pm.status_listen", "status_listen")
"""Directives that name what only one of them can have: a listening address, or the path of a file that is made anew."""
Holder = tuple[Section, str]
"""A section, and the directive of it that has an address."""


def check_together(sections: Iterable[Section], system: System, report: Diagnostics) -> None:
    """Check that nothing has the address of something else, however it is written."""
    unix: dict[str, Holder] = {}
    ports: dict[int, list[tuple[str, Holder]]] = {}
    for section in sections:
        for name in ADDRESSES:
            address = _address(section, name)
            if address is not None and section.is_valid(name):
                other = _taken(address, (section, name), system, unix, ports)
                if other is not None:
                    _refuse_taken(report, (section, name), address, other, system)


def _address(section: Section, name: str) -> ListenAddress | None:
    value: ListenAddress | str | None = section.values.get(name)
    return (UnixAddress(value) if value else None) if isinstance(value, str) else value


def _refuse_taken(report: Diagnostics, holder: Holder, address: ListenAddress, other: Holder, system: System) -> None:
    theirs = _address(*other)
    if isinstance(address, UnixAddress) and other[0].scope == "pool" and theirs is not None and theirs != address:
        # The same directory by a link, which is no mistake of the text: whoever owns the link is the one in the way.
        if system.real(dirname(address.path)) == dirname(address.path):
            holder, address, other = other, theirs, holder
        refuse = report.add_obstacle
    else:
        refuse = report.add_error
    section, name = holder
    user = "in [global]" if other[0].scope == "global" else f"in another pool '{other[0].name}'"
    if other[0] is section:
        user = f"in {'[global]' if section.scope == 'global' else 'this pool'}"
    if other[1] in ("control", "pid"):
        user = f"{user} for {other[1]}"
    refuse(
        section,
        name,
        f"unable to set {'listen address' if 'listen' in name else name} as it's already used {user} ({address}, "
        f"{other[0].location_of(other[1])}). Each {'pool' if 'listen' in name else 'of them'} needs its own",
    )


def _taken(
    address: ListenAddress,
    holder: Holder,
    system: System,
    unix: dict[str, Holder],
    ports: dict[int, list[tuple[str, Holder]]],
) -> Holder | None:
    """Return who has this address already, or else record it for `holder`."""
    if not isinstance(address, TcpAddress):
        # On most systems /var/run is a link to /run.
        path = str(address)
        if isinstance(address, UnixAddress):
            path = join(system.real(dirname(path)), basename(path))
        other = unix.get(path)
        unix.setdefault(path, holder)
        return other
    for host, taken_by in ports.setdefault(address.port, []):
        if _overlap(host, address.host):
            return taken_by
    ports[address.port].append((address.host, holder))
    return None


def _overlap(host: str, other: str) -> bool:
    """Tell whether one port cannot be bound at both addresses (ip(7), ipv6(7)); "" means all addresses."""
    if host == other or "" in (host, other):
        return True
    if (":" in host) != (":" in other):
        return "::" in (host, other)  # it serves both families
    return "::" in (host, other) or "0.0.0.0" in (host, other)
