"""What each URL costs, as `pyfpm top --by url` and a pool's page tell it of real traffic."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

from fpm.client.control import fetch_snapshot
from fpm.scoreboard.number import COUNT_MAX
from tests.apps.routes import BLOCK, BURNT
from tests.support.fpm import Daemon, Start
from tests.support.looking import fetch
from tests.support.pools import free_port, numbers
from tests.support.reloads import reload
from tests.support.waiting import wait_until

PATHS = 300
LEAKS, BURNS, ORDERS = 12, 8, 150
SENT = PATHS + ORDERS + LEAKS + 2 * BURNS + 1
"""Requests of a round."""
POOL: dict[str, object] = {"app": "routes:application", "pm.max_children": 2}


Rows = dict[str, dict[str, Any]]


def top(fpm: Daemon, *arguments: str) -> dict[str, Rows]:
    """Ask `pyfpm top --by url`; the rows of each pool by their routes."""
    done = fpm.cli("top", "--by", "url", "--once", "--format", "json", *arguments)
    assert done.returncode == 0, done.stderr
    found: dict[str, Rows] = {}
    for row in json.loads(done.stdout)["routes"]:
        found.setdefault(row["pool"], {})[row["route"]] = row
    return found


def wait_rows(fpm: Daemon, pool: str, times: int) -> Rows:
    """The rows of a pool when they have all of `times` rounds: plain Python writes what it has noted in a pause."""

    def find() -> Rows | None:
        rows = top(fpm, pool)[pool]
        return rows if sum(row["requests"] for row in rows.values()) >= SENT * times else None

    return wait_until(find)


def send(fpm: Daemon, pool: str) -> None:
    """Send what is to be counted: a few routes among many that come once."""
    for number in range(PATHS):
        letters = "".join(chr(ord("a") + int(digit)) for digit in str(number))
        assert fpm.get(pool, f"/seldom-{letters}").status == 200
        if number < ORDERS:
            assert fpm.get(pool, f"/orders/{number}/items").status == 200
    for number in range(LEAKS):
        assert fpm.get(pool, f"/leak/{number}").status == 200
    for number in range(BURNS):
        assert fpm.get(pool, f"/burn/{number}").status == 200
        assert fpm.get(pool, f"/fail/{number}").status == 503
    assert fpm.get(pool, "/raise").status == 500


def check(rows: dict[str, dict[str, Any]], times: int) -> None:
    """The numbers are those of `times` rounds of send()."""
    assert rows["/orders/<n>/items"]["requests"] == ORDERS * times
    assert (rows["/fail/<n>"]["requests"], rows["/fail/<n>"]["errors"]) == (BURNS * times, BURNS * times)
    assert (rows["/raise"]["requests"], rows["/raise"]["errors"]) == (times, times)
    burn, leak = rows["/burn/<n>"], rows["/leak/<n>"]
    assert (burn["requests"], leak["requests"]) == (BURNS * times, LEAKS * times)
    assert burn["cpu_seconds"] >= 0.9 * BURNS * BURNT * times
    assert burn["seconds"] >= burn["cpu_seconds"] * 0.9
    assert burn["p95_seconds"] >= 0.8 * BURNT
    # One block at most went to a worker before somebody had looked at its memory, and was nobody's.
    assert leak["memory_growth"] >= (LEAKS - 4) * BLOCK * times
    assert all(row["memory_growth"] < leak["memory_growth"] for row in rows.values() if row is not leak)
    total = sum(row["requests"] for row in rows.values())
    assert total == SENT * times
    assert rows[""]["requests"] > PATHS // 2


def test_who_burns_and_who_leaks_is_named_over_deaths_and_reloads(daemon: Start) -> None:
    port = free_port()
    pools: dict[str, dict[str, object]] = {"www": POOL, "plain": {**POOL, "hotpath": False}, "calm": {"pm": "ondemand"}}
    site = {"status_listen": f"127.0.0.1:{port}", "status_listen.details": True}
    fpm = daemon(pools, global_=site)
    fpm.expect_log(r"ERROR: \[pool (www|plain)\]", "exited on signal 9")
    for pool in ("www", "plain"):
        send(fpm, pool)
        wait_rows(fpm, pool, 1)
    lines = fpm.cli("top", "--by", "url", "--once", "--sort", "growth").stdout.splitlines()
    assert lines[3].split()[:2] == ["POOL", "ROUTE"]
    assert [line.split()[1] for line in lines[4:6]] == ["/leak/<n>"] * 2
    victim = fpm.workers("www")[0]
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: victim not in fpm.workers("www"))
    fpm.wait_workers("www", 2)
    reload(fpm)
    wait_until(lambda: numbers(fpm, "www")["idle processes"] == 2)
    send(fpm, "www")
    check(wait_rows(fpm, "www", 2), 2)
    check(wait_rows(fpm, "plain", 1), 1)
    before = top(fpm, "plain")["plain"]["/orders/<n>/items"]["requests"]
    assert fpm.get("plain", "/orders/1/items").status == 200
    reload(fpm, "plain")  # whoever leaves writes it
    wait_until(lambda: top(fpm, "plain")["plain"]["/orders/<n>/items"]["requests"] == before + 1)
    fpm.configure({**pools, "www": {**POOL, "pm.max_children": 3}}, global_=site)  # a larger scoreboard
    reload(fpm, "www")
    fpm.wait_workers("www", 3)
    check(wait_rows(fpm, "www", 2), 2)
    assert "/leak/&lt;n&gt;" in fetch(port, "/pool/www").body.decode()
    hide_and_switch_off(fpm, pools, port)


def hide_and_switch_off(fpm: Daemon, pools: dict[str, dict[str, object]], port: int) -> None:
    """Without details no page has patterns; without the switch nobody has."""
    switched = {**pools, "www": {**POOL, "request_statistics": False}}
    fpm.configure(switched, global_={"status_listen": f"127.0.0.1:{port}"})
    reload(fpm, changed=True)
    assert fpm.get("www", "/orders/1/items").status == 200
    wait_until(lambda: list(top(fpm)) == ["plain"])
    wait_until(lambda: "&lt;n&gt;" not in fetch(port, "/pool/plain").body.decode())
    assert "--sort busy is not for these rows" in fpm.cli("top", "--by", "url", "--sort", "busy").stderr


def test_any_bytes_in_the_tables_harm_nobody(daemon: Start) -> None:
    fpm = daemon({"www": {**POOL, "pm.max_requests": 5}})
    for _ in range(8):
        fpm.get("www", "/grab", query="2")
        found = fetch_snapshot(str(fpm.control), "www", workers=False, routes=True)
        assert all(0 <= route.requests <= COUNT_MAX for route in found.pools[0].routes)
    for _ in range(20):
        assert fpm.get("www", "/orders/1/items").status == 200
    assert fpm.cli("top", "--by", "url", "--once").returncode == 0
