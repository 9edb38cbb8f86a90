"""What the processes of a pool may take of the machine; the kernel hands it on to all that they start."""

from __future__ import annotations

import os
import resource

from fpm.launcher.step import step
from fpm.protocol.spec import TemplateSpec


def apply_limits(spec: TemplateSpec) -> None:
    """Apply rlimits and priority, which may need root.

    Raises:
        OSError: a step failed; `filename` says which.
    """
    step("rlimit_files", lambda: _limit_files(spec))
    processes = spec.rlimit_processes
    if processes:
        limits = (processes, processes)
        step(f"rlimit_processes = {processes}", lambda: resource.setrlimit(resource.RLIMIT_NPROC, limits))
    core = spec.rlimit_core
    if core is not None:
        value = resource.RLIM_INFINITY if core < 0 else core
        step(f"rlimit_core = {core}", lambda: resource.setrlimit(resource.RLIMIT_CORE, (value, value)))
    priority = spec.priority
    if priority is not None:
        step(f"process.priority = {priority}", lambda: os.setpriority(os.PRIO_PROCESS, 0, priority))


def _limit_files(spec: TemplateSpec) -> None:
    soft, hard = spec.original_rlimit_files
    if spec.rlimit_files:
        soft = hard = spec.rlimit_files
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
