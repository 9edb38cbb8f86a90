"""Checked, frozen configuration values, which all other parts of the program use.

Attribute names are the directive names with `.` written as `_`. Times are seconds (float), sizes are bytes (int).
Nothing here reads files or the system; `fpm.config.load` creates these values. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from ipaddress import IPv4Network, IPv6Network
from typing import Literal

from fpm.frozen import dataclass

Network = IPv4Network | IPv6Network
ProcessManager = Literal["static", "dynamic", "ondemand"]
Preload = Literal["auto", "yes", "no"]
Isolation = Literal["none", "basic", "strong", "sealed"]
SlowLogFormat = Literal["text", "json"]
Seccomp = Literal["off", "default", "strict"]


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """A listening address on a Unix socket; `path` is absolute."""

    path: str

    def __str__(self) -> str:
        return self.path


@dataclass(frozen=True, slots=True)
class AbstractAddress:
    """A listening address on a Unix socket without a file (unix(7)): `@name`; `name` is without the @."""

    name: str

    def __str__(self) -> str:
        return f"@{self.name}"

    @property
    def path(self) -> str:
        """What bind(2) and connect(2) take for the name."""
        return f"\0{self.name}"


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """A listening address on TCP.

    `host` is a numeric address without brackets, or "" for all addresses (try `::` dual stack, then 0.0.0.0).
    """

    host: str
    port: int

    def __str__(self) -> str:
        if not self.host:
            return str(self.port)
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


ListenAddress = UnixAddress | AbstractAddress | TcpAddress


@dataclass(frozen=True, slots=True)
class Identity:
    """The user and groups of a pool's processes. `groups` are the supplementary groups, including the primary one."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    user: str
    home: str
    group_names: tuple[tuple[int, str], ...] = ()
    """Names of the groups that have one."""


@dataclass(frozen=True, slots=True)
class ReloadCheck:
    """`reload.check`: the internal request that a new generation must answer with `status`; `timeout` in seconds."""

    method: str
    path: str
    status: int
    timeout: float

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.status} {self.timeout:g}s"


@dataclass(frozen=True, slots=True)
class GlobalConfig:
    """The `[global]` section."""

    file: str
    prefix: str
    pid: str | None
    error_log: str | None
    """A path, "syslog", or None for standard error (the default in the foreground)."""
    syslog_ident: str
    syslog_facility: str
    log_buffering: bool
    log_level: str
    """debug, notice, warning, error or alert."""
    log_format: str
    """text or json."""
    log_limit: int
    emergency_restart_threshold: int
    emergency_restart_interval: float
    process_control_timeout: float
    sigterm: str
    """fast or graceful."""
    process_max: int
    process_priority: int | None
    daemonize: bool
    rlimit_files: int
    rlimit_core: int | None
    """None: unchanged; -1: unlimited."""
    systemd_interval: float
    control: str
    status_listen: ListenAddress | None
    status_listen_owner: int | None
    status_listen_group: int | None
    status_listen_mode: int
    status_listen_details: bool
    status_listen_exemplars: bool
    status_listen_hosts: tuple[str, ...]
    status_allow: tuple[Network, ...]
    status_history: bool


