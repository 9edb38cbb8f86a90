"""What a reload has to do, from two configurations."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from fpm.config import directives
from fpm.config.load import load
from fpm.config.model import Config, PoolConfig, UnixAddress
from fpm.master.reload.plan import (
    Action,
    compare_pools,
    compare_settings,
    directive_name,
    make_plan,
)

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


def actions(config: Config, new: Config, named=(), room=ROOM) -> dict[str, Action]:
    running = {pool.name: pool for pool in config.pools}
    return {plan.name: plan.action for plan in make_plan(running, new, named, room).pools}


def test_only_what_is_no_directive_is_without_a_row():
    rows = {row.attribute for row in directives.POOL_DIRECTIVES.values()}
    assert {field.name for field in fields(PoolConfig)} - rows == {"name", "where", "identity"}


def test_nothing_changed_and_nobody_named_is_a_reload_of_the_code(config):
    assert set(actions(config, config).values()) == {Action.GENERATION}


def test_a_change_of_global_values_alone_needs_no_generation(config):
    running = {pool.name: pool for pool in config.pools}
    values = replace(config.global_, process_control_timeout=7.0, syslog_ident="x")
    settings = compare_settings(config.global_, values)
    assert settings == ("process_control_timeout", "syslog.ident")
    plan = make_plan(running, replace(config, global_=values), (), ROOM, settings)
    assert {one.action for one in plan.pools} == {Action.NOTHING}
    assert plan.lines()[0] == "[global]: changed (process_control_timeout, syslog.ident)"
    assert make_plan(running, config, ["a"], ROOM, settings).pools[0].action is Action.GENERATION


def test_a_named_pool_alone_gets_a_generation(config):
    assert actions(config, config, ["b"]) == {
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
        ({"where": "elsewhere:7"}, Action.GENERATION),  # all of them: nothing has changed
    ],
)
def test_what_a_change_needs(config, values, action):
    found = actions(config, changed(config, "a", **values))
    assert found["a"] is action
    others = Action.GENERATION if "where" in values else Action.NOTHING
    assert found["b"] is found["c"] is others


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
    running = {pool.name: pool for pool in config.pools}
    first = make_plan(running, new, (), ROOM).pools[0]
    assert first.moves
    assert first.socket
    assert make_plan(running, new, (), ROOM).lines()[0] == (
        "pool a: new generation, moves to another listening address (listen, listen.mode, pm.max_children)"
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
