"""Connects a pool's network namespace to a bridge, by the program that every administrator knows, ip(8)."""

from __future__ import annotations

import os
import subprocess
import zlib

from fpm.launcher.jail.calls import CLONE_NEWNET, Calls
from fpm.protocol.spec import TemplateSpec

INSIDE = "eth0"
"""Name of the interface as the pool sees it."""
SEARCHED = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin", "LC_ALL": "C"}
PATIENCE = 10.0
"""Seconds for one command."""


def interface_of(spec: TemplateSpec) -> str:
    """Return the name of the interface that the machine sees, of the 15 bytes that it may have."""
    seed = f"{spec.pool} {spec.network} {spec.network_bridge} {spec.network_gateway} {spec.spawned}"
    return f"pyfpm-{zlib.crc32(seed.encode()):08x}"


def connect_network(spec: TemplateSpec, calls: Calls, network: int) -> None:
    """Make a pair of interfaces: one at the bridge, the other, with the address, in a network namespace.

    Both are gone with that namespace.

    Raises:
        OSError: a command failed; its own words say why.
    """
    address, bridge, gateway = spec.network.removeprefix("veth "), spec.network_bridge, spec.network_gateway
    outside = interface_of(spec)
    _ip(f"link add {outside} type veth peer name {INSIDE} netns /proc/{os.getpid()}/fd/{network}")
    _ip(f"link set {outside} master {bridge} up")
    home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    calls.setns(network, CLONE_NEWNET)
    try:
        _ip("link set lo up")
        _ip(f"address add {address} dev {INSIDE}")
        _ip(f"link set {INSIDE} up")
        if gateway:
            _ip(f"route add default via {gateway}")
    finally:
        calls.setns(home, CLONE_NEWNET)
        os.close(home)


def _ip(arguments: str) -> None:
    command = ["ip", *arguments.split()]
    done = subprocess.run(
        command,
        env=SEARCHED,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=PATIENCE,
        check=False,
    )
    if done.returncode:
        words = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
        raise OSError(0, f"`{' '.join(command)}` failed: {words}")
