"""Requests that get slow while another one is far from its next limit."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

from tests.support.fpm import Start
from tests.support.held import holding, release


def test_a_slow_request_beside_a_long_one_is_noticed_in_time(daemon: Start) -> None:
    limits = {"request_slowlog_timeout": "300ms", "slowlog": "slow.log", "request_terminate_timeout": "60s"}
    fpm = daemon({"www": {"pm": "static", "pm.max_children": 2, "app": "slow:application", **limits}})
    slow = r'request: "GET /%s[^"]*"\) executing too slow \((\d+\.\d+) sec\)'
    with holding(fpm, "/long?hold"):
        fpm.wait_log(slow % "long")
        with ThreadPoolExecutor(1) as client:
            client.submit(fpm.get, "www", "/short", query="hold", timeout=60)
            fpm.wait_log(slow % "short")  # and not when the other one has its next limit
            release(fpm)
    assert len(re.findall("executing too slow", fpm.log())) == 2
