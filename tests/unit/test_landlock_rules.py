"""`landlock` as words, and as the structures of the kernel for each version of it."""

from __future__ import annotations

import struct

import pytest

from fpm.kernel.landlock import (
    IOCTL_DEV,
    OF_FILES,
    REFER,
    SYSTEM,
    TRUNCATE,
    Rule,
    handled,
    interpreter_paths,
    pack_rule,
    pack_ruleset,
    parse_rules,
    system_rules,
)


def test_words() -> None:
    assert parse_rules(["read", "/srv/a/", "/srv/b", "write", "/c", "read", "/d/../e"]) == [
        Rule("read", "/srv/a"),
        Rule("read", "/srv/b"),
        Rule("write", "/c"),
        Rule("read", "/e"),
    ]
    assert parse_rules([]) == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("/srv", "write read or write before '/srv'"),
        ("read srv", "expected read, write or an absolute path, found 'srv'"),
        ("read", "write a path after read"),
        ("read write /a", "write a path after read"),
        ("read /a write", "write a path after write"),
        ("exec /a", "expected read, write or an absolute path, found 'exec'"),
    ],
)
def test_words_that_are_none(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match="^" + sentence):
        parse_rules(text.split())


def test_each_version_is_asked_for_what_it_has() -> None:
    """linux/landlock.h: 13 rights at first, one more each in versions 2, 3 and 5."""
    assert [handled(version).bit_count() for version in range(1, 9)] == [13, 14, 15, 15, 16, 16, 16, 16]
    assert handled(1) & (REFER | TRUNCATE | IOCTL_DEV) == 0
    assert [len(pack_ruleset(version)) for version in range(1, 9)] == [8, 8, 8, 16, 16, 24, 24, 24]
    assert struct.unpack("=QQQ", pack_ruleset(7)) == (0xFFFF, 0, 3), "no network, all scopes"
    for version in (1, 3, 5):
        for is_directory in (True, False):
            for rule in system_rules():
                packed = pack_rule(rule.access, 9, is_directory=is_directory, version=version)
                rights, fd = struct.unpack("=Qi", packed)
                assert fd == 9
                assert rights
                assert rights & ~handled(version) == 0, "EINVAL"
                assert is_directory or rights & ~OF_FILES == 0, "EINVAL"


def test_what_may_be_read_cannot_be_written() -> None:
    rights, _ = struct.unpack("=Qi", pack_rule("read", 0, is_directory=True, version=7))
    assert rights == 0b1101, "execute, read files, list directories"
    written = {path for access, paths in SYSTEM.items() if access == "write" for path in paths}
    assert written == {"/tmp", "/var/tmp", "/dev/shm"}


@pytest.mark.parametrize(
    ("python", "real", "home", "paths"),
    [
        ("/usr/bin/python3", "/usr/bin/python3.11", "", ["/usr"]),
        ("/srv/a/venv/bin/python", "/opt/py/bin/python3.13", "/opt/py/bin", ["/srv/a/venv", "/opt/py"]),
        ("/srv/a/venv/bin/python", "/srv/a/venv/bin/python3", "/opt/py/bin", ["/srv/a/venv", "/opt/py"]),
        ("/bin/python3", "/bin/python3.11", "", ["/bin/python3", "/bin/python3.11"]),
        ("/home/anna/python", "/home/anna/python", "", ["/home/anna/python"]),
        ("/v/bin/python", "/nix/store/x-python/bin/python3", "", ["/v", "/nix/store/x-python", "/nix/store"]),
    ],
)
def test_where_an_interpreter_is(python: str, real: str, home: str, paths: list[str]) -> None:
    found = interpreter_paths(python, real, home)
    assert found == paths
    assert "/" not in found
