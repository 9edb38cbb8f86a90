"""Resolves the users and groups that pools run as and that own their sockets. Pure."""

from __future__ import annotations

from fpm.config.model import AbstractAddress, Identity, UnixAddress
from fpm.config.section import Diagnostics, Section
from fpm.config.system import Account, System

_ID_MAX = 2**32 - 2
"""uid_t and gid_t are 32 bits wide, and -1 means "do not change"."""


def resolve_identity(pool: Section, system: System, report: Diagnostics) -> None:
    """Set `identity` from `user`, `group` and `supplementary_groups`."""
    pool.values["identity"] = None
    if not pool.is_valid("user", "group"):
        return
    if not system.is_root:
        for name in ("user", "group", "supplementary_groups"):
            if pool.values[name]:
                sentence = f"'{name}' directive is ignored when pyfpm is not running as root"
                report.notice(pool.location_of(name), pool.name, name, sentence)
        return
    account = _account(pool, system, report)
    if account is None:
        return
    gid = _gid(pool, system, report, account)
    if gid is None:
        return
    if not system.allow_root and (account.uid == 0 or gid == 0):
        report.add_error(
            pool,
            "user" if account.uid == 0 else "group",
            "please specify user and group other than root. To run a pool as root anyway, start pyfpm with -R",
        )
        return
    groups = _supplementary(pool, system, report, account, gid)
    if groups is not None:
        names = tuple((number, name) for number in groups if (name := system.group_name(number)))
        pool.values["identity"] = Identity(account.uid, gid, groups, account.name, account.home or "/", names)


NO_GROUPS = ("none",)
"""Value of `supplementary_groups` that leaves the primary group alone."""


def _supplementary(
    pool: Section, system: System, report: Diagnostics, account: Account, gid: int
) -> tuple[int, ...] | None:
    """Return all groups of the pool's processes, the primary one among them; None after an error."""
    names = pool.values["supplementary_groups"]
    if not names:
        return system.memberships(account, gid)
    groups = {gid}
    for name in names if names != NO_GROUPS else ():
        found = _group(pool, system, report, "supplementary_groups", name)
        if found is None:
            return None
        groups.add(found)
    if 0 in groups - {gid} and not system.allow_root:
        sentence = "the group root may read and write files of the system. Leave it out; to use it anyway, start pyfpm"
        report.add_error(pool, "supplementary_groups", f"{sentence} with -R")
        return None
    return tuple(sorted(groups))


def _account(pool: Section, system: System, report: Diagnostics) -> Account | None:
    user = pool.values["user"]
    if not user:
        if system.allow_root:
            return system.user("0")
        report.add_error(pool, "user", "user has not been defined. pyfpm runs as root: write user = NAME")
        return None
    account = system.user(user)
    if account is None:
        report.add_error(pool, "user", f"cannot get uid for user '{user}'. No such user: create it with adduser(8)")
    elif account.uid > _ID_MAX:
        report.add_error(pool, "user", f"{user} is too large for a user id")
    else:
        return account
    return None


def _gid(pool: Section, system: System, report: Diagnostics, account: Account) -> int | None:
    group = pool.values["group"]
    if group:
        return _group(pool, system, report, "group", group)
    if account.known:
        return account.gid
    report.add_error(
        pool, "group", f"user {account.uid} is not in the user database, so it has no primary group. Write group = NAME"
    )
    return None


def _group(pool: Section, system: System, report: Diagnostics, name: str, text: str) -> int | None:
    gid = system.group(text)
    if gid is None:
        report.add_error(pool, name, f"cannot get gid for group '{text}'. No such group: create it with addgroup(8)")
    elif gid > _ID_MAX:
        report.add_error(pool, name, f"{text} is too large for a group id")
        return None
    return gid


def resolve_socket_owner(pool: Section, system: System, report: Diagnostics) -> None:
    """Replace `listen.owner` and `listen.group` by numbers, and check the names in the access control lists."""
    values = pool.values
    resolve_owner(pool, system, report, "listen")
    for name in ("listen.acl_users", "listen.acl_groups"):
        if pool.is_valid(name):
            found = (_number(pool, system, report, name, text) for text in values[name])
            values[name] = tuple(dict.fromkeys(number for number in found if number is not None))
    if isinstance(values["listen"], UnixAddress):
        _tell_of_list(pool, report)
        _warn_of_closed_socket(pool, system, report)
    elif isinstance(values["listen"], AbstractAddress) and pool.is_valid("listen"):
        _tell_of_no_file(pool, report)


def _number(pool: Section, system: System, report: Diagnostics, name: str, text: str) -> int | None:
    """Look up one name of an access control list."""
    if name == "listen.acl_groups":
        return _group(pool, system, report, name, text)
    account = system.user(text)
    if account is None or account.uid > _ID_MAX:
        report.add_error(pool, name, f"cannot get uid for user '{text}'. No such user")
        return None
    return account.uid


_LISTS = ("listen.acl_users", "listen.acl_groups")


def _tell_of_list(pool: Section, report: Diagnostics) -> None:
    """Say what an access control list makes void."""
    lists = [name for name in _LISTS if pool.values[name]]
    for name in ("listen.owner", "listen.group"):
        if lists and pool.is_set(name) and pool.is_valid(name):
            sentence = f"is ignored, as {lists[0]} is set. Add the name to {_LISTS[name == 'listen.group']} instead"
            report.notice(pool.location_of(name), pool.name, name, sentence)


def _tell_of_no_file(pool: Section, report: Diagnostics) -> None:
    """Say who can connect to a socket that has no owner and no mode."""
    report.notice(
        pool.location_of("listen"),
        pool.name,
        "listen",
        f"every process in this network namespace can connect to {pool.values['listen']}: an abstract socket has no "
        "owner and no mode. If other users have accounts here, listen at a path, as in /run/pyfpm/NAME.sock",
    )
    for name in ("listen.owner", "listen.group", "listen.mode", *_LISTS):
        if pool.is_set(name) and pool.is_valid(name):
            report.notice(
                pool.location_of(name), pool.name, name, "is ignored for an abstract socket, which has no file"
            )


def resolve_owner(section: Section, system: System, report: Diagnostics, socket: str) -> None:
    """Replace SOCKET.owner and SOCKET.group by numbers."""
    values = section.values
    for_owner, for_group = f"{socket}.owner", f"{socket}.group"
    owner, group = values[for_owner], values[for_group]
    if owner and section.is_valid(for_owner):
        account = system.user(owner)
        values[for_owner] = account.uid if account else None
        if account is None or account.uid > _ID_MAX:
            report.add_error(section, for_owner, f"cannot get uid for user '{owner}'. No such user")
    if group and section.is_valid(for_group):
        values[for_group] = _group(section, system, report, for_group, group)


def _warn_of_closed_socket(pool: Section, system: System, report: Diagnostics) -> None:
    """Warn of a socket that only root can use, the most frequent cause of "permission denied" in a web server's log."""
    values = pool.values
    if not system.is_root or any(values[name] for name in _LISTS):
        return
    if not pool.is_valid("listen", "listen.mode", "listen.owner", "listen.group") or values["listen.mode"] & 0o002:
        return
    if not (values["listen.owner"] or values["listen.group"]):
        report.notice(
            pool.location_of("listen"),
            pool.name,
            "listen",
            "only root can connect to this socket. Set listen.owner, listen.group or listen.acl_users to the web "
            "server's user or group, as in listen.group = www-data",
        )
