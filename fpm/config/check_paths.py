"""Makes paths absolute and checks them: directories must exist, socket paths must not be too long. Pure."""

from __future__ import annotations

from posixpath import dirname, join, normpath

from fpm.config.model import UnixAddress
from fpm.config.permissions import EXECUTE, WRITE, describe, obstacle
from fpm.config.section import Diagnostics, Section
from fpm.config.system import System
from fpm.config.values import SUN_PATH_MAX

_APPENDED = ("error_log", "access.log", "slowlog")
"""Files that are kept if they exist. Others are created again, so their directory must be writable."""


def resolve_global(
    section: Section, system: System, report: Diagnostics, *, file: str, prefix: str, pid_override: str | None
) -> None:
    """Make the paths of `[global]` absolute and check them."""
    values = section.values
    if not system.is_directory(prefix):
        report.error(
            section.location, "global", "prefix", f"the prefix '{prefix}' does not exist or is not a directory"
        )
    if pid_override:
        values["pid"] = pid_override
    _resolve_file(section, system, report, "pid", prefix)
    if values["error_log"] != "syslog":
        _resolve_file(section, system, report, "error_log", prefix)
    if values["control"] is None:
        values["control"] = system.control(file)
    elif section.location_of("control").file != file:
        report.add_error(section, "control", f"can only be set in the main file. Move the line to {file}")
    _resolve_file(section, system, report, "control", prefix)
    _check_length(section, report, "control", values["control"])
    _resolve_socket(section, system, report, "status_listen", prefix)


def resolve_pool(pool: Section, system: System, report: Diagnostics, prefix: str) -> None:
    """Make the paths of a pool absolute and check those outside of the application."""
    values = pool.values
    values["prefix"] = join(prefix, values["prefix"] or "")
    if pool.is_set("prefix") and not system.is_directory(values["prefix"]):
        report.add_error(
            pool,
            "prefix",
            f"the prefix '{values['prefix']}' does not exist or is not a directory. Create it, or correct the path",
        )
    base = values["prefix"] if values["prefix"] == "/" else values["prefix"].rstrip("/")
    values["prefix"] = base
    _resolve_file(pool, system, report, "access.log", base)
    _resolve_file(pool, system, report, "slowlog", base)
    _resolve_socket(pool, system, report, "listen", base)
    _resolve_socket(pool, system, report, "pm.status_listen", base)
    _resolve_chroot(pool, system, report)
    _resolve_chdir(pool, system, report)
    rootfs = values["rootfs"]
    if rootfs and not (rootfs.startswith("/") and system.is_directory(rootfs)):
        report.add_error(pool, "rootfs", f"'{rootfs}' is not the absolute path of a directory")


def _resolve_file(section: Section, system: System, report: Diagnostics, name: str, base: str) -> None:
    """Make the path of a file that pyfpm writes absolute; its directory must exist."""
    path = section.values[name]
    if not path or not section.is_valid(name):
        return
    path = section.values[name] = join(base, path)
    kind = system.kind(path)
    if kind == "directory":
        report.add_error(section, name, f"'{path}' is a directory. Name a file in it")
    elif kind == "file" and name in _APPENDED:
        _check_writable(section, system, report, name, path)
    elif kind != "other":
        _check_directory(section, system, report, name, path)


def _check_directory(section: Section, system: System, report: Diagnostics, name: str, path: str) -> None:
    directory = dirname(path)
    if not system.is_directory(directory) and not system.is_runtime_directory(normpath(directory)):
        report.add_error(section, name, f"the directory '{directory}' does not exist. Create it, or correct the path")
    elif system.is_directory(directory):
        _check_writable(section, system, report, name, directory)


def _check_writable(section: Section, system: System, report: Diagnostics, name: str, path: str) -> None:
    """Check that the daemon may write a file, unless it is root, which may write anywhere."""
    if system.is_root:
        return
    want = WRITE | EXECUTE if system.is_directory(path) else WRITE
    blocked = obstacle(system.components(path, ""), *system.own_identity(), want)
    # Mode 0: a link in /proc/self/fd may name no path, and opening it works all the same.
    if blocked and blocked.mode:
        report.add_error(section, name, f"this user cannot write to '{path}': {describe(blocked)}. Choose another path")


def _resolve_socket(pool: Section, system: System, report: Diagnostics, name: str, base: str) -> None:
    address = pool.values[name]
    if not isinstance(address, UnixAddress) or not pool.is_valid(name):
        return
    path = normpath(join(base, address.path))
    pool.values[name] = UnixAddress(path)
    if system.is_directory(path):
        report.add_error(pool, name, f"'{path}' is a directory. Name a file in it")
    elif _check_length(pool, report, name, path):
        _check_directory(pool, system, report, name, path)


def _check_length(section: Section, report: Diagnostics, name: str, path: str) -> bool:
    length = len(path.encode("utf-8", "surrogateescape"))
    if length <= SUN_PATH_MAX or not section.is_valid(name):
        return True
    report.add_error(
        section,
        name,
        f"path is too long for a Unix socket (found length: {length}, maximal length: {SUN_PATH_MAX}): '{path}'. "
        "Choose a shorter one",
    )
    return False


def _resolve_chroot(pool: Section, system: System, report: Diagnostics) -> None:
    path = pool.values["chroot"]
    if not path:
        return
    if path.startswith("$prefix"):
        path = pool.values["prefix"] + path[len("$prefix") :]
    if not system.is_root:
        report.notice(pool.location_of("chroot"), pool.name, "chroot", _IGNORED.format("chroot"))
        pool.values["chroot"] = None
    elif not path.startswith("/"):
        report.add_error(pool, "chroot", f"the chroot path '{path}' must start with a '/'")
    elif not system.is_directory(path):
        report.add_error(pool, "chroot", f"the chroot path '{path}' does not exist or is not a directory. Create it")
    else:
        pool.values["chroot"] = normpath(path) if normpath(path) != "/" else None


_IGNORED = "'{}' directive is ignored when pyfpm is not running as root"


def _resolve_chdir(pool: Section, system: System, report: Diagnostics) -> None:
    path = pool.values["chdir"]
    if not path:
        return
    chroot = pool.values["chroot"]
    if not path.startswith("/"):
        report.add_error(pool, "chdir", f"the chdir path '{path}' must start with a '/'")
    elif chroot and pool.is_valid("chroot") and not system.is_directory(chroot + path):
        report.add_error(
            pool,
            "chdir",
            f"the chdir path '{path}' within the chroot path '{chroot}' ('{chroot}{path}') does not exist or is not a "
            "directory",
        )
    elif not chroot and not system.is_directory(path):
        report.add_error(pool, "chdir", f"the chdir path '{path}' does not exist or is not a directory")
