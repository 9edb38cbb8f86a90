"""The way to a source of a jail, by directories in which others make links."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fpm.launcher.jail.reach import reach

FOREIGN = "a symbolic link of uid 5 leads to something of uid 0"


def reached(path: Path | str) -> int:
    """The inode."""
    fd = reach(str(path))
    try:
        return os.fstat(fd).st_ino
    finally:
        os.close(fd)


def test_links_are_followed_as_the_kernel_does(tmp_path: Path) -> None:
    end = tmp_path / "a" / "end"
    end.mkdir(parents=True)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "up").symlink_to("../a/./end")
    (tmp_path / "whole").symlink_to(tmp_path / "b")
    for path in ("a/end", "a//end/", "a/../a/end", "b/up", "whole/up", "whole/../b/up"):
        assert reached(f"{tmp_path}/{path}") == end.stat().st_ino, path
    assert reached("/") == os.stat("/").st_ino
    assert reached("/../..") == os.stat("/").st_ino


def test_what_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    (tmp_path / "file").touch()
    for path, error in (
        ("one", "Too many levels"),
        ("none", "No such file"),
        ("none/x", "No such file"),
        ("file/x", "Not a dir"),
    ):
        with pytest.raises(OSError, match=error):
            reach(f"{tmp_path}/{path}")


@pytest.mark.root
def test_a_link_leads_to_what_its_maker_owns(tmp_path: Path) -> None:
    for name, owner in (("theirs", 5), ("roots", 0)):
        (tmp_path / name).mkdir()
        os.chown(tmp_path / name, owner, owner)
    for link, owner, target in (
        ("own", 5, "theirs"),
        ("out", 5, "roots"),
        ("chain", 0, "out"),
        ("back", 5, "theirs/.."),
        ("given", 0, "roots"),
    ):
        (tmp_path / link).symlink_to(target)
        os.chown(tmp_path / link, owner, owner, follow_symlinks=False)
    (tmp_path / "closed").mkdir(mode=0o700)
    for number, place in enumerate(("/", "/etc", "/root", "/etc/shadow", tmp_path / "closed")):
        (tmp_path / f"foreign{number}").symlink_to(place)
        os.chown(tmp_path / f"foreign{number}", 5, 5, follow_symlinks=False)
    for name in ("own", "given", "theirs", "roots"):
        assert reached(tmp_path / name)
    for name in ("out", "chain", "back", *(f"foreign{number}" for number in range(5))):
        with pytest.raises(OSError, match=FOREIGN):
            reach(str(tmp_path / name))
