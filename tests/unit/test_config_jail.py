"""The directives of the jail: what they need of each other, and what is said with file and line."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fpm.config.build import parse_all
from fpm.config.check_jail import ORDER, resolve_jail
from fpm.config.jail_rights import LIMITS, jail_obstacle
from fpm.config.section import Diagnostics, Section, Setting, SourceLocation
from fpm.stacks.credentials import parse_status
from tests.support.configuration import Files, section


def resolve(
    *, is_root: bool = True, missing: dict[str, str] | None = None, exists: tuple[str, ...] = (), **settings: str
) -> tuple[Section, list[str], list[str]]:
    """A pool of these settings, one a line from line 3 on; its errors and obstacles."""
    report = Diagnostics()
    named = {name.replace("__", "."): text for name, text in settings.items()}
    lines = {name: Setting(SourceLocation(0, 3 + n, "a.conf"), text) for n, (name, text) in enumerate(named.items())}
    pool = Section("pool", "www", SourceLocation(0, 2, "a.conf"), lines)
    parse_all(pool, report)
    machine: Any = SimpleNamespace(
        is_root=is_root,
        abilities=lambda: SimpleNamespace(missing=missing or {}),
        kind=lambda path: "directory" if path in exists else "",
        is_directory=lambda path: path in exists,
    )
    resolve_jail(pool, machine, report)
    errors = [str(one) for one in report.failed.get("www", ())] if isinstance(report.failed, dict) else []
    return pool, errors, list(report.obstacles().get("www", ()))


IMPLIED = {
    "": (),
    "mount": ("mount",),
    "pid": ("mount", "pid"),
    "net ipc uts cgroup": ("net", "ipc", "uts", "cgroup"),
    "network": ("net",),
}


@pytest.mark.parametrize("text", IMPLIED)
def test_namespaces_that_others_need(text: str) -> None:
    pool, _, obstacles = resolve(**({"namespaces": text} if text else {}))
    assert pool.values["namespaces"] == IMPLIED[text]
    assert obstacles == []


@pytest.mark.parametrize(
    ("settings", "namespaces"),
    [
        ({"chroot__automount": "yes"}, ("mount",)),
        ({"private_tmp": "yes"}, ("mount",)),
        ({"hostname": "shop"}, ("uts",)),
        ({"network": "none"}, ("net",)),
        ({"namespaces": "net"}, ("net",)),
    ],
)
def test_directives_bring_their_namespaces(settings: dict[str, str], namespaces: tuple[str, ...]) -> None:
    pool, _, _ = resolve(**settings)
    assert pool.values["namespaces"] == namespaces
    ordinary, _, _ = resolve(is_root=False, **settings)
    more = {"user", *(("pid", "mount") if "chroot__automount" in settings else ())}
    assert ordinary.values["namespaces"] == tuple(name for name in ORDER if name in {*namespaces, *more})
    assert pool.values["network"] == ("none" if "net" in namespaces else "host")


def test_what_the_machine_cannot_do_is_said_at_the_directive_that_asks_for_it() -> None:
    for name in ("namespaces", "chroot__automount", "private_tmp", "hostname", "network"):
        text = {"namespaces": "pid", "hostname": "x", "network": "none"}.get(name, "yes")
        _, _, (said,) = resolve(missing={"jail": "it needs more"}, listen="9000", **{name: text})
        assert said == f"a.conf:4: [www] {name.replace('__', '.')}: cannot be applied: it needs more."


NETWORK = {
    "veth 10.0.0.2": "write the length of the network's prefix, as in veth 10.0.0.2/24",
    "veth here": "expected an address and the length of its network's prefix, as in veth 10.0.9.2/24, found 'here'",
    "veth 10.0.0.2/33": "expected an address and the length of its network's prefix",
    "bridge": "expected host, none, netns:NAME or veth ADDRESS/PREFIX, found 'bridge'",
    "netns:": "expected host, none, netns:NAME or veth ADDRESS/PREFIX, found 'netns:'",
    "netns:../x": "expected host, none, netns:NAME or veth ADDRESS/PREFIX, found 'netns:../x'",
}


@pytest.mark.parametrize("text", NETWORK)
def test_a_network_that_is_none(tmp_path: Path, text: str) -> None:
    more = {"network__bridge": "br0"} if text.startswith("veth") else {}
    said = Files(tmp_path).complaints(section("www", user="daemon", network=text, **more), is_root=True)
    assert any(one.startswith("main.conf:7: [www] network: ") and NETWORK[text] in one for one in said), said


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"network": "veth 10.0.0.2/24"}, "[www] network.bridge: network = veth needs the name of a bridge"),
        ({"network__bridge": "br0"}, "main.conf:7: [www] network.bridge: is for network = veth ADDRESS/PREFIX only"),
        ({"network__gateway": "10.0.0.1"}, "main.conf:7: [www] network.gateway: is for network = veth"),
        (
            {"network": "veth 10.0.0.2/24", "network__bridge": "br0", "network__gateway": "10.0.1.1"},
            "main.conf:9: [www] network.gateway: expected an address in 10.0.0.0/24, found '10.0.1.1'",
        ),
        ({"hostname": "a b"}, "main.conf:7: [www] hostname: expected a host name of letters"),
        ({"hostname": "x" * 65}, "main.conf:7: [www] hostname: expected a host name of letters"),
        ({"rootfs": "/usr", "chroot": "/usr"}, "main.conf:7: [www] rootfs: chroot is also set. Remove one of the two"),
        ({"rootfs": "/usr", "chroot__automount": "yes"}, "[www] chroot.automount: is for a chroot, and rootfs has all"),
        ({"mount[]": "bind a /b"}, "main.conf:7: [www] mount: expected an absolute path after bind"),
        ({"namespaces": "time"}, "main.conf:7: [www] namespaces: expected "),
    ],
)
def test_what_does_not_go_together(tmp_path: Path, settings: dict[str, str], part: str) -> None:
    said = Files(tmp_path).complaints(section("www", user="daemon", **settings), is_root=True)
    assert any(part in one for one in said), said


def test_networks_that_do_not_exist_fail_the_pool() -> None:
    _, _, (said,) = resolve(network="netns:blue")
    assert said.startswith("a.conf:3: [www] network: there is no network namespace 'blue'. Make it: ip netns add blue")
    veth = {"network": "veth 10.0.0.2/24", "network__bridge": "br0"}
    _, _, (said,) = resolve(**veth)
    assert "a.conf:4: [www] network.bridge: there is no bridge 'br0'. Make it: ip link add br0 type bridge" in said
    bridge = ("/sys/class/net/br0/bridge",)
    assert resolve(exists=bridge, **veth)[2] == []
    _, _, (said,) = resolve(exists=bridge, missing={"ip": "the program 'ip' is missing"}, **veth)
    assert said.startswith("a.conf:3: [www] network: the program 'ip' is missing")


def test_networks_that_root_alone_can_have(tmp_path: Path) -> None:
    for text in ("netns:x", "veth 10.0.0.2/24"):
        (said,) = Files(tmp_path).complaints(section("www", network=text))
        assert said.startswith(f"main.conf:6: [www] network: only root can have '{text}'. Use host or none, or run")


@pytest.mark.parametrize("path", LIMITS)
def test_settings_of_the_kernel_that_keep_ordinary_users_out(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    value, words = LIMITS[path]
    monkeypatch.setattr("fpm.config.jail_rights.read_setting", lambda asked: value if asked == path else "2")
    assert f"ordinary users may not make namespaces here ({words}); run pyfpm as root" in jail_obstacle(is_root=False)
    monkeypatch.setattr("fpm.config.jail_rights.read_setting", lambda asked: "2")
    assert jail_obstacle(is_root=False) == ""


def test_capabilities_and_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    for mask, part in (("000001ffffdfffff", "it needs CAP_SYS_ADMIN"), ("000001ffffffffff", "")):
        status = parse_status(f"Name:\tx\nCapEff:\t{mask}\n")
        monkeypatch.setattr("fpm.config.jail_rights.read_status", lambda asked, status=status: status)
        said = jail_obstacle(is_root=True)
        assert said.startswith(part)
        assert bool(said) is bool(part)
    monkeypatch.setattr("os.uname", lambda: SimpleNamespace(release="5.10.0-9"))
    assert jail_obstacle(is_root=True) == "it needs Linux 5.12 or later, and this is 5.10.0-9"


MOUNTS: dict[str, tuple[dict[str, object], str]] = {
    "bind /nowhere/a /mnt": ({}, "there is no '/nowhere/a' (the source of bind /mnt). Create it, or correct the path"),
    "bind /usr /nowhere/b/c": ({}, "there is no /nowhere/b/c to mount on (/nowhere is missing). Create it, empty, or"),
    "tmpfs /nowhere/b": ({}, "there is no /nowhere/b to mount on (/nowhere is missing). Create it, empty, or correct"),
    "overlay /usr /mnt upperdir=/nowhere/u,workdir=/usr": ({}, "there is no '/nowhere/u' (upperdir of overlay /mnt)"),
    "overlay /usr /mnt upperdir=/usr,workdir=/nowhere/w": ({}, "there is no '/nowhere/w' (workdir of overlay /mnt)"),
    "tmpfs /nowhere/c": ({"chroot__automount": True}, ""),
    "bind /usr /tmp/nowhere": ({"private_tmp": True}, ""),
    "bind /nowhere/a /mnt/a": ({"chroot__automount": True}, "there is no '/nowhere/a' (the source of bind /mnt/a)"),
}


@pytest.mark.root
@pytest.mark.parametrize("line", MOUNTS)
def test_what_a_mount_lacks_on_this_machine(tmp_path: Path, line: str) -> None:
    settings, part = MOUNTS[line]
    text = section("www", user="daemon", **settings, **{"mount[]": "tmpfs /mnt"})
    text += f"mount[] = {line}\nmount[] = tmpfs /mnt/anew\nhostname = one mistake\n"
    said = [one for one in Files(tmp_path).complaints(text, is_root=True) if "] mount: " in one]
    assert len(said) == bool(part), said
    number = len(text.splitlines()) - 2
    assert all(one.startswith(f"main.conf:{number}: [www] mount: {part}") for one in said), said
