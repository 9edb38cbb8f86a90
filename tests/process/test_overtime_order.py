"""Requests that get slow while another one is far from its next limit."""

from __future__ import annotations

import re
import threading

from tests.support.fpm import Start


def test_a_slow_request_beside_a_long_one_is_noticed_in_time(daemon: Start) -> None:
    limits = {"request_slowlog_timeout": "300ms", "slowlog": "slow.log", "request_terminate_timeout": "60s"}
    fpm = daemon({"www": {"pm": "static", "pm.max_children": 2, "app": "slow:application", **limits}})
    slow = r'request: "GET /%s[^"]*"\) executing too slow \((\d+\.\d+) sec\)'
    threads = [threading.Thread(target=fpm.get, args=("www", "/long"), kwargs={"query": "4"})]
    threads[0].start()
    fpm.wait_log(slow % "long")
    threads.append(threading.Thread(target=fpm.get, args=("www", "/short"), kwargs={"query": "2"}))
    threads[1].start()
    found = fpm.wait_log(slow % "short")
    assert float(found[1]) < 1.9
    for thread in threads:
        thread.join(20)
    assert len(re.findall("executing too slow", fpm.log())) == 2
