"""With each preset of `isolation`: what a broken-into pool must not reach, and that its neighbour serves on."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hostile.arena import Arena
from tests.hostile.exhausting import EXHAUSTING
from tests.hostile.measures import TOLERATED
from tests.hostile.reaches import PRESETS, REACHES, Reach
from tests.support.fpm import title_of
from tests.support.processes import children

pytestmark = pytest.mark.root


@pytest.fixture(scope="module", params=PRESETS)
def jailed(request: pytest.FixtureRequest) -> Iterator[tuple[str, Arena]]:
    """A daemon whose pools have this preset."""
    more = {"isolation": request.param, "pm.max_memory_hard": "700M"}
    if request.param != "none":
        more |= {"private_tmp": "yes", "private_tmp.size": "64M"}
    arena = Arena(TOLERATED, more)
    # The last words of a memory limit.
    arena.fpm.expect_log("attacker")
    yield request.param, arena
    arena.finish()


def given(arena: Arena) -> dict[str, Any]:
    """What the attacker is told: it would find out."""
    fpm, others = arena.fpm, arena.directory / "sites" / "neighbour"
    setuid = arena.directory / "open" / "setuid-id"
    if not setuid.exists():
        shutil.copy("/usr/bin/id", setuid)
        setuid.chmod(0o4755 | stat.S_ISUID)
    private = others / "private"
    if not private.exists():
        private.write_text("secret of the neighbour")
        os.chown(private, others.stat().st_uid, others.stat().st_gid)
        private.chmod(0o600)
    processes = {"master": fpm.pid, "neighbour": fpm.workers("neighbour")[0]}
    (processes["template"],) = fpm.templates("neighbour")
    helpers = ("pyfpm: tracer", "pyfpm: status")
    processes |= {f"helper {one.pid}": one.pid for one in children(fpm.pid) if title_of(one) in helpers}
    root = arena.directory / "root"
    return {
        "pids": processes,
        "control": str(fpm.control),
        "secret": str(root / "secret"),
        "setuid": str(setuid),
        "sockets": [str(others / "run" / "fpm.sock"), str(fpm.control)],
        "private": [str(private), str(root / "secret"), str(others / "logs" / "access.log")],
        "readable": [str(arena.directory / "open" / "secret"), str(fpm.log_file), str(others / "hello.py")],
    }


@pytest.mark.parametrize("reach", [pytest.param(one, id=one.name) for one in REACHES])
def test_what_must_not_be_reached(jailed: tuple[str, Arena], reach: Reach) -> None:
    preset, arena = jailed
    with socket.create_server(("127.0.0.1", 0)) as server:
        facts = given(arena) | {"ports": [server.getsockname()[1]]}
        reply = arena.code(f"given = {facts!r}\n{reach.code}")
    assert reply.status == 200, reply
    found = json.loads(reply.body)
    if reach.is_refused_by(preset):
        assert found == []
    elif not found:
        pytest.fail(f"{preset} keeps it away, too: say so in the table")


@pytest.mark.parametrize("jailed", ["none", "sealed"], indirect=True)
@pytest.mark.parametrize("number", range(0, len(EXHAUSTING), 3))
def test_a_greedy_pool_leaves_its_neighbour_alone(jailed: tuple[str, Arena], number: int) -> None:
    """With nothing but what every pool has, and with everything: the presets between add nothing against greed."""
    _, arena = jailed
    assert arena.attack(*(attack.shortened() for attack in EXHAUSTING[number : number + 3])) == []


def test_a_full_tmp_is_its_own(jailed: tuple[str, Arena]) -> None:
    preset, arena = jailed
    (full,) = [one for one in EXHAUSTING if one.name == "a full /tmp"]
    reply = arena.code(full.code, 20.0)
    assert json.loads(reply.body) == ("" if preset == "none" else "ENOSPC")
    assert not Path("/tmp/forged").exists()
