"""The directives as keyword arguments, for type checkers: a name that is none is an error there.

Made by python -m fpm.config.manual; change the tables in fpm/config/tables instead. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, TypedDict

if TYPE_CHECKING:
    from os import PathLike


class PoolDirectives(TypedDict, total=False):
    """What Pool(...) takes besides its other parameters; None leaves a directive unset."""

    python: str | PathLike[str] | None
    venv: str | PathLike[str] | None
    pythonpath: str | list[str] | tuple[str, ...] | None
    security_limit_extensions: str | list[str] | tuple[str, ...] | None
    preload: Literal["auto", "yes", "no", "on", "true", "off", "false"] | None
    preload_warmup: str | list[str] | tuple[str, ...] | None
    startup_timeout: float | str | None
    reload_check: str | None
    script_name: str | None
    request_body_spool: bool | None
    hotpath: bool | None
    request_statistics: bool | None
    read_timeout: float | str | None
    send_timeout: float | str | None
    user: int | str | None
    group: int | str | None
    supplementary_groups: str | list[str] | tuple[str, ...] | None
    prefix: str | PathLike[str] | None
    listen_backlog: int | None
    listen_owner: int | str | None
    listen_group: int | str | None
    listen_mode: int | str | None
    listen_acl_users: str | list[str] | tuple[str, ...] | None
    listen_acl_groups: str | list[str] | tuple[str, ...] | None
    listen_allowed_clients: str | list[str] | tuple[str, ...] | None
    pm: Literal["static", "dynamic", "ondemand"] | None
    pm_max_children: int | None
    pm_start_servers: int | None
    pm_min_spare_servers: int | None
    pm_max_spare_servers: int | None
    pm_max_spawn_rate: int | None
    pm_process_idle_timeout: float | str | None
    pm_max_requests: int | None
    pm_max_requests_jitter: int | None
    pm_max_memory: int | str | None
    pm_max_memory_hard: int | str | None
    pm_memory_soft: int | str | None
    pm_memory_hard: int | str | None
    pm_background_max: int | None
    process_priority: int | None
    process_dumpable: bool | None
    pm_status_path: str | None
    pm_status_listen: int | str | None
    pm_status_allow: str | list[str] | tuple[str, ...] | None
    ping_path: str | None
    ping_response: str | None
    access_log: str | PathLike[str] | None
    access_format: str | None
    access_suppress_path: list[str] | tuple[str, ...] | None
    catch_workers_output: bool | None
    decorate_workers_output: bool | None
    request_terminate_timeout: float | str | None
    request_terminate_timeout_track_finished: bool | None
    request_interrupt: bool | None
    background_timeout: float | str | None
    slowlog: str | PathLike[str] | None
    slowlog_format: Literal["text", "json"] | None
    slowlog_native: bool | None
    request_slowlog_timeout: float | str | None
    request_slowlog_interval: float | str | None
    request_slowlog_trace_depth: int | None
    chdir: str | PathLike[str] | None
    clear_env: bool | None
    env: Mapping[str, str | int | float] | None
    env_file: str | PathLike[str] | None
    isolation: Literal["none", "basic", "strong", "sealed"] | None
    chroot: str | PathLike[str] | None
    chroot_automount: bool | None
    rootfs: str | PathLike[str] | None
    namespaces: str | list[str] | tuple[str, ...] | None
    hostname: str | None
    network: str | None
    network_bridge: str | None
    network_gateway: str | None
    mount: list[str] | tuple[str, ...] | None
    private_tmp: bool | None
    private_tmp_size: int | str | None
    no_new_privs: bool | None
    umask: int | str | None
    seccomp: Literal["off", "default", "strict", "no", "false"] | None
    landlock: str | list[str] | tuple[str, ...] | None
    apparmor_profile: str | None
    selinux_context: str | None
    rlimit_files: int | None
    rlimit_processes: int | None
    rlimit_core: int | str | None
    rlimit_as: int | str | None
    rlimit_fsize: int | str | None
    rlimit_memlock: int | str | None
    cpu_affinity: str | list[int] | tuple[int, ...] | None
    io_priority: str | None
    oom_score_adjust: int | None
    cgroup: Literal["auto", "yes"] | None
    cgroup_memory_max: int | str | None
    cgroup_memory_high: int | str | None
    cgroup_cpu_max: str | None
    cgroup_cpu_weight: int | None
    cgroup_pids_max: int | None
    cgroup_io_weight: int | None


class GlobalDirectives(TypedDict, total=False):
    """What Settings(...) takes besides its other parameters; None leaves a directive unset."""

    process_control_timeout: float | str | None
    sigterm: Literal["fast", "graceful"] | None
    emergency_restart_threshold: int | None
    emergency_restart_interval: float | str | None
    process_max: int | None
    process_priority: int | None
    rlimit_files: int | None
    rlimit_core: int | str | None
    systemd_interval: float | str | None
    status_listen: int | str | None
    status_listen_owner: int | str | None
    status_listen_group: int | str | None
    status_listen_mode: int | str | None
    status_listen_details: bool | None
    status_listen_exemplars: bool | None
    status_listen_hosts: str | list[str] | tuple[str, ...] | None
    status_allow: str | list[str] | tuple[str, ...] | None
    status_history: bool | None
    syslog_ident: str | None
    syslog_facility: (
        Literal[
            "auth",
            "authpriv",
            "cron",
            "daemon",
            "ftp",
            "kern",
            "lpr",
            "mail",
            "news",
            "syslog",
            "user",
            "uucp",
            "local0",
            "local1",
            "local2",
            "local3",
            "local4",
            "local5",
            "local6",
            "local7",
        ]
        | None
    )
    log_level: Literal["debug", "notice", "warning", "error", "alert", "warn"] | None
    log_format: Literal["text", "json"] | None
    log_limit: int | str | None
    log_buffering: bool | None
