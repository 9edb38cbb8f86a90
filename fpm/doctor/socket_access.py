"""Can the web server's user open a pool's socket: every directory on the way, then the socket itself. Pure."""

from __future__ import annotations

import stat
from collections.abc import Mapping

from fpm.config.model import AbstractAddress, PoolConfig, TcpAddress, UnixAddress
from fpm.config.permissions import EXECUTE, WRITE, PathComponent, describe, obstacle, permits
from fpm.doctor.findings import Finding
from fpm.doctor.shell import Shell, join
from fpm.frozen import dataclass
from fpm.paths.access_lists import AccessList, pack_list, unpack_list

CHECK = "socket"


@dataclass(frozen=True, slots=True)
class WebUser:
    """Whom the web server runs as."""

    name: str
    uid: int
    group: str
    """Its primary one."""
    gids: tuple[int, ...]
    source: str
    """How that is known, as in "user of nginx's configuration"."""

    def __str__(self) -> str:
        return f"{self.name} ({self.source})"


@dataclass(frozen=True, slots=True)
class SocketFacts:
    """What is at the path of a pool's socket."""

    way: tuple[PathComponent, ...]
    """Its directories; the last has mode 0 if it is not there, or cannot be seen."""
    socket: PathComponent | None
    """None: there is none now."""
    own: tuple[int, int]
    """User and group that the daemon runs as, or would."""
    lists: bool
    """The file system of the directory has access control lists."""
    is_made: bool
    """pyfpm makes the directory itself if it is missing."""
    names: Mapping[int, str]
    """Of users, by their numbers; `groups` likewise."""
    groups: Mapping[int, str]


def judge(pool: PoolConfig, facts: SocketFacts | None, web: WebUser | None, shell: Shell) -> list[Finding]:
    """Judge one pool; without facts it does not listen at a path."""
    address = pool.listen
    if isinstance(address, AbstractAddress):
        text = f"{address} is an abstract socket: nginx cannot connect to it, HAProxy can where it knows abnsz{address}"
        return [Finding(CHECK, "note", text, pool.name)]
    if isinstance(address, TcpAddress) or facts is None:
        return []
    if web is None:
        text = "the web server's user is not known, so nothing can be said about the socket. Give it by --web-user NAME"
        return [Finding(CHECK, "note", text, pool.name)]
    found = _judge_way(pool, facts, web, shell)
    return found or _judge_socket(pool, address, facts, web, shell)


def _judge_way(pool: PoolConfig, facts: SocketFacts, web: WebUser, shell: Shell) -> list[Finding]:
    missing = next((one for one in facts.way if not one.mode), None)
    if missing is not None:
        if facts.is_made:
            return []
        if facts.own[0] != 0:
            text = f"{missing.path} is not there, or cannot be seen by this user. Run pyfpm doctor as root to know"
            return [Finding(CHECK, "note", text, pool.name)]
        command = join("install", "-d", "-m", "0755", missing.path)
        return [Finding(CHECK, "problem", f"there is no directory {missing.path}", pool.name, commands=(command,))]
    found = []
    way = list(facts.way)
    while (blocked := obstacle([one for one in way if stat.S_ISDIR(one.mode)], web.uid, web.gids, EXECUTE)) is not None:
        way.remove(blocked)
        text = f"{web} cannot pass {blocked.path}, on the way to the socket: {describe(blocked)}"
        owner = "" if blocked.uid in (0, facts.own[0]) else facts.names.get(blocked.uid, "")
        command = shell.let_search(blocked.path, web.name, owner=owner, has_lists=facts.lists)
        found.append(Finding(CHECK, "problem", text, pool.name, commands=(command,)))
    return found


def _judge_socket(
    pool: PoolConfig, address: UnixAddress, facts: SocketFacts, web: WebUser, shell: Shell
) -> list[Finding]:
    intended = _intended(pool, address, facts)
    may_later = permits(intended, web.uid, web.gids, WRITE)
    if facts.socket is not None and not permits(facts.socket, web.uid, web.gids, WRITE):
        if may_later:
            text = (
                f"{web} cannot connect to {address}: the socket has mode {stat.S_IMODE(facts.socket.mode):04o}, which "
                "is not that of the configuration. It takes effect with a reload"
            )
            return [Finding(CHECK, "problem", text, pool.name, commands=(shell.reload(pool.name),))]
    elif facts.socket is not None or may_later:
        return []
    text = f"{web} cannot connect to {address}: {_describe(pool, intended, facts)}"
    lines = _remedy(pool, facts, web)
    return [Finding(CHECK, "problem", text, pool.name, lines=lines, commands=(shell.reload(pool.name),))]


def _intended(pool: PoolConfig, address: UnixAddress, facts: SocketFacts) -> PathComponent:
    """Return the socket as the configuration makes it."""
    acl: AccessList | None = None
    owner, group = facts.own
    if pool.listen_acl_users or pool.listen_acl_groups:
        acl = unpack_list(pack_list(pool.listen_mode, pool.listen_acl_users, pool.listen_acl_groups))
    else:
        owner = owner if pool.listen_owner is None else pool.listen_owner
        group = group if pool.listen_group is None else pool.listen_group
    return PathComponent(address.path, stat.S_IFSOCK | pool.listen_mode, owner, group, acl is not None, acl)


def _describe(pool: PoolConfig, socket: PathComponent, facts: SocketFacts) -> str:
    if socket.acl is not None:
        return "it is in neither listen.acl_users nor listen.acl_groups"
    owner, group = facts.names.get(socket.uid, str(socket.uid)), facts.groups.get(socket.gid, str(socket.gid))
    return f"it belongs to {owner}:{group} and has mode {pool.listen_mode:04o}"


def _remedy(pool: PoolConfig, facts: SocketFacts, web: WebUser) -> tuple[str, ...]:
    """Return the directives that let the user connect, and as few others as possible."""
    if pool.listen_acl_users or pool.listen_acl_groups:
        names = " ".join([*map(str, pool.listen_acl_users), web.name])
        return (f"listen.acl_users = {names}",)
    may_give = facts.own[0] == 0 or facts.own[0] == web.uid
    if may_give:
        mode = pool.listen_mode | 0o660
        return (f"listen.group = {web.group}", *([f"listen.mode = {mode:04o}"] if mode != pool.listen_mode else []))
    return (f"listen.acl_users = {web.name}",) if facts.lists else ("listen.mode = 0666",)


def hint_of_selinux(enforcing: bool) -> list[Finding]:
    """Say that more than the rights of files decides here."""
    if not enforcing:
        return []
    text = (
        'SELinux is enforcing, and what it forbids is not looked at here. If the web server gets "permission denied" '
        "from a socket, `ausearch -m avc -ts recent` says why"
    )
    return [Finding(CHECK, "note", text)]
