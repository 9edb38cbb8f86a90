"""The rules of the jail's directives, and what they need of each other. Pure."""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_interface

from fpm.config.section import Diagnostics, Section
from fpm.config.system import System

ORDER = ("user", "mount", "pid", "net", "ipc", "uts", "cgroup")
_IMPLIED = {
    "mount": ("chroot.automount", "rootfs", "mount", "private_tmp"),
    "uts": ("hostname",),
}
_HOSTNAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,62}[A-Za-z0-9])?")
_NETNS = re.compile(r"netns:[A-Za-z0-9_.@-]{1,200}")
_INTERFACE = re.compile(r"[^\s/:]{1,15}")


def root_of(pool: Section) -> str:
    """Return the directory of the machine that is the root of the pool; "" for the machine's own."""
    return str(pool.values["rootfs"] or pool.values["chroot"] or "")


def root_of_python(pool: Section) -> str:
    """Return the directory in which the interpreter is looked for."""
    return "" if pool.values["chroot.automount"] else root_of(pool)


def resolve_jail(pool: Section, system: System, report: Diagnostics) -> None:
    """Check the directives, and complete `namespaces` by what others need."""
    values = pool.values
    _check_network(pool, system, report)
    if values["hostname"] and not _HOSTNAME.fullmatch(values["hostname"]):
        sentence = f"expected a host name of letters, digits, '-' and '.', at most 64, found '{values['hostname']}'"
        report.add_error(pool, "hostname", sentence)
    if values["rootfs"] and values["chroot"]:
        report.add_error(pool, "rootfs", "chroot is also set. Remove one of the two")
    if values["rootfs"] and values["chroot.automount"]:
        sentence = "is for a chroot, and rootfs has all that it needs inside. Remove one of the two"
        report.add_error(pool, "chroot.automount", sentence)
    values["hostname"] = values["hostname"] or ""
    values["private_tmp.size"] = values["private_tmp.size"] or 0
    wanted = set(values["namespaces"] or ())
    if not pool.is_valid("namespaces", "network", "mount"):
        return
    wanted |= {name for name, directives in _IMPLIED.items() if any(values[one] for one in directives)}
    if "net" in wanted and values["network"] == "host":
        values["network"] = "none"
    if values["network"] != "host":
        wanted.add("net")
    if not system.is_root and (values["chroot.automount"] or values["rootfs"]):
        wanted.add("pid")  # who is root in a user namespace only may mount no other /proc
    if "pid" in wanted:
        wanted.add("mount")
    if wanted and not system.is_root:
        wanted.add("user")
    values["namespaces"] = tuple(name for name in ORDER if name in wanted)
    _check_rights(pool, system, report)


def _check_rights(pool: Section, system: System, report: Diagnostics) -> None:
    if not pool.values["namespaces"]:
        return
    reasons = ("namespaces", "chroot.automount", "rootfs", "mount", "private_tmp", "network", "hostname")
    name = next((one for one in reasons if pool.is_set(one)), "namespaces")
    reason = system.abilities().missing.get("jail", "")
    if reason:
        report.add_obstacle(pool, name, f"cannot be applied: {reason}")


def _check_network(pool: Section, system: System, report: Diagnostics) -> None:
    values = pool.values
    network = " ".join((values["network"] or "host").split())
    values["network"] = network
    bridge, gateway = values["network.bridge"] or "", values["network.gateway"] or ""
    values["network.bridge"], values["network.gateway"] = bridge, gateway
    if network not in ("host", "none") and not system.is_root and _is_known(network):
        report.add_error(pool, "network", f"only root can have '{network}'. Use host or none, or run pyfpm as root")
    elif network.startswith("veth "):
        _check_veth(pool, system, report, network.removeprefix("veth "))
    elif not _is_known(network):
        sentence = f"expected host, none, netns:NAME or veth ADDRESS/PREFIX, found '{network}'"
        report.add_error(pool, "network", sentence)
    elif network.startswith("netns:") and not system.kind(f"/run/netns/{network.removeprefix('netns:')}"):
        name = network.removeprefix("netns:")
        report.add_obstacle(pool, "network", f"there is no network namespace '{name}'. Make it: ip netns add {name}")
    if not network.startswith("veth "):
        for name, value in (("network.bridge", bridge), ("network.gateway", gateway)):
            if value:
                report.add_error(pool, name, "is for network = veth ADDRESS/PREFIX only. Remove the line")


def _is_known(network: str) -> bool:
    return network in ("host", "none") or network.startswith("veth ") or _NETNS.fullmatch(network) is not None


def _check_veth(pool: Section, system: System, report: Diagnostics, text: str) -> None:
    bridge, gateway = pool.values["network.bridge"], pool.values["network.gateway"]
    try:
        address = ip_interface(text)
    except ValueError:
        sentence = f"expected an address and the length of its network's prefix, as in veth 10.0.9.2/24, found '{text}'"
        report.add_error(pool, "network", sentence)
        return
    if "/" not in text:
        report.add_error(pool, "network", f"write the length of the network's prefix, as in veth {text}/24")
    if not bridge or not _INTERFACE.fullmatch(bridge):
        sentence = "network = veth needs the name of a bridge, as in network.bridge = br0"
        report.add_error(pool, "network.bridge", sentence)
    elif not system.is_directory(f"/sys/class/net/{bridge}/bridge"):
        sentence = f"there is no bridge '{bridge}'. Make it: ip link add {bridge} type bridge; ip link set {bridge} up"
        report.add_obstacle(pool, "network.bridge", sentence)
    elif "ip" in system.abilities().missing:
        report.add_obstacle(pool, "network", system.abilities().missing["ip"])
    if gateway and not _is_in(gateway, address.network):
        sentence = f"expected an address in {address.network}, found '{gateway}'"
        report.add_error(pool, "network.gateway", sentence)


def _is_in(text: str, network: object) -> bool:
    try:
        return ip_address(text) in network  # type: ignore[operator]
    except (ValueError, TypeError):
        return False
