"""Changes of groups that the kernel may refuse, which is said in words."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from fpm.cgroups.bounds import MASTER, Setting
from fpm.cgroups.files import move_processes, opened, read_file, write_file
from fpm.errors import StartError


def move_back(base: int, above: int) -> None:
    """Leave the group of the daemon as it was before: without controllers for others, and with its processes.

    Raises:
        OSError: they cannot be moved.
    """
    for group in (above, base):
        for controller in (read_file(group, "cgroup.subtree_control") or "").split():
            write_file(group, "cgroup.subtree_control", f"-{controller}")
    with opened(above, MASTER) as master:
        move_processes(master, base)


def enable(group: int, path: str, wanted: Collection[str], needed: Mapping[str, str]) -> None:
    """Have controllers for the groups in a group; one that is wanted for its figures only may be refused.

    Raises:
        StartError: the kernel refuses one that is needed.
    """
    present = (read_file(group, "cgroup.subtree_control") or "").split()
    for controller in sorted(set(wanted) - set(present)):
        try:
            write_file(group, "cgroup.subtree_control", f"+{controller}")
        except OSError as error:
            if controller in needed:
                sentence = f"the controller {controller} cannot be enabled in {path}: {error.strerror}"
                raise StartError(f"{needed[controller]}: {sentence}") from None


def may_take_long(fd: int, setting: Setting) -> bool:
    """Tell whether the kernel may have to make room first: a memory limit of a group in use is changed."""
    present = read_file(fd, setting.file) if setting.controller == "memory" else None
    return present is not None and present.strip() != setting.text


def write_setting(fd: int, setting: Setting) -> None:
    try:
        write_file(fd, setting.file, setting.text)
    except OSError as error:
        if setting.is_set:
            reason = f"this kernel has no {setting.file}" if isinstance(error, FileNotFoundError) else error.strerror
            raise StartError(f"{setting.directive} cannot be applied ({setting.text}): {reason}") from None
