"""Whether this process may make namespaces and mounts; nothing is tried, only looked at."""

from __future__ import annotations

import os
import re

from fpm.stacks.rights import read_status

CAP_SYS_ADMIN = 21
OLDEST = (5, 12)
"""The first kernel with mount_setattr(2)."""
SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin"
LIMITS = {
    "/proc/sys/user/max_user_namespaces": ("0", "user.max_user_namespaces is 0"),
    "/proc/sys/kernel/unprivileged_userns_clone": ("0", "kernel.unprivileged_userns_clone is 0"),
    "/proc/sys/kernel/apparmor_restrict_unprivileged_userns": (
        "1",
        "kernel.apparmor_restrict_unprivileged_userns is 1",
    ),
}
"""What keeps ordinary users from having user namespaces: the value of a file, and how to say it."""


def jail_obstacle(*, is_root: bool) -> str:
    """Say why this process cannot make namespaces and mounts, as a clause; "" if it can."""
    release = os.uname().release
    version = re.match(r"(\d+)\.(\d+)", release)
    if version is not None and (int(version[1]), int(version[2])) < OLDEST:
        return f"it needs Linux {OLDEST[0]}.{OLDEST[1]} or later, and this is {release}"
    if is_root:
        me = read_status("self")
        if me is not None and me.can(CAP_SYS_ADMIN):
            return ""
        return "it needs CAP_SYS_ADMIN, which this root does not have (a container: --cap-add SYS_ADMIN)"
    for path, (value, words) in LIMITS.items():
        if read_setting(path) == value:
            return f"ordinary users may not make namespaces here ({words}); run pyfpm as root, or change the setting"
    return ""


def lacking_command(name: str, package: str) -> str:
    """Say that a program of the system is missing; "" if it is there."""
    if any(os.access(f"{directory}/{name}", os.X_OK) for directory in SYSTEM_PATH.split(":")):
        return ""
    return f"the program '{name}' is missing. Install it: apt install {package}"


def read_setting(path: str) -> str:
    """Read a small file of the kernel; "" if there is none."""
    try:
        with open(path, "rb") as file:
            return file.read().decode("ascii", "replace").strip()
    except OSError:  # a kernel without this setting
        return ""
