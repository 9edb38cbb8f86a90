"""Checks what this machine has at the paths of a configuration: directories must exist, files must be writable. Pure.

What is missing for a pool is an obstacle for that pool alone: its user can remove it, or put something in its place.
"""

from __future__ import annotations

from posixpath import dirname, normpath

from fpm.config.model import UnixAddress
from fpm.config.permissions import EXECUTE, WRITE, describe, obstacle
from fpm.config.section import Diagnostics, Section
from fpm.config.system import System

_APPENDED = ("error_log", "access.log", "slowlog")
"""Files that are kept if they exist. Others are created again, so their directory must be writable."""


def check_global_paths(section: Section, system: System, report: Diagnostics, prefix: str) -> None:
    """Check the paths of `[global]`, without which there is no daemon."""
    if not system.is_directory(prefix):
        report.error(
            section.location, "global", "prefix", f"the prefix '{prefix}' does not exist or is not a directory"
        )
    names = ("pid", "control") if section.values["error_log"] == "syslog" else ("pid", "error_log", "control")
    for name, sentence in _unusable(section, system, *names, "status_listen"):
        report.add_error(section, name, f"{sentence}. {_CONTROL_RULE}" if name == "control" else sentence)


_CONTROL_RULE = "The user that starts pyfpm makes the control socket there, for root and itself only"


def check_pool_paths(pool: Section, system: System, report: Diagnostics) -> None:
    """Check the paths of a pool outside of its application."""
    values = pool.values
    if pool.is_set("prefix") and not system.is_directory(values["prefix"]):
        report.add_obstacle(
            pool,
            "prefix",
            f"the prefix '{values['prefix']}' does not exist or is not a directory. Create it, or correct the path",
        )
    for name, sentence in _unusable(pool, system, "access.log", "slowlog", "listen", "pm.status_listen"):
        report.add_obstacle(pool, name, sentence)
    _check_lists(pool, system, report)
    chroot, chdir, rootfs = values["chroot"], values["chdir"], values["rootfs"]
    root = rootfs or chroot
    if chroot and pool.is_valid("chroot") and not system.is_directory(chroot):
        sentence = f"the chroot path '{chroot}' does not exist or is not a directory. Create it"
        report.add_obstacle(pool, "chroot", sentence)
    if chdir and pool.is_valid("chroot", "rootfs", "chdir") and not system.is_directory((root or "") + chdir):
        within = f" within the {'rootfs' if rootfs else 'chroot'} path '{root}' ('{root}{chdir}')" if root else ""
        sentence = f"the chdir path '{chdir}'{within} does not exist or is not a directory"
        report.add_obstacle(pool, "chdir", sentence)
    if rootfs and pool.is_valid("rootfs") and not system.is_directory(rootfs):
        report.add_obstacle(pool, "rootfs", f"'{rootfs}' is not the absolute path of a directory")


def _check_lists(pool: Section, system: System, report: Diagnostics) -> None:
    """Check that the file system of the socket has access control lists, if one is wanted."""
    name = next((name for name in ("listen.acl_users", "listen.acl_groups") if pool.values[name]), None)
    address = pool.values["listen"]
    if name is None or not isinstance(address, UnixAddress) or not pool.is_valid("listen", name):
        return
    lacking = system.without_lists(dirname(address.path))
    if lacking:
        report.add_obstacle(pool, name, f"'{address}' cannot have an access control list: {lacking}")


def _unusable(section: Section, system: System, *names: str) -> list[tuple[str, str]]:
    """List those of these directives whose file or socket cannot be made where it should be, with the reason."""
    found = []
    for name in names:
        value = section.values[name]
        path = value.path if isinstance(value, UnixAddress) else value
        if isinstance(path, str) and path and section.is_valid(name):
            sentence = _examine(system, name, path, is_socket=isinstance(value, UnixAddress))
            found += [(name, sentence)] if sentence else []
    return found


def _examine(system: System, name: str, path: str, *, is_socket: bool) -> str:
    kind = system.kind(path)
    if kind == "directory":
        return f"'{path}' is a directory. Name a file in it"
    if kind == "file" and name in _APPENDED:
        return _examine_writing(system, path)
    if kind == "other" and not is_socket:
        return ""
    directory = dirname(path)
    if system.is_directory(directory):
        return _examine_writing(system, directory)
    if system.is_runtime_directory(normpath(directory)):
        return ""
    return f"the directory '{directory}' does not exist. Create it, or correct the path"


def _examine_writing(system: System, path: str) -> str:
    """Say why the daemon cannot write a file; root may write anywhere."""
    if system.is_root:
        return ""
    want = WRITE | EXECUTE if system.is_directory(path) else WRITE
    blocked = obstacle(system.components(path, ""), *system.own_identity(), want)
    # Mode 0: a link in /proc/self/fd may name no path, and opening it works all the same.
    if not blocked or not blocked.mode:
        return ""
    return f"this user cannot write to '{path}': {describe(blocked)}. Choose another path"


def check_openers(section: Section, system: System, report: Diagnostics) -> None:
    """Say who opens a log, or could replace a socket, where others than root can write (fpm.paths.place)."""
    identity = section.values.get("identity")
    groups = identity.groups if identity is not None and identity.uid else None
    for name in _OPENED[section.scope]:
        value = section.values[name]
        path = value.path if isinstance(value, UnixAddress) else value
        if not isinstance(path, str) or not path or path == "syslog" or not section.is_valid(name):
            continue
        is_socket = isinstance(value, UnixAddress)
        opener = system.opener(path, None if is_socket else groups)
        if opener.is_pool and identity is not None:
            sentence = _AS_USER.format(path=path, user=identity.user)
            report.notice(section.location_of(name), section.name, name, sentence)
        elif is_socket and (opener.refusal or opener.warning):
            sentence = (
                f"{opener.refusal or opener.warning}, so others can put a socket of their own in the place of '{path}'"
            )
            report.notice(section.location_of(name), section.name, name, sentence)
        elif opener.warning:
            sentence = (
                f"{opener.warning}, so '{path}' is used only while it is a file of root's own. Choose another path"
            )
            report.notice(section.location_of(name), section.name, name, sentence)
        elif opener.refusal:
            # What a pool's user does to his files is no mistake of the configuration.
            complain = report.add_error if section.scope == "global" else report.add_obstacle
            complain(section, name, f"'{path}' cannot be used safely: {opener.refusal}. Choose another path")


_OPENED = {
    "global": ("pid", "error_log", "control", "status_listen"),
    "pool": ("access.log", "slowlog", "listen", "pm.status_listen"),
}
_AS_USER = "'{path}' lies where user {user} may make and remove files, so it is opened as {user}, not as root"