@dataclass(frozen=True, slots=True)
class PoolConfig:
    """One pool section."""

    name: str
    where: str
    """"FILE:LINE" of the section head, for messages."""
    prefix: str
    identity: Identity | None
    """None: the master is not root, and processes keep its identity."""
    supplementary_groups: tuple[str, ...]
    """As written; `identity` has their numbers."""
    listen: ListenAddress
    listen_backlog: int
    """As for listen(2); -1 means the system's maximum."""
    listen_owner: int | None
    listen_group: int | None
    listen_mode: int
    listen_acl_users: tuple[int, ...]
    listen_acl_groups: tuple[int, ...]
    listen_allowed_clients: tuple[Network, ...]
    process_priority: int | None
    process_dumpable: bool | None
    """None: as the tracer needs it."""
    pm: ProcessManager
    pm_max_children: int
    pm_start_servers: int
    pm_min_spare_servers: int
    pm_max_spare_servers: int
    pm_max_spawn_rate: int
    pm_process_idle_timeout: float
    pm_max_requests: int
    pm_max_requests_jitter: int
    """Each worker exits after pm_max_requests plus a random 0..jitter requests."""
    pm_status_path: str | None
    pm_status_listen: ListenAddress | None
    pm_status_allow: tuple[Network, ...]
    ping_path: str | None
    ping_response: str
    access_log: str | None
    access_format: str
    access_suppress_path: tuple[str, ...]
    pm_max_memory: int
    """Bytes; 0: no limit. The next four likewise."""
    pm_max_memory_hard: int
    pm_memory_soft: int
    pm_memory_hard: int
    pm_background_max: int
    slowlog: str | None
    slowlog_format: SlowLogFormat
    slowlog_native: bool
    request_slowlog_timeout: float
    """This and the times below in seconds; 0.0: off."""
    request_slowlog_interval: float
    request_slowlog_trace_depth: int
    request_terminate_timeout: float
    request_terminate_timeout_track_finished: bool
    request_interrupt: bool
    background_timeout: float
    catch_workers_output: bool
    decorate_workers_output: bool
    rlimit_files: int
    rlimit_processes: int
    rlimit_core: int | None
    rlimit_as: int | None
    rlimit_fsize: int | None
    rlimit_memlock: int | None
    cpu_affinity: tuple[int, ...]
    """Numbers of CPUs in order; empty: unchanged."""
    io_priority: str | None
    """Class and level, as in "best-effort 4"."""
    oom_score_adjust: int | None
    cgroup: Literal["auto", "yes"]
    cgroup_memory_max: int | None
    cgroup_memory_high: int | None
    cgroup_cpu_max: str | None
    """Quota and period in microseconds: "150000 100000"."""
    cgroup_cpu_weight: int | None
    cgroup_pids_max: int | None
    cgroup_io_weight: int | None
    umask: int | None
    chroot: str | None
    chdir: str | None
    clear_env: bool
    env: tuple[tuple[str, str], ...]
    """Already expanded: `$NAME` has been replaced from the master's environment."""
    env_file: str | None
    """Absolute, outside of the chroot."""
    app: str
    python: str
    """Absolute path of the interpreter, as seen inside the chroot if there is one (`venv = D` gives D/bin/python)."""
    pythonpath: tuple[str, ...]
    security_limit_extensions: tuple[str, ...]
    """Of the application's file; empty: any."""
    preload: Preload
    preload_warmup: tuple[str, ...]
    """Each as in "GET /path"."""
    startup_timeout: float
    script_name: str | None
    """None: auto; else the prefix ("" or "/prefix")."""
    request_body_spool: bool
    hotpath: bool
    request_statistics: bool
    read_timeout: float
    send_timeout: float
    no_new_privs: bool
    seccomp: Seccomp
    landlock: tuple[str, ...]
    """Words: read PATH... write PATH...; see fpm.kernel.landlock.parse_rules."""
    apparmor_profile: str | None
    selinux_context: str | None
    isolation: Isolation
    chroot_automount: bool
    rootfs: str | None
    namespaces: tuple[str, ...]
    """With those that other directives need."""
    hostname: str
    network: str
    """host, none, netns:NAME, or veth ADDRESS/PREFIX."""
    network_bridge: str
    network_gateway: str
    mount: tuple[str, ...]
    """Lines for fpm.protocol.mounts."""
    private_tmp: bool
    private_tmp_size: int
    """Bytes; 0: half of the machine's memory."""
    reload_check: ReloadCheck | None


@dataclass(frozen=True, slots=True)
class Config:
    """A whole configuration whose text has passed every check."""

    global_: GlobalConfig
    pools: tuple[PoolConfig, ...]
    notices: tuple[str, ...]
    """Logged once at start: values that are ignored, sections that are repeated."""
    obstacles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What this machine lacks for a pool, by its name: "FILE:LINE: [pool] directive: sentence". Such a pool fails."""
    given: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """The directives that the text sets, by the section (`global`, or the pool)."""
