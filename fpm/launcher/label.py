"""Has the pool's interpreter executed under a profile of AppArmor or a context of SELinux.

The kernel takes the request from a file of /proc and carries it out at the next execve(2). /proc is opened before the
jail, where there may be none; its `self` is looked up when the request is made, for the jail may have a process of its
own.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from fpm.protocol.spec import TemplateSpec

PROC = "/proc"
APPARMOR_EXEC = "self/attr/apparmor/exec"
SELINUX_EXEC = "self/attr/exec"


def prepare_labels(spec: TemplateSpec, proc: str = PROC) -> list[tuple[str, Callable[[], None]]]:
    """Return the steps that ask for what the pool has set; each raises OSError.

    Args:
        proc: where the process file system is.
    """
    asked = []
    if spec.apparmor_profile is not None:
        request = f"exec {spec.apparmor_profile}".encode()
        asked.append((f"apparmor_profile = {spec.apparmor_profile}", APPARMOR_EXEC, request))
    if spec.selinux_context is not None:
        request = spec.selinux_context.encode() + b"\0"
        asked.append((f"selinux_context = {spec.selinux_context}", SELINUX_EXEC, request))
    return [(name, _prepare_writing(proc, path, request)) for name, path, request in asked]


def _prepare_writing(proc: str, path: str, request: bytes) -> Callable[[], None]:
    root = os.open(proc, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def write() -> None:
        try:
            with open(os.open(path, os.O_WRONLY | os.O_CLOEXEC, dir_fd=root), "wb", buffering=0, closefd=True) as file:
                file.write(request)  # whole or not at all
        finally:
            os.close(root)

    return write
