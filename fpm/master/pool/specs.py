"""From a pool's configuration to what its processes are told. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from fpm.config.model import PoolConfig, TcpAddress
from fpm.protocol.spec import TemplateSpec, WorkerSettings
from fpm.scoreboard.reading import SLOTS_MAX

SLOTS_MIN = 256
EXTRA_SLOTS = 8


def slots_for(config: PoolConfig) -> int:
    """Room in the scoreboard: a whole second generation, those that replace leaving workers, and some growth of
    pm.max_children without a new generation. Memory that is never touched costs nothing."""
    return min(max(2 * config.pm_max_children + EXTRA_SLOTS, SLOTS_MIN), SLOTS_MAX)


def children_for(slots: int) -> int:
    """The largest pm.max_children for which a scoreboard has room."""
    return (slots - EXTRA_SLOTS) // 2


def pool_environ(config: PoolConfig, inherited: Mapping[str, str]) -> dict[str, str]:
    """The application's whole environment: clear_env, env[], USER and HOME of the pool's user, TMPDIR of its jail."""
    environ = {} if config.clear_env else dict(inherited)
    if config.identity is not None and not config.clear_env:
        # The master's own home is nobody else's.
        environ.pop("USER", None)
        environ.pop("HOME", None)
    if config.private_tmp or config.chroot_automount:
        environ["TMPDIR"] = "/tmp"  # and not where the daemon has its own
    environ.update(config.env)
    if config.identity is not None:
        environ.setdefault("USER", config.identity.user)
        environ.setdefault("HOME", config.identity.home)
    return environ


def worker_settings(config: PoolConfig, *, log_limit: int, slots: int) -> WorkerSettings:
    """Take from a configuration what its workers need."""
    return WorkerSettings(
        **_shared(config, WorkerSettings),
        pool=config.name,
        slots=slots,
        log_limit=log_limit,
        listen_is_unix=not isinstance(config.listen, TcpAddress),
        has_access_log=config.access_log is not None,
    )


def _shared(config: PoolConfig, target: type[WorkerSettings | TemplateSpec]) -> dict[str, Any]:
    """Take the attributes that a configuration and a message to a pool's processes have in common."""
    names = {field.name for field in fields(target)} & {field.name for field in fields(PoolConfig)}
    return {name: _as_json(getattr(config, name)) for name in names}


def _as_json(value: Any) -> Any:
    if isinstance(value, tuple):
        return [item if isinstance(item, int) else str(item) for item in value]
    return value


def unavailable_settings(config: PoolConfig, *, log_limit: int) -> WorkerSettings:
    """Settings of the 503 responder: a scoreboard of one slot, no status page, no access log, never recycled."""
    return replace(
        worker_settings(config, log_limit=log_limit, slots=1),
        pm_max_children=1,
        pm_max_requests=0,
        pm_max_memory=0,
        pm_status_path=None,
        ping_path=None,
        has_access_log=False,
    )


def unavailable_spec(spec: TemplateSpec) -> TemplateSpec:
    """The 503 responder's specification: the pool's user, and nothing else that could fail as it did for the template.

    It runs no code of the application, so it needs neither the jail nor the limits; being executed as root and never
    again, it is not dumpable, so that no process of the same user can take hold of it (fpm.launcher.identity).
    """
    return replace(
        spec,
        mode="unavailable",
        chroot=None,
        namespaces=[],
        world=[],
        chdir="/",
        rlimit_files=0,
        rlimit_processes=0,
        rlimit_core=None,
        cgroup_directory="",
        rlimit_as=None,
        rlimit_fsize=None,
        rlimit_memlock=None,
        cpu_affinity=(),
        io_priority=None,
        oom_score_adjust=None,
        umask=None,
        env_file=None,
        priority=None,
        no_new_privs=True,
        seccomp="off",
        landlock=[],
        apparmor_profile=None,
        selinux_context=None,
    )


def _identity(config: PoolConfig) -> dict[str, Any]:
    one = config.identity
    if one is None:
        return {"uid": None, "gid": None, "groups": []}
    names = list(one.group_names)
    return {"uid": one.uid, "gid": one.gid, "groups": list(one.groups), "user": one.user, "group_names": names}


def _has_own_root(config: PoolConfig) -> bool:
    return bool(config.chroot or config.rootfs or config.chroot_automount)


def world_of(config: PoolConfig) -> tuple[str, ...]:
    """Return what the jails of all generations of a pool share, see fpm.launcher.jail.world.

    Who is not root cannot enter what a former generation has made.
    """
    if config.identity is None:
        return ()
    has_files = config.private_tmp or config.chroot_automount
    wanted = {"net": config.network.startswith("veth "), "mnt": has_files and "mount" in config.namespaces}
    return tuple(name for name, is_wanted in wanted.items() if is_wanted)


def template_spec(
    config: PoolConfig,
    *,
    generation: int,
    worker: WorkerSettings,
    original_rlimit_files: tuple[int, int],
    priority: int | None,
    inherited: Mapping[str, str],
    now: float,
    ptracer: int = 0,
    dumpable: bool = False,
) -> TemplateSpec:
    """The specification of one template.

    Args:
        original_rlimit_files: RLIMIT_NOFILE (soft, hard) with which the master was started.
        priority: the global process.priority, for pools without their own.
        inherited: the master's environment.
        now: monotonic seconds.
        ptracer: who may trace the processes, see fpm.launcher.identity; 0: nobody needs to be named.
        dumpable: for pools without their own process.dumpable.
    """
    return TemplateSpec(
        **_shared(config, TemplateSpec) | {"chdir": config.chdir or ("/" if _has_own_root(config) else None)},
        **_identity(config),
        world=list(world_of(config)),
        pool=config.name,
        generation=generation,
        mode="template",
        python_arguments=[],
        spawned=now,
        environ=pool_environ(config, inherited),
        original_rlimit_files=list(original_rlimit_files),
        priority=config.process_priority if config.process_priority is not None else priority,
        dumpable=dumpable if config.process_dumpable is None else config.process_dumpable,
        worker=worker,
        ptracer=ptracer,
    )
