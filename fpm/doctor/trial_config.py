"""A configuration for trying one pool beside the daemon that may be running: the same pool, and nothing that it would
share with that one. Pure."""

from __future__ import annotations

from dataclasses import replace

from fpm.config.model import Config, PoolConfig, UnixAddress


def narrow(config: Config, name: str, directory: str, seconds: float) -> Config:
    """Return the configuration of the trial.

    The user, the jail, the interpreter, the limits, the environment and the application are the pool's own.

    Args:
        name: of the pool.
        directory: where sockets are made.
        seconds: the application must be ready in this time, or in startup_timeout if that is less.
    """
    settings = replace(
        config.global_,
        file=f"{config.global_.file}, tried by doctor",
        control=f"{directory}/control",
        pid=None,
        error_log=None,
        status_listen=None,
        process_control_timeout=1.0,
        process_max=0,
    )
    pool = next(pool for pool in config.pools if pool.name == name)
    startup = min(pool.startup_timeout or seconds, seconds)
    alone = replace(_quiet(pool), listen=UnixAddress(f"{directory}/socket"), startup_timeout=startup)
    return Config(settings, (alone,), (), {name: config.obstacles.get(name, ())})


def cannot_be_tried(pool: PoolConfig) -> str:
    """Say why a pool cannot be started a second time while it runs; "" if it can."""
    if pool.network.startswith("veth"):
        return f"two cannot have its address, {pool.network.removeprefix('veth').strip()}"
    if any(line.startswith("overlay ") for line in pool.mount):
        return "two cannot write through its overlay"
    return ""


def _quiet(pool: PoolConfig) -> PoolConfig:
    """Return the pool with one worker, for nobody else, and with no files of its own."""
    return replace(
        pool,
        listen_owner=None,
        listen_group=None,
        listen_acl_users=(),
        listen_acl_groups=(),
        listen_mode=0o600,
        pm="static",
        pm_max_children=1,
        pm_start_servers=1,
        pm_min_spare_servers=0,
        pm_max_spare_servers=0,
        pm_status_listen=None,
        access_log=None,
        slowlog=None,
        request_slowlog_timeout=0.0,
        preload_warmup=(),
        reload_check=None,
        # A control group has the pool's name: the running daemon's would be taken over, and removed at the end.
        cgroup="auto",
        cgroup_memory_max=None,
        cgroup_memory_high=None,
        cgroup_cpu_max=None,
        cgroup_cpu_weight=None,
        cgroup_pids_max=None,
        cgroup_io_weight=None,
        pm_max_memory=0,
        pm_max_memory_hard=0,
        pm_memory_soft=0,
        pm_memory_hard=0,
    )
