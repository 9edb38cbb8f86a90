"""Lines of `mount[]`, and what a jail is made of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fpm.config.check_jail import ORDER
from fpm.launcher.jail.plan import SETTINGS, SYSTEM, plan_root
from fpm.launcher.jail.steps import Bind, Directory, Entries, FileSystem, Link, Mirror, Overlay, TextFile, Tree
from fpm.master.pool.specs import template_spec
from fpm.protocol.mounts import InvalidMount, MountLine, parse_mount
from tests.support.configuration import Files, section

UNDERSTOOD = {
    "bind /srv/data /data": MountLine("bind", ("/srv/data",), "/data", frozenset(), ()),
    "bind /srv/data /data ro,noexec": MountLine("bind", ("/srv/data",), "/data", frozenset({"ro", "noexec"}), ()),
    "bind /srv/a:b /data ro noexec nosuid": MountLine("bind", ("/srv/a:b",), "/data", frozenset({"ro", "noexec"}), ()),
    "tmpfs /cache": MountLine("tmpfs", (), "/cache", frozenset(), ()),
    "tmpfs none /cache": MountLine("tmpfs", (), "/cache", frozenset(), ()),
    "tmpfs /dev/null /cache rw": MountLine("tmpfs", (), "/cache", frozenset({"rw"}), ()),
    "tmpfs /cache size=64M,mode=1777": MountLine(
        "tmpfs", (), "/cache", frozenset(), (("size", "64M"), ("mode", "1777"))
    ),
    "proc /proc hidepid=2": MountLine("proc", (), "/proc", frozenset(), (("hidepid", "2"),)),
    "overlay /a:/b /c": MountLine("overlay", ("/a", "/b"), "/c", frozenset(), ()),
    "overlay /a /c upperdir=/u,workdir=/w": MountLine(
        "overlay", ("/a",), "/c", frozenset(), (("upperdir", "/u"), ("workdir", "/w"))
    ),
}
REFUSED = {
    "": "expected bind, tmpfs, proc or overlay first, found ''",
    "ext4 /dev/sda /mnt": "expected bind, tmpfs, proc or overlay first, found 'ext4'",
    "bind": "expected an absolute path after bind",
    "bind data /data": "expected an absolute path after bind",
    "bind /data": "expected where the pool sees it, an absolute path without '..', found 'bind /data'",
    "bind /data data": "found 'data'",
    "bind /data /a/../b": "found '/a/../b'",
    "bind /data /": "bind cannot be shown at /, the root itself. For another root use rootfs = DIRECTORY",
    "tmpfs //": "tmpfs cannot be shown at /",
    "bind /data /b suid": "'suid' is no option of bind here. Expected some of: noexec, ro, rw",
    "bind /data /b dev": "'dev' is no option of bind here",
    "bind /data /b size=1M": "'size=1M' is no option of bind here",
    "tmpfs /b size=1X": "'size=1X' is no option of tmpfs here. Expected some of: noexec, ro, rw, mode=, nr_inodes=",
    "tmpfs /b mode=9": "'mode=9' is no option of tmpfs here",
    "tmpfs /b uid=0": "'uid=0' is no option of tmpfs here",
    "proc /p hidepid=3": "'hidepid=3' is no option of proc here",
    "overlay /a:b /c": "expected an absolute path after overlay",
    "overlay /a /c": "an overlay of one directory needs upperdir= and workdir=, or use: bind /a /c ro",
    "overlay /a /c upperdir=/u": "upperdir and workdir need each other",
    "overlay /a:/b /c workdir=/u": "upperdir and workdir need each other",
    "overlay /a /c upperdir=u,workdir=/w": "'upperdir=u' is no option of overlay here",
    "overlay /a /c lowerdir=/etc": "'lowerdir=/etc' is no option of overlay here",
}


@pytest.mark.parametrize("text", UNDERSTOOD)
def test_a_line_is_understood(text: str) -> None:
    assert parse_mount(text) == UNDERSTOOD[text]


@pytest.mark.parametrize("text", REFUSED)
def test_a_line_is_refused(text: str) -> None:
    with pytest.raises(InvalidMount) as caught:
        parse_mount(text)
    assert REFUSED[text] in str(caught.value)


@pytest.fixture
def spec(tmp_path: Any) -> Any:
    """What a template of an ordinary pool is told; its jail is that of no namespaces."""
    pool = Files(tmp_path).pool(section("www"))
    settings = replace(pool, chdir="/srv/shop", app="shop:application", pythonpath=())
    made = template_spec(
        settings,
        generation=1,
        worker=None,  # type: ignore[arg-type]
        original_rlimit_files=(1, 1),
        priority=None,
        inherited={},
        now=0.0,
    )
    return replace(made, uid=1234, gid=1234, user="shop", group_names=[(1234, "shop"), (7, "web")], private_tmp=False)


def jail(spec: Any, *, also: tuple[str, ...] = (), **changes: Any) -> Any:
    return replace(spec, namespaces=[name for name in ORDER if name in {"mount", *also}], **changes)


def targets(plan: Any, kind: type) -> list[str]:
    return [step.target for step in plan.steps if isinstance(step, kind)]


def test_without_a_mount_namespace_the_root_stays(spec: Any) -> None:
    assert plan_root(replace(spec, namespaces=["net"]), ["/usr/bin/python3"], ()) is None


def test_a_new_root_has_the_system_read_only(spec: Any) -> None:
    plan = plan_root(jail(spec, chroot_automount=True), ["/srv/venv/bin/python", "/usr/bin/python3.11"], ())
    assert plan is not None
    assert plan.base == ""
    assert [step.path for step in plan.steps if isinstance(step, Mirror)] == list(SYSTEM)
    settings = [step for step in plan.steps if isinstance(step, Bind) and step.target.startswith("/etc/")]
    assert {step.target for step in settings} == {f"/etc/{name}" for name in SETTINGS}
    assert all(step.options == {"ro", "noexec"} and step.may_lack and not step.is_theirs for step in settings)
    shown = [step for step in plan.steps if isinstance(step, Bind) and step.is_theirs]
    assert shown == [Bind("/srv/shop", "/srv/shop"), Bind("/srv/venv", "/srv/venv", frozenset({"ro"}))]
    devices = [step for step in plan.steps if isinstance(step, Bind) and step.target.startswith("/dev/")]
    assert all(step.options == {"dev", "noexec"} for step in devices)
    assert targets(plan, FileSystem) == ["/dev", "/dev/shm", "/proc", "/tmp", "/var/tmp"]
    assert "/dev/stderr" in targets(plan, Link)
    assert targets(plan, Directory) == ["/run"]


@pytest.mark.parametrize("name", ["shadow", "passwd", "group", "ssh", "nginx", "ssl/private", "sudoers", "machine-id"])
def test_settings_of_servers_are_not_shown(name: str) -> None:
    assert not [one for one in SETTINGS if one == name or name.startswith(f"{one}/")]


def test_names_are_those_of_the_pool(spec: Any) -> None:
    plan = plan_root(jail(spec, chroot_automount=True, environ={"HOME": "/srv/shop"}), ["/usr/bin/python3"], ())
    assert plan is not None
    files = {step.target: step.text.splitlines() for step in plan.steps if isinstance(step, TextFile)}
    assert files["/etc/passwd"] == [
        "root:x:0:0:root:/:/usr/sbin/nologin",
        "shop:x:1234:1234::/srv/shop:/usr/sbin/nologin",
        "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin",
    ]
    assert files["/etc/group"] == ["root:x:0:", "web:x:7:", "shop:x:1234:", "nogroup:x:65534:"]


def test_a_chroot_shows_its_entries_and_not_the_applications_path(spec: Any) -> None:
    plan = plan_root(jail(spec, chroot_automount=True, chroot="/srv/root"), ["/usr/bin/python3"], ())
    assert plan is not None
    assert [step for step in plan.steps if isinstance(step, Entries)] == [Entries("/srv/root", "/")]
    assert "/srv/shop" not in targets(plan, Bind)


def test_proc_is_that_of_the_pool_or_hides_others(spec: Any) -> None:
    for also, data in (((), "hidepid=2"), (("pid",), "")):
        plan = plan_root(jail(spec, chroot_automount=True, also=also), ["/usr/bin/python3"], ())
        assert plan is not None
        assert [step.data for step in plan.steps if isinstance(step, FileSystem) and step.kind == "proc"] == [data]
    plan = plan_root(jail(spec), ["/usr/bin/python3"], ())
    assert plan is not None
    assert (plan.base, plan.steps) == ("/", ())


def test_trees_that_generations_share_are_taken(spec: Any) -> None:
    shared = ("/tmp", "/var/tmp", "/dev/shm")
    plan = plan_root(jail(spec, chroot_automount=True), ["/usr/bin/python3"], shared)
    assert plan is not None
    assert sorted(targets(plan, Tree)) == sorted(shared)
    plan = plan_root(jail(spec, private_tmp=True), ["/usr/bin/python3"], shared)
    assert plan is not None
    assert [(step.target, step.may_lack) for step in plan.steps if isinstance(step, Tree)] == [
        ("/tmp", True),
        ("/var/tmp", True),
    ]


def test_an_application_below_tmp_is_shown_in_a_private_one(spec: Any) -> None:
    plan = plan_root(jail(spec, private_tmp=True, chdir="/tmp/shop"), ["/tmp/venv/bin/python", "/usr/bin/python3"], ())
    assert plan is not None
    assert targets(plan, Bind) == ["/tmp/shop", "/tmp/venv"]


@pytest.mark.parametrize("app", ["script:'/tmp/my shop/shop.fcgi' --port 1", "/tmp/my shop/shop.py:app"])
def test_the_directory_of_an_application_may_have_blanks(spec: Any, app: str) -> None:
    plan = plan_root(jail(spec, private_tmp=True, chdir=None, app=app), ["/usr/bin/python3"], ())
    assert plan is not None
    assert "/tmp/my shop" in targets(plan, Bind)


def test_devices_count_in_a_chroot_alone(spec: Any) -> None:
    for change, options in (({"rootfs": "/srv/root"}, frozenset()), ({"chroot": "/srv/root"}, frozenset({"dev"}))):
        plan = plan_root(jail(spec, **change), ["/usr/bin/python3"], ())
        assert plan is not None
        assert (plan.base, plan.options) == ("/srv/root", options)
        assert ("/dev" in targets(plan, FileSystem)) is ("rootfs" in change)


def test_own_mounts_come_last(spec: Any) -> None:
    lines = ["tmpfs /tmp size=1M", "bind /a /b ro", "overlay /x:/y /z", "tmpfs /modes mode=700"]
    plan = plan_root(jail(spec, chroot_automount=True, mount=lines), ["/usr/bin/python3"], ())
    assert plan is not None
    assert plan.steps[-4:] == (
        FileSystem("tmpfs", "/tmp", frozenset(), "mode=755,size=1M"),
        Bind("/a", "/b", frozenset({"ro"})),
        Overlay(("/x", "/y"), "", "", "/z", frozenset()),
        FileSystem("tmpfs", "/modes", frozenset(), "mode=700"),
    )
