"""What the processes of a pool may take of the machine; the kernel hands it on to all that they start."""

from __future__ import annotations

import errno
import os
import resource

from fpm.launcher.step import step
from fpm.paths.files import write_kernel_file
from fpm.protocol.spec import TemplateSpec
from fpm.system.io_priority import load_set_io_priority


def apply_limits(spec: TemplateSpec) -> None:
    """Enter the cgroup; apply rlimits, priorities and CPUs, of which some need root and /proc.

    Raises:
        OSError: a step failed; `filename` says which.
    """
    if spec.cgroup_directory:
        # First: all that follows is the pool's.
        step(f"cgroup {spec.cgroup_directory}", lambda: write_kernel_file(f"{spec.cgroup_directory}/cgroup.procs", "0"))
    step("rlimit_files", lambda: _limit_files(spec))
    if spec.rlimit_processes:
        _limit("rlimit_processes", resource.RLIMIT_NPROC, spec.rlimit_processes)
    _limit("rlimit_core", resource.RLIMIT_CORE, spec.rlimit_core)
    _limit("rlimit_fsize", resource.RLIMIT_FSIZE, spec.rlimit_fsize)
    _limit("rlimit_memlock", resource.RLIMIT_MEMLOCK, spec.rlimit_memlock)
    _apply_priorities(spec)
    if spec.cpu_affinity:
        wanted = frozenset(spec.cpu_affinity)
        step(f"cpu_affinity = {','.join(map(str, spec.cpu_affinity))}", lambda: _bind_to_cpus(wanted))
    # Last: whatever is loaded later needs room in it.
    _limit("rlimit_as", resource.RLIMIT_AS, spec.rlimit_as)


def _apply_priorities(spec: TemplateSpec) -> None:
    priority = spec.priority
    if priority is not None:
        step(f"process.priority = {priority}", lambda: os.setpriority(os.PRIO_PROCESS, 0, priority))
    io_priority = spec.io_priority
    if io_priority is not None:
        set_io_priority = load_set_io_priority()
        step(f"io_priority = {io_priority}", lambda: set_io_priority(io_priority))
    score = spec.oom_score_adjust
    if score is not None:
        step(f"oom_score_adjust = {score}", lambda: _adjust_oom_score(score))


def _limit_files(spec: TemplateSpec) -> None:
    soft, hard = spec.original_rlimit_files
    if spec.rlimit_files:
        soft = hard = spec.rlimit_files
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _limit(name: str, number: int, value: int | None) -> None:
    """Set a limit, soft and hard.

    Args:
        value: None: unchanged; -1: unlimited.
    """
    if value is None:
        return
    spelled = "unlimited" if value < 0 else str(value)

    def apply() -> None:
        try:
            resource.setrlimit(number, (value, value))
        except (ValueError, PermissionError):
            hard = resource.getrlimit(number)[1]
            sentence = f"the daemon has a hard limit of {hard}, which only root (CAP_SYS_RESOURCE) can raise"
            raise OSError(0, sentence) from None

    step(f"{name} = {spelled}", apply)


def explain_lack(error: OSError) -> str:
    """Say what to do where the kernel gives this user no more processes; "" if the error is another."""
    if error.errno != errno.EAGAIN:
        return ""
    limit, uid = resource.getrlimit(resource.RLIMIT_NPROC)[0], os.getuid()
    allowed = "its limits allow (cgroup.pids_max)" if limit < 0 else f"the limit of {limit} allows (rlimit_processes)"
    return f"; user {uid} has as many processes and threads as {allowed}: end some, see ps -L -u {uid}, or raise it"


def _bind_to_cpus(wanted: frozenset[int]) -> None:
    try:
        os.sched_setaffinity(0, wanted)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}: none of these CPUs may be used here (cpuset)") from None
    # The kernel leaves out those outside the cpuset and says nothing.
    refused = sorted(wanted - os.sched_getaffinity(0))
    if refused:
        raise OSError(0, f"CPU {','.join(map(str, refused))} may not be used here (cpuset)")


def _adjust_oom_score(score: int) -> None:
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write(str(score))
    except PermissionError as error:
        with open("/proc/self/oom_score_adj") as file:
            own = file.read().strip()
        sentence = f"the daemon has {own}, and only root (CAP_SYS_RESOURCE) can go below what root has set"
        raise OSError(error.errno, sentence) from None
