"""Does systemd leave the daemon as long as its configuration says. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from fpm.config.model import Config
from fpm.doctor.findings import Finding
from fpm.doctor.shell import write_file

MARGIN = 5.0
"""Seconds that the master has beyond process_control_timeout, to end what did not leave."""

_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(us|ms|s|min|h|d|w|month|y|)(?![a-z])")
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_UNITS |= {"month": 2629800.0, "y": 31557600.0}


def read_show(text: str) -> dict[str, str]:
    """Read the output of `systemctl show`: lines NAME=VALUE."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def read_span(text: str) -> float | None:
    """Read a time as systemd writes it ("1min 30s"), in seconds; infinity is inf, and what is no time None."""
    if text == "infinity":
        return math.inf
    parts = _SPAN.findall(text)
    return sum(float(number) * _UNITS[unit] for number, unit in parts) if parts else None


def judge(config: Config, unit: str, properties: Mapping[str, str]) -> list[Finding]:
    """Judge the unit of the daemon.

    Args:
        unit: its name; "" if there is none.
        properties: by their names, as of `systemctl show`.
    """
    timeout = read_span(properties.get("TimeoutStopUSec", ""))
    wanted = config.global_.process_control_timeout
    if not unit or timeout is None or timeout >= wanted + MARGIN:
        return []
    text = (
        f"{unit} gives a stop {timeout:g} s (TimeoutStopSec), and process_control_timeout gives requests {wanted:g} s: "
        "systemd would kill them before"
    )
    path = f"/etc/systemd/system/{unit}.d/stop.conf"
    commands = (
        write_file(path, "[Service]", f"TimeoutStopSec={math.ceil(wanted + 2 * MARGIN)}"),
        "systemctl daemon-reload",
    )
    return [Finding("systemd", "problem", text, commands=commands)]
