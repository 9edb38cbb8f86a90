"""Paths of pools are looked at by a process of their own first: the master looks at none that hangs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fpm.config.hung_paths import is_hung, set_hung
from fpm.config.local_system import LocalSystem
from fpm.config.system import Interpreter
from fpm.master.pool.current_config import resolve_release, still_exists
from tests.support.configuration import Files, section
from tests.support.hung import hung
from tests.support.traced import Looker


@pytest.fixture
def looker() -> Iterator[Looker]:
    with Looker() as one:
        yield one
        set_hung([])


def test_all_that_answers_is_looked_at(looker: Looker, tmp_path: Path) -> None:
    """What is asked for meanwhile has its own look; whoever asks is told once."""
    paths, done = looker.services.paths, []
    paths.look([str(tmp_path), str(tmp_path / "missing"), "/dev/null\0"], lambda: done.append("first"))
    assert not done
    looker.run(lambda: bool(looker.services.reapers) or bool(done))
    paths.look([str(tmp_path)], lambda: done.append("second"))
    looker.run(lambda: len(done) == 2)
    assert done == ["first", "second"]
    assert not is_hung(str(tmp_path))
    assert looker.log() == ""


@pytest.mark.root
def test_one_that_hangs_is_left_out_and_the_others_are_looked_at(looker: Looker, tmp_path: Path) -> None:
    dead, done = tmp_path / "dead", []
    dead.mkdir()
    with hung(dead):
        looker.services.paths.look([str(tmp_path), str(dead), f"{dead}/app.py", "/"], lambda: done.append(True))
        looker.run(lambda: bool(done))
    assert is_hung(str(dead))
    assert is_hung(f"{dead}/app.py")
    assert not is_hung(str(tmp_path))
    assert looker.log().count("does not answer") == 1


def test_nothing_looks_at_what_hangs(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    (tmp_path / "link").symlink_to(there)
    system = LocalSystem(environ={}, is_root=False, allow_root=False)
    config = Files(tmp_path).pool(section("www", chdir=str(tmp_path / "link")))
    assert resolve_release(config).config.chdir == str(there)
    set_hung([str(tmp_path / "link")])
    try:
        inside = str(tmp_path / "link" / "python3.11")
        assert system.kind(inside) == ""
        assert system.real(inside) == inside
        assert [one.mode for one in system.components(inside, "")] == [0]
        assert system.interpreter(inside, "") == Interpreter(None, ())
        assert resolve_release(config).config is config
        assert not still_exists(config)
    finally:
        set_hung([])
    assert still_exists(config)
