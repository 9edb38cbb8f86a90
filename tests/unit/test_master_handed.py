"""What the former master has handed over is read before it is too late: whatever is missing or wrong is told."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from fpm.config.dump import dump
from fpm.config.model import Config
from fpm.errors import StartError
from fpm.master.pool.current_config import CurrentConfig
from fpm.master.pool.history import Record
from fpm.master.pool.specs import template_spec, worker_settings
from fpm.master.upgrade.handed import check_handed
from fpm.protocol import messages
from tests.support.configuration import Files, section

LISTENER = {"fd": 5, "inode": [1, 2], "is_ours": True, "missing": ""}
PROCESS = {"pid": 200, "pidfd": 9, "reported_pid": 200}
OPTIONAL = {
    *(
        "started",
        "status",
        "status_process",
        "last_reload",
        "given",
        "protocol",
        "world",
        "statistics",
        "exceptions",
        "pipe",
    ),
    *("python", "has_entered", "directory", "preload"),
    *("interrupted_request", "stack_request", "memory_at_start"),
    *("carried", "unavailable", "routes"),
}
"""Keys that may be missing at any place: they came later than the first upgrade, or nothing depends on them."""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Files(tmp_path).load(section("www") + section("shop", listen="9001"))


@pytest.fixture
def state(config: Config) -> dict[str, Any]:
    """What a master hands over that has two pools, one of them with a template and a worker."""
    pools = []
    for pool in config.pools:
        worker = worker_settings(pool, log_limit=1024, slots=5)
        spec = template_spec(
            pool,
            generation=1,
            worker=worker,
            original_rlimit_files=(1024, 4096),
            priority=None,
            inherited={},
            now=1.0,
            ptracer=0,
            dumpable=False,
        )
        template = {"state": "READY", "pid": 100, "started": 1.0, "preload": True, "spec": asdict(spec), "channel": 7}
        child = {"state": "SERVING", "retire_reason": "", "template": 100, "slot": 4, "board": 0, "process": PROCESS}
        notes = {"started": 1.0, "idle_since": 1.0, "logged_request": 0, "ended_request": 0}
        beside = {"outputs": [3, 4], "own_stack": [8, True]}
        pools.append(
            {
                "name": pool.name,
                "state": "RUNNING",
                "listener": LISTENER,
                "access_log": {"fd": -1, "path": None, "pipe": -1},
                "record": Record(pool, 1.0).dump(),
                "current": CurrentConfig(pool).dump(),
                "failure": {"error": "x", "traceback": "", "since": 1.0},
                "resources": [{"board": 10, "slots": 5, "wake": 11, "park": [12, 13]}],
                "world": {"key": [], "ends": []},
                "statistics": {"carried": "", "unavailable": 0, "routes": ""},
                "templates": [{**template, **beside}],
                "children": [{**child, "channel": 7, **beside, **notes}],
            }
        )
    whole = {
        "pid": 1,
        "dump": dump(config),
        "given": {name: sorted(names) for name, names in config.given.items()},
        "protocol": messages.VERSION,
        "reading": 4,
        "control": LISTENER,
        "rlimit_files": [1024, 4096],
        "status": [{"address": "127.0.0.1:9001", **LISTENER}],
        "status_process": 300,
        "started": 1.0,
        "last_reload": None,
        "waiter": 6,
        "pools": pools,
    }
    return json.loads(json.dumps(whole))


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Each key of each object within, with the object or list that it is in."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from places(value[key])


def test_what_a_master_hands_over(state: dict[str, Any], config: Config) -> None:
    check_handed(state, config)


def test_former_releases(state: dict[str, Any], config: Config) -> None:
    """They do not know what came later, and may know what is no more."""
    for holder, key in [one for one in places(copy.deepcopy(state)) if one[1] in OPTIONAL]:
        holder.pop(key, None)
    check_handed(state, config)
    for holder, _ in list(places(state)):
        if isinstance(holder, dict) and holder is not state["given"]:
            holder["no longer there"] = 7
    check_handed(state, config)


@pytest.mark.parametrize("change", ["remove", -2, None, {}, "SOMETHING"])
def test_whatever_is_missing_or_damaged(state: dict[str, Any], config: Config, change: object) -> None:
    """It is told, or does no harm; a traceback would come too late."""
    said = set()
    plain = [state["dump"], *(holder for holder, key in places(state) if key == "pm_max_children")]
    numbers = [number for number, (holder, _) in enumerate(places(state)) if all(holder is not one for one in plain)]
    for number in numbers:
        damaged = copy.deepcopy(state)
        holder, key = list(places(damaged))[number]
        if change == "remove":
            del holder[key]
        else:
            holder[key] = change
        with suppress(StartError):
            check_handed(damaged, config)
            said.add(key)
    assert said & OPTIONAL if change == "remove" else said


@pytest.mark.parametrize(
    "path",
    [
        ("dump",),
        ("control", "fd"),
        ("rlimit_files",),
        ("waiter",),
        ("pools",),
        ("pools", 0),
        ("pools", 0, "listener"),
        ("pools", 1, "record", "values"),
        ("pools", 1, "current", "config"),
        ("pools", 0, "resources", 0),
        ("pools", 0, "templates", 0, "spec", "worker"),
        ("pools", 0, "templates", 0, "own_stack"),
        ("pools", 0, "children", 0, "slot"),
        ("pools", 0, "children", 0, "process", "pidfd"),
    ],
)
def test_what_must_be_there(state: dict[str, Any], config: Config, path: tuple[Any, ...]) -> None:
    holder: Any = state
    for key in path[:-1]:
        holder = holder[key]
    del holder[path[-1]]
    with pytest.raises(StartError, match="cannot be read by this one, so restart pyfpm instead"):
        check_handed(state, config)


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("children", 0, "state"), "DREAMING"),
        (("children", 0, "template"), 101),
        (("children", 0, "slot"), 5),
        (("children", 0, "board"), 1),
        (("templates", 0, "state"), "DREAMING"),
        (("state",), "DREAMING"),
        (("name",), "another"),
        (("statistics", "carried"), "no number"),
    ],
)
def test_what_does_not_fit(state: dict[str, Any], config: Config, where: tuple[Any, ...], value: object) -> None:
    holder: Any = state["pools"][0]
    for key in where[:-1]:
        holder = holder[key]
    holder[where[-1]] = value
    with pytest.raises(StartError, match="cannot be read by this one"):
        check_handed(state, config)


def test_another_protocol(state: dict[str, Any], config: Config) -> None:
    """Templates and workers of the former release understand no other."""
    state["protocol"] = messages.VERSION + 1
    with pytest.raises(StartError, match="the running workers speak version 2 of our protocol"):
        check_handed(state, config)
    del state["protocol"]
    check_handed(state, config)


def test_other_values(state: dict[str, Any], config: Config) -> None:
    state["dump"] = [line.replace("pm.max_children = 5", "pm.max_children = 6") for line in state["dump"]]
    with pytest.raises(StartError, match=r"differently .*\n\[www\] \[shop\] pm.max_children is 6 .* and 5 in this one"):
        check_handed(state, config)
