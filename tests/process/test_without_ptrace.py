"""Where python-ptrace has been taken out, everything but ptrace(2) works, and what takes its place is said."""

from __future__ import annotations

import re
import sys

import ptrace
import pytest

from tests.support.fpm import Start
from tests.support.held import holding
from tests.support.reloads import reload
from tests.support.traces import functions, look
from tests.support.waiting import wait_until

PACKAGE = ptrace.__path__[0]
WITHOUT = ("/usr/bin/unshare", "--mount", "/bin/sh", "-c", '/bin/mount -t tmpfs none "$0" && exec "$@"', PACKAGE)
"""The package's directory is empty for this process and those that it starts."""
REASON = f"python-ptrace is not installed ({sys.executable} -m pip install python-ptrace adds it)"
POOL = {"app": "held:application", "request_slowlog_timeout": "200ms", "slowlog": "slow.log"}


@pytest.mark.root
def test_processes_write_their_own_stacks(daemon: Start) -> None:
    fpm = daemon({"www": POOL}, started=False).start(wrapper=WITHOUT)
    fpm.wait_log(rf"WARNING: \[pool www\] not by ptrace: {re.escape(REASON)}; processes write their stacks themselves")
    entry = look(fpm, "/nap", place="nap")
    assert (functions(entry)[:2], entry["how"]) == (["nap", "application"], "faulthandler")
    assert entry["note"].startswith(f"not by ptrace: {REASON}")
    assert entry["threads"][0]["frames"][0]["line"] > 0
    with holding(fpm, "/nap"):
        wait_until(lambda: '"nap"' in fpm.cli("slow", "--json").stdout, message="nothing in the slow log")
    reload(fpm)
    told = fpm.cli("test", wrapper=WITHOUT)
    assert told.returncode == 0
    assert f"stacks of slow requests cannot be read by ptrace: {REASON}. Workers write them themselves instead" in (
        told.stdout + told.stderr
    )
    advice = fpm.cli("doctor", "--no-import", wrapper=WITHOUT)
    assert f"cannot be read by ptrace: {REASON}" in advice.stdout
    fpm.expect_log("executing too slow")
