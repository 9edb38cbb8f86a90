"""What a reload has to do, from two configurations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from types import MappingProxyType
from typing import Any

import pytest

from fpm.config import directives
from fpm.config.load import load
from fpm.config.model import Config, PoolConfig, UnixAddress
from fpm.master.pool.release import Release
from fpm.master.reload.plan import (
    Action,
    Plan,
    RunningPool,
    Scope,
    compare_pools,
    compare_settings,
    directive_name,
    make_plan,
)

CHANGED = Scope(changed=True)
ROOM = {"a": 1000, "b": 1000, "c": 1000}


@pytest.fixture
def config(tmp_path) -> Config:
    sections = "\n".join(
        f"[{name}]\nlisten = {tmp_path}/{name}.sock\nuser = nobody\npm = static\npm.max_children = 2\n"
        "app = hello:application\npython = /usr/bin/python3"
        for name in "abc"
    )
    path = tmp_path / "pyfpm.conf"
    path.write_text(sections + "\n")
    return load(str(path), environ={}, is_root=True)


def changed(config: Config, name: str, **values) -> Config:
    return replace(config, pools=tuple(replace(p, **values) if p.name == name else p for p in config.pools))


def release(pool: PoolConfig, **paths: str) -> Release:
    return Release(
        pool, tuple(sorted({"chdir": f"/srv/{pool.name}/1", "python": "/usr/bin/python3.11", **paths}.items()))
    )


def plan(
    config: Config,
    new: Config,
    scope: Scope = CHANGED,
    *,
    room: Mapping[str, int] = ROOM,
    sleeping: str = "",
    elsewhere: Mapping[str, dict[str, str]] = MappingProxyType({}),
    settings: tuple[str, ...] = (),
) -> Plan:
    running = {
        pool.name: RunningPool(pool, release(pool), room.get(pool.name, 0), pool.name in sleeping)
        for pool in config.pools
    }
    releases = {pool.name: release(pool, **elsewhere.get(pool.name, {})) for pool in new.pools}
    return make_plan(running, new, releases, scope, settings)


def actions(config: Config, new: Config, scope: Scope = CHANGED, **more: Any) -> dict[str, Action]:
    return {one.name: one.action for one in plan(config, new, scope, **more).pools}


def test_only_what_is_no_directive_is_without_a_row():
    rows = {row.attribute for row in directives.POOL_DIRECTIVES.values()}
    assert {field.name for field in fields(PoolConfig)} - rows == {"name", "where", "identity"}


def test_without_a_name_every_pool_that_runs_gets_a_generation_whatever_has_changed(config):
    for new in (config, changed(config, "a", pm_max_children=5), changed(config, "a", app="other:application")):
        assert set(actions(config, new, Scope()).values()) == {Action.GENERATION}
    assert set(actions(config, config, Scope(), settings=("log_level",)).values()) == {Action.GENERATION}


def test_a_pool_that_sleeps_is_not_woken(config):
    config = changed(changed(config, "a", pm="ondemand"), "b", pm="ondemand")
    assert actions(config, config, Scope(), sleeping="ab") == {
        "a": Action.WAKE,
        "b": Action.WAKE,
        "c": Action.GENERATION,
    }
    # It runs from now on; it is named; it becomes another: all of that is checked.
    assert actions(config, changed(config, "a", pm="static"), Scope(), sleeping="a")["a"] is Action.GENERATION
    assert actions(config, config, Scope(("a",)), sleeping="a")["a"] is Action.GENERATION
    assert actions(config, changed(config, "a", app="o:a"), Scope(), sleeping="a")["a"] is Action.GENERATION
    assert actions(config, changed(config, "a", pm_max_children=3), CHANGED, sleeping="a")["a"] is Action.LIVE


def test_changed_means_that_what_the_paths_lead_to_differs_too(config):
    elsewhere = {"a": {"chdir": "/srv/a/2"}, "b": {"python": "/usr/bin/python3.12"}}
    found = plan(config, config, elsewhere=elsewhere)
    assert [one.action for one in found.pools] == [Action.GENERATION, Action.GENERATION, Action.NOTHING]
    assert found.lines() == [
        "pool a: new generation, code from /srv/a/2 (chdir)",
        "pool b: new generation, code from /srv/b/1 (python)",
        "pool c: unchanged",
    ]
    assert found.log_lines()[2:] == ["unchanged: c"]
    # The deploy of another pool is left to whoever does it.
    assert actions(config, config, Scope(("c",)), elsewhere=elsewhere)["a"] is Action.NOTHING


def test_scopes_that_wait_are_joined():
    assert Scope(("a",)).joined(Scope(("b", "a"))) == Scope(("a", "b"))
    assert Scope(("a",)).joined(CHANGED) == Scope(("a",), changed=True)
    assert Scope(("a",)).joined(Scope()).everything
    assert Scope().joined(CHANGED).everything


def test_a_change_of_global_values_alone_needs_no_generation(config):
    values = replace(config.global_, process_control_timeout=7.0, syslog_ident="x")
    settings = compare_settings(config.global_, values)
    assert settings == ("process_control_timeout", "syslog.ident")
    found = plan(config, replace(config, global_=values), settings=settings)
    assert {one.action for one in found.pools} == {Action.NOTHING}
    assert found.lines()[0] == "[global]: changed (process_control_timeout, syslog.ident)"
    assert plan(config, config, Scope(("a",)), settings=settings).pools[0].action is Action.GENERATION


def test_the_global_priority_is_a_change_of_the_pools_that_have_none_of_their_own(config):
    config = changed(config, "a", process_priority=3)
    assert actions(config, config, settings=("process.priority",)) == {
        "a": Action.NOTHING,
        "b": Action.GENERATION,
        "c": Action.GENERATION,
    }


def test_a_named_pool_alone_gets_a_generation(config):
    assert actions(config, config, Scope(("b",))) == {
        "a": Action.NOTHING,
        "b": Action.GENERATION,
        "c": Action.NOTHING,
    }


@pytest.mark.parametrize(
    ("values", "action"),
    [
        ({"pm_max_children": 5}, Action.LIVE),
        ({"access_log": "/var/log/x.log"}, Action.LIVE),
        ({"listen_mode": 0o600}, Action.LIVE),
        ({"app": "other:application"}, Action.GENERATION),
        ({"env": (("A", "1"),)}, Action.GENERATION),
        ({"python": "/usr/local/bin/python3"}, Action.GENERATION),
        ({"where": "elsewhere:7"}, Action.NOTHING),
    ],
)
def test_what_a_change_needs(config, values, action):
    found = actions(config, changed(config, "a", **values))
    assert found["a"] is action
    assert found["b"] is found["c"] is Action.NOTHING


def test_more_children_than_the_scoreboard_has_room_for_need_a_generation(config):
    new = changed(config, "a", pm_max_children=500)
    assert actions(config, new, room={"a": 499, "b": 1, "c": 1})["a"] is Action.GENERATION
    assert actions(config, new, room={"a": 500, "b": 1, "c": 1})["a"] is Action.LIVE


def test_pools_come_and_go(config):
    new = replace(config, pools=(*config.pools[1:], replace(config.pools[0], name="d")))
    assert actions(config, new) == {
        "b": Action.NOTHING,
        "c": Action.NOTHING,
        "d": Action.ADD,
        "a": Action.REMOVE,
    }


def test_the_plan_says_what_has_changed(config):
    new = changed(config, "a", pm_max_children=5, listen=UnixAddress("/run/other.sock"), listen_mode=0o666)
    found = plan(config, new)
    assert found.pools[0].moves
    assert found.pools[0].socket
    assert found.lines()[0] == (
        "pool a: new generation, code from /srv/a/1, moves to another listening address "
        "(listen, listen.mode, pm.max_children)"
    )


def test_attributes_are_named_as_directives():
    known = set(directives.POOL_DIRECTIVES)
    for field in fields(PoolConfig):
        if field.name not in ("name", "where", "identity", "prefix"):
            assert directive_name(field.name) in known, field.name


def test_compare_ignores_where_a_section_stands(config):
    pool = config.pools[0]
    assert compare_pools(pool, replace(pool, where="x:1")) == frozenset()
    assert compare_pools(pool, replace(pool, pm="ondemand")) == {"pm"}
