"""Builds what the pool sees, in the order that the kernel asks for."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

from fpm.launcher.jail.calls import Calls
from fpm.launcher.jail.mounter import Mounter
from fpm.launcher.jail.namespaces import enter_late, enter_pid_namespace, leave_namespaces
from fpm.launcher.jail.plan import plan_root
from fpm.launcher.jail.sources import Sources
from fpm.launcher.jail.world import join_world
from fpm.launcher.root import change_root
from fpm.launcher.step import step
from fpm.paths.place import LINKS_MAX
from fpm.protocol.spec import TemplateSpec


def build_jail(spec: TemplateSpec, channel: socket.socket) -> Callable[[], None]:
    """Leave the daemon's namespaces and make the pool's root.

    Returns:
        What remains to be done as the pool's user. It raises OSError, too.

    Raises:
        OSError: a step failed; `filename` says which.
    """
    calls = Calls()
    world = join_world(spec, calls)
    leave_namespaces(spec, calls, world.network)
    if "pid" in spec.namespaces:
        step("namespaces = pid", lambda: enter_pid_namespace(calls, channel))
    plan = plan_root(spec, programs(spec.python), world.trees)
    if plan is None:
        change_root(spec.chroot)
    else:
        Mounter(calls, Sources(spec), world.trees).make(plan)
    # As root it is the last: the other namespaces then belong to the machine, and not even their root is the pool.
    if "user" not in spec.namespaces or os.geteuid() != 0:
        return lambda: None
    return enter_late(calls, spec.uid or 0, spec.gid or 0)


def programs(path: str) -> list[str]:
    """List the paths by which an interpreter is found: each leads to the next by a symbolic link."""
    found = [path]
    while len(found) < LINKS_MAX:
        try:
            path = os.path.normpath(os.path.join(os.path.dirname(path), os.readlink(path)))
        except OSError:
            break
        found.append(path)
    return found
