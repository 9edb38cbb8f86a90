"""Paths made absolute, and the rules for them: directories that must exist, the length of a socket's path. Pure."""

from __future__ import annotations

from posixpath import dirname, join, normpath

from fpm.config.model import UnixAddress
from fpm.config.permissions import EXECUTE, WRITE, describe, obstacle
from fpm.config.section import Draft, Report
from fpm.config.system import Machine
from fpm.config.values import SUN_PATH_MAX

_APPENDED = ("error_log", "access.log", "slowlog")
"""Files that are kept if they exist; others are created again, which needs the directory."""


def settle_global(
    draft: Draft, machine: Machine, report: Report, *, file: str, prefix: str, pid_override: str | None
) -> None:
    """Make the paths of `[global]` absolute and check them."""
    values = draft.values
    if not machine.is_directory(prefix):
        report.error(draft.place, "global", "prefix", f"the prefix '{prefix}' does not exist or is not a directory")
    if pid_override:
        values["pid"] = pid_override
    _settle_file(draft, machine, report, "pid", prefix)
    if values["error_log"] != "syslog":
        _settle_file(draft, machine, report, "error_log", prefix)
    if values["control"] is None:
        values["control"] = machine.control(file)
    elif draft.place_of("control").file != file:
        report.refuse(draft, "control", f"can only be set in the main file. Move the line to {file}")
    _settle_file(draft, machine, report, "control", prefix)
    _check_length(draft, report, "control", values["control"])
    _settle_socket(draft, machine, report, "status_listen", prefix)


def settle_pool(pool: Draft, machine: Machine, report: Report, prefix: str) -> None:
    """Make the paths of a pool absolute and check those outside of the application."""
    values = pool.values
    values["prefix"] = join(prefix, values["prefix"] or "")
    if pool.is_set("prefix") and not machine.is_directory(values["prefix"]):
        report.refuse(
            pool,
            "prefix",
            f"the prefix '{values['prefix']}' does not exist or is not a directory. Create it, or correct the path",
        )
    base = values["prefix"] if values["prefix"] == "/" else values["prefix"].rstrip("/")
    values["prefix"] = base
    _settle_file(pool, machine, report, "access.log", base)
    _settle_file(pool, machine, report, "slowlog", base)
    _settle_socket(pool, machine, report, "listen", base)
    _settle_socket(pool, machine, report, "pm.status_listen", base)
    _settle_chroot(pool, machine, report)
    _settle_chdir(pool, machine, report)
    rootfs = values["rootfs"]
    if rootfs and not (rootfs.startswith("/") and machine.is_directory(rootfs)):
        report.refuse(pool, "rootfs", f"'{rootfs}' is not the absolute path of a directory")


def _settle_file(draft: Draft, machine: Machine, report: Report, name: str, base: str) -> None:
    """A file that pyfpm writes: its directory must exist."""
    path = draft.values[name]
    if not path or not draft.is_sound(name):
        return
    path = draft.values[name] = join(base, path)
    kind = machine.kind(path)
    if kind == "directory":
        report.refuse(draft, name, f"'{path}' is a directory. Name a file in it")
    elif kind == "file" and name in _APPENDED:
        _check_writable(draft, machine, report, name, path)
    elif kind != "other":
        _check_directory(draft, machine, report, name, path)


def _check_directory(draft: Draft, machine: Machine, report: Report, name: str, path: str) -> None:
    directory = dirname(path)
    if not machine.is_directory(directory) and not machine.is_runtime_directory(normpath(directory)):
        report.refuse(draft, name, f"the directory '{directory}' does not exist. Create it, or correct the path")
    elif machine.is_directory(directory):
        _check_writable(draft, machine, report, name, directory)


def _check_writable(draft: Draft, machine: Machine, report: Report, name: str, path: str) -> None:
    """root may write anywhere; for others it is better to know before the start."""
    if machine.is_root:
        return
    want = WRITE | EXECUTE if machine.is_directory(path) else WRITE
    blocked = obstacle(machine.steps(path, ""), *machine.own_identity(), want)
    # Nothing at the end of a way to something: a link of /proc/self/fd, which says less than it does.
    if blocked and blocked.mode:
        report.refuse(draft, name, f"this user cannot write to '{path}': {describe(blocked)}. Choose another path")


def _settle_socket(pool: Draft, machine: Machine, report: Report, name: str, base: str) -> None:
    address = pool.values[name]
    if not isinstance(address, UnixAddress) or not pool.is_sound(name):
        return
    path = normpath(join(base, address.path))
    pool.values[name] = UnixAddress(path)
    if machine.is_directory(path):
        report.refuse(pool, name, f"'{path}' is a directory. Name a file in it")
    elif _check_length(pool, report, name, path):
        _check_directory(pool, machine, report, name, path)


def _check_length(draft: Draft, report: Report, name: str, path: str) -> bool:
    length = len(path.encode("utf-8", "surrogateescape"))
    if length <= SUN_PATH_MAX or not draft.is_sound(name):
        return True
    report.refuse(
        draft,
        name,
        f"path is too long for a Unix socket (found length: {length}, maximal length: {SUN_PATH_MAX}): '{path}'. "
        "Choose a shorter one",
    )
    return False


def _settle_chroot(pool: Draft, machine: Machine, report: Report) -> None:
    path = pool.values["chroot"]
    if not path:
        return
    if path.startswith("$prefix"):
        path = pool.values["prefix"] + path[len("$prefix") :]
    if not machine.is_root:
        report.notice(pool.place_of("chroot"), pool.name, "chroot", _IGNORED.format("chroot"))
        pool.values["chroot"] = None
    elif not path.startswith("/"):
        report.refuse(pool, "chroot", f"the chroot path '{path}' must start with a '/'")
    elif not machine.is_directory(path):
        report.refuse(pool, "chroot", f"the chroot path '{path}' does not exist or is not a directory. Create it")
    else:
        pool.values["chroot"] = normpath(path) if normpath(path) != "/" else None


_IGNORED = "'{}' directive is ignored when pyfpm is not running as root"


def _settle_chdir(pool: Draft, machine: Machine, report: Report) -> None:
    path = pool.values["chdir"]
    if not path:
        return
    chroot = pool.values["chroot"]
    if not path.startswith("/"):
        report.refuse(pool, "chdir", f"the chdir path '{path}' must start with a '/'")
    elif chroot and pool.is_sound("chroot") and not machine.is_directory(chroot + path):
        report.refuse(
            pool,
            "chdir",
            f"the chdir path '{path}' within the chroot path '{chroot}' ('{chroot}{path}') does not exist or is not a "
            "directory",
        )
    elif not chroot and not machine.is_directory(path):
        report.refuse(pool, "chdir", f"the chdir path '{path}' does not exist or is not a directory")
