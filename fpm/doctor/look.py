"""`python -m fpm.doctor.look REQUEST`: looks at the paths of pools, and judges them. One line of JSON for each pool.

A process of its own, for a path may lead to a file system that does not answer: whoever waits ends it.
"""

from __future__ import annotations

import json
import os
import re
import stat
import sys
from collections.abc import Iterator
from os.path import dirname, join
from shutil import which

from fpm.config.load import load
from fpm.config.local_paths import walk_path
from fpm.config.local_system import LocalSystem, group_name, user_name
from fpm.config.model import PoolConfig, UnixAddress
from fpm.config.permissions import PathComponent
from fpm.doctor import interpreter, logs, socket_access
from fpm.doctor.findings import Finding, as_values
from fpm.doctor.interpreter import VenvFacts, read_settings
from fpm.doctor.logs import LogFacts
from fpm.doctor.request import read_request
from fpm.doctor.socket_access import SocketFacts
from fpm.paths.mounts import has_access_lists

SETTINGS_MAX = 65536


def main(arguments: list[str]) -> int:
    """Answer the request; return the exit status."""
    request = read_request(arguments[0])
    is_root = os.geteuid() == 0
    source = request.source
    config = load(source.file, prefix=source.prefix, environ=os.environ, is_root=is_root, allow_root=source.allow_root)
    system = LocalSystem(environ=os.environ, is_root=is_root, allow_root=source.allow_root)
    pools = {pool.name: pool for pool in config.pools}
    for pool in [pools[name] for name in request.pools if name in pools]:
        found: list[Finding] = socket_access.judge(pool, look_at_socket(pool, system), request.web, request.shell)
        found += interpreter.judge(pool, look_at_venv(pool, system))
        found += logs.judge(pool, list(look_at_logs(pool, system)), request.shell)
        line = json.dumps({"pool": pool.name, "findings": [as_values(one) for one in found]})
        os.write(1, line.encode() + b"\n")
    return 0


def look_at_socket(pool: PoolConfig, system: LocalSystem) -> SocketFacts | None:
    """Look at the path of the socket; None if the pool does not listen at a path."""
    if not isinstance(pool.listen, UnixAddress):
        return None
    path = pool.listen.path
    way = tuple(walk_path(dirname(path), ""))
    last = list(walk_path(path, ""))[-1]
    directory = way[-1].path if way[-1].mode else "/"
    uids = {os.geteuid(), pool.listen_owner or 0, *(one.uid for one in way)}
    return SocketFacts(
        way=way,
        socket=last if stat.S_ISSOCK(last.mode) else None,
        own=(os.geteuid(), os.getegid()),
        lists=has_access_lists(directory),
        is_made=system.is_runtime_directory(dirname(path)),
        names={uid: user_name(uid) for uid in uids},
        groups={gid: group_name(gid) for gid in (os.getegid(), pool.listen_group or 0)},
    )


def look_at_venv(pool: PoolConfig, system: LocalSystem) -> VenvFacts | None:
    """Look at the pool's virtual environment; None if it has none, or one in a root of its own."""
    if (pool.chroot or pool.rootfs) and not pool.chroot_automount:
        return None
    directory = dirname(dirname(pool.python))
    text = _read_settings(join(directory, "pyvenv.cfg"))
    if text is None:
        return None
    last = list(walk_path(pool.python, ""))[-1]
    settings = read_settings(text)
    uid = os.stat(directory).st_uid
    version = system.interpreter(pool.python, "").version if last.mode else None
    return VenvFacts(
        directory=directory,
        settings=settings,
        has_home=os.path.isdir(settings.get("home", "/")),
        lost="" if last.mode else os.path.realpath(pool.python),
        version=version,
        libraries=tuple(_libraries(join(directory, "lib"))),
        owner="" if uid in (0, os.geteuid()) else user_name(uid),
        maker=_maker(version),
        requirements=_requirements(pool),
    )


def _read_settings(path: str) -> str | None:
    """Read a small file of another user: no link, no pipe, and not more than there is room for."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        is_file = stat.S_ISREG(os.fstat(fd).st_mode)
        return os.read(fd, SETTINGS_MAX).decode("utf-8", "replace") if is_file else None
    except OSError:
        return None
    finally:
        os.close(fd)


def _libraries(directory: str) -> Iterator[tuple[int, int]]:
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return
    for name in names:
        found = re.fullmatch(r"python3\.(\d{1,3})t?", name)
        if found and os.path.isdir(join(directory, name, "site-packages")):
            yield 3, int(found[1])


def _maker(version: tuple[int, int] | None) -> str:
    """Find an interpreter that makes virtual environments, of the same version if there is one."""
    names = [f"python{version[0]}.{version[1]}"] if version else []
    found = [which(name, path="/usr/local/bin:/usr/bin:/bin") for name in [*names, "python3"]]
    return next((path for path in found if path), sys.executable)


def _requirements(pool: PoolConfig) -> str:
    places = [join(base, "requirements.txt") for base in (pool.chdir, pool.prefix) if base]
    return next((path for path in places if os.path.isfile(path)), "")


def look_at_logs(pool: PoolConfig, system: LocalSystem) -> Iterator[LogFacts]:
    """Look at the paths of the pool's logs."""
    identity = pool.identity
    groups = identity.groups if identity is not None and identity.uid else None
    for directive, path in (("access.log", pool.access_log), ("slowlog", pool.slowlog)):
        if not path or path == "syslog":
            continue
        opener = system.opener(path, groups)
        components: tuple[PathComponent, ...] = tuple(walk_path(path, ""))
        yield LogFacts(directive, path, opener.is_pool, opener.refusal, opener.warning, components)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
