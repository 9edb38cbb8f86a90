"""What the master tells the processes of a pool: the specification and the fixed descriptors.

The specification travels as JSON in a sealed memfd, so that the launcher, the template and its workers read the very
same values whatever their Python version. This module is shared by both sides and needs only the standard library.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, field
from typing import Any, Literal

from fpm.frozen import dataclass, known_fields

# Descriptors of a template after exec. The launcher puts them there (dup2) and makes them inheritable.
FD_CHANNEL = 3
"""SOCK_SEQPACKET to the master; EOF means that the master is gone."""
FD_SPEC = 4
FD_BUNDLE = 5
FD_SCOREBOARD = 6
FD_WAKE = 7
"""eventfd of the pool, see fpm.scoreboard.layout.WAKE_BELOW."""
FD_PARK_TAKE = 8
"""SOCK_SEQPACKET end from which an idle worker takes parked connections (SCM_RIGHTS)."""
FD_PARK_PUT = 9
"""The other end, to which a worker parks an idle kept connection. Non-blocking both."""
PARK_UNIT = 256
"""A parked connection's message is filled up to a multiple of so many bytes, and one more if its client waits for a
first answer: the bytes in the parking socket tell how many wait, without a look at what the messages contain."""
FD_LISTEN = 10
"""The listening socket, non-blocking."""
FD_STACK = 11
"""memfd of this process alone, to which it writes its stack when the master asks; see fpm.worker.self_dump."""
FD_FIRST_FREE = 12
FD_WORLD_TAKE = 12
"""Only a launcher has it, see fpm.launcher.jail.world."""
FD_WORLD_PUT = 13

INTERRUPT_SIGNAL = 45
"""Raises fpm.RequestTimeout in a worker, see fpm.worker.interrupt. SIGRTMIN+11 of glibc, as the kernel's number: other
C libraries count from another SIGRTMIN."""

BUNDLE_NUMBER = 16
"""Digits of a number in the bundle."""
BOOT_COMMAND = (
    f"import os;"
    f"exec(compile(os.pread({FD_BUNDLE},int(os.pread({FD_BUNDLE},{BUNDLE_NUMBER},0)),{BUNDLE_NUMBER}),"
    f"'<pyfpm boot>','exec'))"
)
"""What `python -c` gets: execute fpm.launcher.boot out of the bundle. The first argument is one of the two modules
below, the last one only makes room for the process title."""
LAUNCHER = "fpm.launcher.launch"
TEMPLATE = "fpm.template.template"
NO_PRELOAD = "no-preload"
"""Argument of a template that has been executed again because its application must not be preloaded."""
NO_WARMUP = "no-warmup"
"""The same, because its application must not answer the requests of preload.warmup in the template."""


Seccomp = Literal["off", "default", "strict"]


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What a worker needs to serve.

    The first attributes are those of fpm.config.model.PoolConfig of the same name (networks as texts in CIDR form): a
    directive that a worker needs is named here, and fpm.master.pool.specs.worker_settings() takes it along.
    """

    pm: str
    pm_max_children: int
    pm_max_requests: int
    pm_max_requests_jitter: int
    pm_max_memory: int
    pm_background_max: int
    pm_status_path: str | None
    pm_status_allow: list[str]
    ping_path: str | None
    ping_response: str
    script_name: str | None
    listen_allowed_clients: list[str]
    access_format: str
    access_suppress_path: list[str]
    request_body_spool: bool
    read_timeout: float
    send_timeout: float
    request_slowlog_timeout: float
    request_terminate_timeout_track_finished: bool
    app: str
    # And what the master knows besides.
    pool: str
    slots: int
    log_limit: int
    listen_is_unix: bool
    has_access_log: bool
    # Not known to former releases.
    hotpath: bool = True
    request_statistics: bool = True


