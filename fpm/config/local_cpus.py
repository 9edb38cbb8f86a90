"""The CPUs of this machine."""

from __future__ import annotations

import os

from fpm.config.bound_values import parse_cpus
from fpm.config.invalid_value import InvalidValue

ONLINE = "/sys/devices/system/cpu/online"


def online_cpus() -> frozenset[int]:
    """Return the CPUs that are online; those of this process where the kernel does not say."""
    try:
        with open(ONLINE) as file:
            return frozenset(parse_cpus(file.read(4096)))
    except (OSError, InvalidValue):
        return frozenset(os.sched_getaffinity(0))
