"""What a generation keeps: where its paths lead, which went before it, and how that survives an upgrade."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from fpm.config.load import load
from fpm.config.model import PoolConfig
from fpm.config.packed import pack_pool, unpack_pool
from fpm.errors import StartError
from fpm.master.pool.current_config import CurrentConfig, resolve_release, restore_config
from fpm.master.reload.rollback import find_rollback

POOL = """
[www]
listen = {place}/www.sock
listen.allowed_clients = 127.0.0.1, 10.0.0.0/8, ::1
pm.status_listen = [::1]:9001
pm = static
pm.max_children = 2
env[COLOUR] = blue
reload.check = GET /healthz 200 5s
chdir = {place}/current
pythonpath = {place}/lib
app = shop:application
python = /usr/bin/python3
"""


@pytest.fixture
def pool(tmp_path: Path) -> PoolConfig:
    for number in "123":
        (tmp_path / number).mkdir()
    (tmp_path / "lib").mkdir()
    switch(tmp_path, "1")
    file = tmp_path / "pyfpm.conf"
    file.write_text(POOL.format(place=tmp_path))
    return load(str(file), environ={}, is_root=False).pools[0]


def switch(place: Path, release: str) -> None:
    (place / "current").unlink(missing_ok=True)
    (place / "current").symlink_to(release)


def reload(current: CurrentConfig, config: PoolConfig) -> None:
    current.new_generation(config, resolve_release(config), current.next_generation())


def test_a_configuration_is_the_same_after_an_upgrade(pool: PoolConfig) -> None:
    packed = json.loads(json.dumps(pack_pool(pool)))
    assert unpack_pool(packed, replace(pool, app="other:app", env=())) == pool
    # A directive that the former program did not know is as the file says; what this one does not know is nothing.
    del packed["app"]
    packed["no_longer_there"] = 7
    assert unpack_pool(packed, replace(pool, app="other:app")) == replace(pool, app="other:app")


def test_generations_and_their_release_survive_an_upgrade(pool: PoolConfig, tmp_path: Path) -> None:
    current = CurrentConfig(pool)
    current.begin()
    switch(tmp_path, "2")
    reload(current, replace(pool, pm_max_children=7))
    state = json.loads(json.dumps(current.dump()))
    switch(tmp_path, "3")
    after = CurrentConfig(restore_config(state, pool))
    after.restore(state)
    assert vars(after) == vars(current)
    assert after.config.pm_max_children == 7
    assert after.resolved.chdir == f"{tmp_path}/2"


def test_the_paths_tell_of_another_directory_and_another_interpreter(pool: PoolConfig, tmp_path: Path) -> None:
    python = tmp_path / "python3"
    python.write_text("one")
    link = tmp_path / "venv"
    (tmp_path / "venv-1" / "bin").mkdir(parents=True)
    (tmp_path / "venv-1" / "bin" / "python").symlink_to(python)
    link.symlink_to("venv-1")
    pool = replace(pool, python=f"{link}/bin/python")
    before = resolve_release(pool)
    assert before.directory == f"{tmp_path}/1"
    assert not resolve_release(pool).differences(before)
    switch(tmp_path, "2")
    assert resolve_release(pool).differences(before) == {"chdir"}
    switch(tmp_path, "1")
    python.unlink()
    python.write_text("another")
    os.utime(python, ns=(1, 1))
    assert resolve_release(pool).differences(before) == {"python"}
    (tmp_path / "lib").rmdir()
    (tmp_path / "lib").symlink_to("2")
    assert resolve_release(pool).differences(before) == {"python", "pythonpath"}


def test_links_in_a_jail_are_those_of_the_jail(pool: PoolConfig, tmp_path: Path) -> None:
    jail = tmp_path / "jail"
    (jail / "srv" / "1").mkdir(parents=True)
    (jail / "srv" / "current").symlink_to("/srv/1")
    release = resolve_release(replace(pool, chroot=str(jail), chdir="/srv/current"))
    assert release.config.chdir == "/srv/current", "it is followed in the jail, when a template starts"
    assert release.directory == f"{jail}/srv/1"


def test_a_rollback_goes_to_the_last_generation_that_differs(pool: PoolConfig, tmp_path: Path) -> None:
    current = CurrentConfig(pool)
    current.begin()
    with pytest.raises(StartError, match="pool www has no previous generation"):
        find_rollback(current, resolve_release)
    reload(current, pool)
    with pytest.raises(StartError, match=rf"generation 2 has the same directory \({tmp_path}/1\)"):
        find_rollback(current, resolve_release)
    switch(tmp_path, "2")
    reload(current, pool)
    former, note = find_rollback(current, resolve_release)
    assert (former.number, former.release.directory) == (2, f"{tmp_path}/1")
    assert note == "back from generation 3 to what generation 2 was"
    reload(current, pool)
    former, note = find_rollback(current, resolve_release)
    assert former.number == 2, "a reload of another pool's sake takes nothing away"
    assert "WARNING: generations 3 to 4 have the same directory" in note
    reload(current, replace(pool, env=()))
    former, note = find_rollback(current, resolve_release)
    assert former.number == 4
    assert "WARNING: only the configuration goes back" in note
