"""The slow log of a real daemon: its file from the start over rotation and reload to the end."""

from __future__ import annotations

import signal
from collections.abc import Callable

from tests.support.fpm import Daemon

Start = Callable[..., Daemon]

SLOW = {"app": "slow:application", "slowlog": "slow.log", "request_slowlog_timeout": "200ms", "pm.max_children": 2}


def test_the_file_is_made_at_the_start_and_follows_rotation_and_reload(daemon: Start) -> None:
    fpm = daemon({"www": SLOW, "shop": SLOW, "quiet": {}})
    log, rotated, other = (fpm.directory / name for name in ("slow.log", "slow.log.1", "other.log"))
    assert log.stat().st_mode & 0o777 == 0o600
    log.rename(rotated)
    fpm.signal(signal.SIGUSR1)
    fpm.wait_log(r"\[pool shop\] slowlog file re-opened")
    assert log.exists()
    workers = fpm.workers("www")
    with fpm.no_descriptor_leak():
        fpm.configure({"www": {**SLOW, "slowlog": "other.log"}, "shop": SLOW, "quiet": {"slowlog": "slow.log"}})
        assert fpm.cli("reload").returncode == 0
        assert other.exists()
        fpm.configure({"www": {**SLOW, "slowlog": None, "request_slowlog_timeout": None}, "shop": SLOW, "quiet": {}})
        assert fpm.cli("reload").returncode == 0
        assert fpm.workers("www") == workers
    log.unlink()
    log.mkdir()
    fpm.signal(signal.SIGUSR1)
    fpm.wait_log(r"ERROR: \[pool shop\] unable to re-open slowlog\(.*: Is a directory .*the former file stays in use")
    log.rmdir()
    assert fpm.get("shop").status == 200


def test_a_file_that_cannot_be_opened_is_a_reason_not_to_start(daemon: Start) -> None:
    fpm = daemon({"www": {**SLOW, "slowlog": "/proc/self/slow.log"}}, started=False)
    fpm.start(ready=False)
    assert fpm.wait() == 70
    assert "Unable to create or open slowlog(/proc/self/slow.log) of pool www: " in fpm.log()
    assert "create its directory first" in fpm.log() or "choose another path" in fpm.log()
    fpm.forget()