@dataclass(frozen=True, slots=True)
class TemplateSpec:
    """Everything a template needs, from identity to application."""

    pool: str
    generation: int
    mode: str
    """"template", or "unavailable": no application, serve the 503 page from the launcher itself."""
    python: str
    python_arguments: list[str]
    app: str
    preload: str
    preload_warmup: list[str]
    """Each as in "GET /path"."""
    startup_timeout: float
    spawned: float
    """When the launcher was executed (CLOCK_MONOTONIC, which all processes share): from then on the time counts."""
    pythonpath: list[str]
    chroot: str | None
    chdir: str | None
    uid: int | None
    """None: keep the master's identity."""
    gid: int | None
    groups: list[int]
    environ: dict[str, str]
    """The complete environment of the application."""
    rlimit_files: int
    """0: unchanged. The soft limit the master was started with is restored in any case."""
    rlimit_processes: int
    """0: unchanged."""
    rlimit_core: int | None
    """None: unchanged; -1: unlimited."""
    original_rlimit_files: list[int]
    priority: int | None
    dumpable: bool
    no_new_privs: bool
    seccomp: Seccomp
    landlock: list[str]
    """As in the configuration: read PATH... write PATH...; empty: not restricted."""
    apparmor_profile: str | None
    selinux_context: str | None
    worker: WorkerSettings
    # Not known to former releases.
    user: str = ""
    """Its name, and those of the groups, are all that the pool knows of users where it sees no other's."""
    group_names: list[tuple[int, str]] = field(default_factory=list)
    namespaces: list[str] = field(default_factory=list)
    chroot_automount: bool = False
    rootfs: str | None = None
    hostname: str = ""
    network: str = "host"
    mount: list[str] = field(default_factory=list)
    """Lines for fpm.protocol.mounts."""
    network_bridge: str = ""
    network_gateway: str = ""
    world: list[str] = field(default_factory=list)
    """What the generations of the pool share: "net", "mnt"."""
    private_tmp: bool = False
    private_tmp_size: int = 0
    """Bytes."""
    ptracer: int = 0
    """Pid that each process names as its tracer (kernel.yama.ptrace_scope = 1); 0: none."""
    listen_is_ours: bool = True
    """The listening socket is of no use to anybody when the master is gone."""
    # Not known to former releases.
    cgroup_directory: str = ""
    """Of the pool's control group, which the launcher enters; "": it stays in the master's."""
    rlimit_as: int | None = None
    """As rlimit_core; the next two likewise."""
    rlimit_fsize: int | None = None
    rlimit_memlock: int | None = None
    cpu_affinity: Sequence[int] = ()
    """Empty: unchanged."""
    io_priority: str | None = None
    """Class and level, as in "best-effort 4"; None: unchanged."""
    oom_score_adjust: int | None = None
    umask: int | None = None
    """Of the processes, also after the import of the application; None: unchanged."""
    env_file: str | None = None
    """Has more variables, which take precedence over `environ`; the launcher reads it."""


def pack_spec(spec: TemplateSpec) -> bytes:
    """The specification as JSON bytes."""
    return json.dumps(asdict(spec)).encode()


def unpack_spec(data: bytes) -> TemplateSpec:
    """The specification from JSON bytes, of this version of pyfpm or, in an upgrade, of another.

    Raises:
        ValueError, KeyError, TypeError: the bytes are not a specification.
    """
    values: dict[str, Any] = json.loads(data)
    worker = WorkerSettings(**known_fields(WorkerSettings, values["worker"]))
    return TemplateSpec(**known_fields(TemplateSpec, values) | {"worker": worker})


FORCED = 59
"""Real-time signals kill by default, so only a process that catches them may be sent them. These two are far from both
ends, where C libraries, debuggers and emulators take theirs."""
POLITE = 58
STACK_MAX = 262144
"""Bytes behind FD_STACK beyond which its process empties it before it writes."""
BEGIN, NUMBERS, END = b"begin\n", b"numbers\n", b"end\n"
"""Around the stacks of all threads and, after them, `ident tid` of each thread."""
