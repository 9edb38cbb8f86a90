"""`pyfpm status --check`: a monitor's plugin, run by a user who has no rights, against a real daemon."""

from __future__ import annotations

import os
from subprocess import CompletedProcess

from tests.support.fpm import Daemon, Start
from tests.support.held import holding_at_once
from tests.support.pools import wait_numbers, wait_state

POOLS = {
    "shop": {"app": "counted:application"},
    "full": {"app": "slow:application"},
    "bad": {"app": "broken_import:application"},
}
BAD = "pool bad: its application does not start (pyfpm explain bad)"


NOBODY = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups") if os.geteuid() == 0 else ()


def check(fpm: Daemon, *arguments: str, by_nobody: bool = True) -> CompletedProcess[str]:
    """What the plugin says; at the status address, unless its caller is the daemon's own user."""
    where = ("--from", str(fpm.directory / "status.sock")) if by_nobody else ()
    done = fpm.cli("status", "--check", *where, *arguments, wrapper=NOBODY if by_nobody else ())
    assert not done.stderr
    return done


def test_a_plugin_for_monitors(daemon: Start) -> None:
    fpm = daemon(POOLS, started=False)
    fpm.configure(POOLS, global_={"status_listen": fpm.directory / "status.sock", "status_listen.mode": "0666"})
    fpm.expect_log("pool bad")
    fpm.start()
    wait_state(fpm, "bad", "failed")
    fine = check(fpm, "shop")
    assert fine.returncode == 0, fine.stdout
    text, _, data = fine.stdout.partition(" | ")
    assert text == "PYFPM OK: pool shop in order, 0 of 1 workers busy"
    assert data.startswith("busy=0%;;;0;100 queue=0;;;0;")
    for _ in range(10):
        assert fpm.get("shop", "/500").status == 500
    wait_numbers(fpm, "shop", responses_5xx=10, idle_processes=1)  # a worker counts when the response is out
    failing = check(fpm, "shop")
    assert failing.returncode == 2
    said = "PYFPM CRITICAL: pool shop: 50 % of its responses are 5xx (10 of 10, which count as 20)"
    assert failing.stdout.startswith(f"{said} (pyfpm explain shop) | ")
    assert " 5xx=50%;5;20;0;100 " in failing.stdout
    assert " requests=10c;" in failing.stdout
    assert check(fpm, "shop", "--critical", "5xx=50", "--warning", "5xx=49").returncode == 1
    with holding_at_once(fpm, 3, pool="full"):
        wait_numbers(fpm, "full", active_processes=1, listen_queue=2)
        full = check(fpm, "full")
        assert full.returncode == 1
        assert (
            "WARNING: pool full: saturated: all 1 workers busy, 2 requests wait (pyfpm explain full) | " in full.stdout
        )
    everything = check(fpm, "--warning", "5xx=~:", "--critical", "5xx=~:")
    assert everything.returncode == 2
    assert everything.stdout.startswith(f"PYFPM CRITICAL: {BAD}; 2 pools in order | pools=3;")
    # The daemon's own user needs no address.
    mine = check(fpm, by_nobody=False)
    assert mine.returncode == 2
    assert mine.stdout.startswith("PYFPM CRITICAL: pool shop: 50 % of its responses are 5xx")
    assert BAD in mine.stdout
    assert "--format checkmk" in fpm.cli("status", "--check", "--format", "json").stderr
    lines = check(fpm, "--format", "checkmk", by_nobody=False).stdout.splitlines()
    assert [line[: line.index(" busy=")] for line in lines] == ['2 "pyfpm shop"', '2 "pyfpm bad"', '0 "pyfpm full"']
    unknown(fpm)


def unknown(fpm: Daemon) -> None:
    """Mistakes of whoever has written the monitor's configuration are no alarms about a pool, and say what to do."""
    for arguments, said in (
        (("none",), "there is no pool 'none'; there are: shop, full, bad"),
        (("--from", str(fpm.directory / "no.sock")), "does pyfpm run, and is this its [global] status_listen?"),
    ):
        done = check(fpm, *arguments)
        assert (done.returncode, done.stdout[:15]) == (3, "PYFPM UNKNOWN: "), done.stdout
        assert said in done.stdout
    if NOBODY:
        done = fpm.cli("status", "--check", wrapper=NOBODY)
        assert done.returncode == 3
        assert "permission denied on" in done.stdout
        assert "--from" in done.stdout
