"""Makes paths absolute and checks what their text alone can tell; machine_paths looks what is there. Pure."""

from __future__ import annotations

from posixpath import join, normpath

from fpm.config.addresses import SUN_PATH_MAX
from fpm.config.model import UnixAddress
from fpm.config.section import Diagnostics, Section
from fpm.config.system import System


def resolve_global(
    section: Section, system: System, report: Diagnostics, *, file: str, prefix: str, pid_override: str | None
) -> None:
    """Make the paths of `[global]` absolute."""
    values = section.values
    if pid_override:
        values["pid"] = pid_override
    _resolve_file(section, "pid", prefix)
    if values["error_log"] != "syslog":
        _resolve_file(section, "error_log", prefix)
    if values["control"] is None:
        values["control"] = system.control(file)
    elif section.location_of("control").order:
        report.add_error(section, "control", f"can only be set in the main file. Move the line to {file}")
    _resolve_file(section, "control", prefix)
    _check_length(section, report, "control", values["control"])
    _resolve_socket(section, report, "status_listen", prefix)


def resolve_pool(pool: Section, system: System, report: Diagnostics, prefix: str) -> None:
    """Make the paths of a pool absolute, but for those of its application."""
    values = pool.values
    base = join(prefix, values["prefix"] or "")
    base = values["prefix"] = base if base == "/" else base.rstrip("/")
    _resolve_file(pool, "access.log", base)
    _resolve_file(pool, "slowlog", base)
    _resolve_file(pool, "env_file", base)
    _resolve_socket(pool, report, "listen", base)
    _resolve_socket(pool, report, "pm.status_listen", base)
    _resolve_chroot(pool, system, report)
    if values["chdir"] and not values["chdir"].startswith("/"):
        report.add_error(pool, "chdir", f"the chdir path '{values['chdir']}' must start with a '/'")
    if values["rootfs"] and not values["rootfs"].startswith("/"):
        report.add_error(pool, "rootfs", f"'{values['rootfs']}' is not the absolute path of a directory")


def _resolve_file(section: Section, name: str, base: str) -> None:
    path = section.values[name]
    if path and section.is_valid(name):
        section.values[name] = join(base, path)


def _resolve_socket(section: Section, report: Diagnostics, name: str, base: str) -> None:
    address = section.values[name]
    if isinstance(address, UnixAddress) and section.is_valid(name):
        path = normpath(join(base, address.path))
        section.values[name] = UnixAddress(path)
        _check_length(section, report, name, path)


def _check_length(section: Section, report: Diagnostics, name: str, path: str) -> None:
    length = len(path.encode("utf-8", "surrogateescape"))
    if length <= SUN_PATH_MAX or not section.is_valid(name):
        return
    report.add_error(
        section,
        name,
        f"path is too long for a Unix socket (found length: {length}, maximal length: {SUN_PATH_MAX}): '{path}'. "
        "Choose a shorter one",
    )


def _resolve_chroot(pool: Section, system: System, report: Diagnostics) -> None:
    path = pool.values["chroot"]
    if not path:
        return
    if path.startswith("$prefix"):
        path = pool.values["prefix"] + path[len("$prefix") :]
    if not system.is_root:
        sentence = "only root can start a pool in a chroot, and it must not run without unnoticed. Remove the line"
        report.add_error(pool, "chroot", sentence)
        pool.values["chroot"] = None
    elif not path.startswith("/"):
        report.add_error(pool, "chroot", f"the chroot path '{path}' must start with a '/'")
    else:
        pool.values["chroot"] = normpath(path) if normpath(path) != "/" else None
