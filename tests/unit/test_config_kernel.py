"""The directives of "less kernel": what their text must be, and what is said of a kernel that cannot do it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fpm.config.build import parse_all
from fpm.config.check_kernel import check_kernel
from fpm.config.local_system import LocalSystem
from fpm.config.section import Diagnostics, Section, Setting, SourceLocation
from fpm.config.system import Abilities
from fpm.kernel.denied import GROUPS, STRICT_GROUPS
from tests.support.configuration import Files, section

NOTHING = Abilities(
    False, 0, False, False, {name: f"no {name} here" for name in ("seccomp", "landlock", "apparmor", "selinux")}
)
HERE = SourceLocation(0, 3, "a.conf")
DOCUMENT = Path(__file__).parents[2] / "docs" / "seccomp.md"


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def obstacles(abilities: Abilities, **settings: str) -> list[str]:
    """What is said of a pool on a machine with these abilities."""
    report = Diagnostics()
    pool = Section("pool", "www", HERE, {name: Setting(HERE, text) for name, text in settings.items()})
    parse_all(pool, Diagnostics())
    machine: Any = SimpleNamespace(abilities=lambda: abilities)
    check_kernel(pool, machine, report)
    assert not report.failed
    return list(report.obstacles().get("www", ()))


def test_a_kernel_without_filters_is_an_obstacle_for_the_pool() -> None:
    assert obstacles(NOTHING, seccomp="strict") == [
        "a.conf:3: [www] seccomp: no seccomp here. Remove the line to run without it."
    ]
    assert obstacles(NOTHING, seccomp="off") == []


def test_a_filter_needs_no_new_privs(files: Files) -> None:
    (said,) = files.complaints(section("www", seccomp="strict", no_new_privs="no"))
    assert said.startswith("main.conf:6: [www] seccomp: needs no_new_privs = yes")
    assert files.pool(section("www", seccomp="off", no_new_privs="no")).seccomp == "off"
    (said,) = files.complaints(section("www", seccomp="stric"))
    assert "expected off, default or strict, found 'stric'" in said


def test_abilities_of_this_machine() -> None:
    system = LocalSystem(environ={}, is_root=False, allow_root=False)
    found = system.abilities()
    for name in ("seccomp", "landlock", "apparmor", "selinux"):
        assert bool(getattr(found, name)) is (name not in found.missing)
        assert found.missing.get(name, "a reason")


def test_the_document_has_the_lists() -> None:
    default, strict = DOCUMENT.read_text().split("## `strict`")
    for text, groups in ((default, GROUPS), (strict, STRICT_GROUPS)):
        for title, names in groups.items():
            assert f"| {title} | {', '.join(f'`{name}`' for name in names)} |" in text


@pytest.mark.parametrize("name", ["landlock", "apparmor_profile", "selinux_context"])
def test_what_the_kernel_has_not_is_named(name: str) -> None:
    values = {"landlock": "read /srv", "apparmor_profile": "shop", "selinux_context": "system_u:system_r:httpd_t:s0:c1"}
    ability = name.partition("_")[0]
    assert obstacles(NOTHING, **{name: values[name]}) == [
        f"a.conf:3: [www] {name}: no {ability} here. Remove the line to run without it."
    ]
    assert obstacles(NOTHING, **{name: ""}) == []


@pytest.mark.parametrize(
    ("directive", "text", "said"),
    [
        ("landlock", "/srv", "write read or write before '/srv'"),
        ("landlock", "read srv", "expected read, write or an absolute path, found 'srv'"),
        ("landlock", "write", "write a path after write"),
        ("selinux_context", "httpd_t", "expected user:role:type or user:role:type:level, found 'httpd_t'"),
    ],
)
def test_mistakes_in_the_text(files: Files, directive: str, text: str, said: str) -> None:
    (complaint,) = files.complaints(section("www", **{directive: text}))
    assert complaint.startswith(f"main.conf:6: [www] {directive}: {said}")


def test_paths_must_be_there(files: Files) -> None:
    directory = files.directory / "data"
    directory.mkdir()
    text = section("www", landlock=f"read {directory} write {directory}/gone /nor/this")
    found = [one for one in files.complaints(text) if "there is no" in one]
    if not LocalSystem(environ={}, is_root=False, allow_root=False).abilities().landlock:
        pytest.skip("without Landlock nobody asks")
    assert found == [
        "main.conf:6: [www] landlock: there is no 'data/gone' (data/gone is missing). Create it, or correct the path."
    ]


def test_an_application_at_the_root_is_told(files: Files) -> None:
    (told,) = files.notices(section("www", chdir="/", landlock="read /usr"))
    assert told.startswith("main.conf:7: [www] landlock: does not allow '/' as a whole, so no module is found there.")
    assert files.notices(section("www", chdir="/", landlock="read /")) == []
    assert files.notices(section("www", landlock="read /usr")) == []
