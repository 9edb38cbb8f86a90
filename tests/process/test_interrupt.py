"""fpm.RequestTimeout: where it is raised, who sees it, and what becomes of the worker."""

from __future__ import annotations

import os
import re

from fpm.protocol.spec import INTERRUPT_SIGNAL
from tests.support import raw_fastcgi as raw
from tests.support.fpm import Daemon, Start
from tests.support.held import holding
from tests.support.nginx import StartNginx
from tests.support.pools import together
from tests.support.reloads import reload
from tests.support.waiting import wait_until

LONG = "60"
POOL = {
    "app": "timeouts:application",
    "pm.max_children": 3,
    "slowlog": "slow.log",
    "request_terminate_timeout": "300ms",
    "request_interrupt": True,
}


def test_the_worker_lives_on(daemon: Start, nginx: StartNginx) -> None:
    fpm = daemon({"www": POOL})
    fpm.expect_log(r"execution timed out \(\d+\.\d+ sec\), interrupting")
    workers = fpm.wait_workers("www", 3)
    ways = ["sleep", "receive", "lock", "wait", "child", "busy", "framework"]
    replies, _ = together(len(ways), lambda number: fpm.get("www", f"/{ways[number]}", query=LONG))
    for way, reply in zip(ways, replies, strict=True):
        assert reply.ended, way
        assert reply.status == 504, way
        assert b"has taken too long" in reply.body
    assert b"caught: " in fpm.get("www", "/catch", query=LONG).body
    cut = fpm.get("www", "/stream", query=LONG)
    assert (cut.status, cut.body, cut.ended) == (200, b"the first piece", False)
    server = nginx(f"location / {{ include fastcgi_params; fastcgi_pass unix:{fpm.address('www')}; }}")
    assert server.get(f"/sleep?{LONG}").status == 504
    reply = interrupt_waiting(fpm)
    assert (reply.ended, reply.status) == (True, 504)
    for way in ("sleep", "busy", "framework"):
        fpm.wait_log(rf"GET /{way}\?{LONG}: fpm.RequestTimeout was not caught, answered 504")
    log = fpm.log()
    for way in ("sleep", "busy", "framework"):
        request = rf'script \'timeouts:application\' \(request: "GET /{way}\?{LONG}"\)'
        said = re.findall(rf"WARNING: .*{request} execution timed out \(\d+\.\d+ sec\), interrupting", log)
        assert len(said) == (2 if way == "sleep" else 1)
    assert "GET /catch?60: fpm" not in log
    slow = fpm.directory / "slow.log"
    wait_until(lambda: slow.read_text().count("reason = interrupt") == len(ways) + 5)
    # A signal that nobody has announced, or that comes too late, harms neither the worker nor a request.
    for pid in workers:
        os.kill(pid, INTERRUPT_SIGNAL)
    change_limit(fpm, LONG)
    with holding(fpm, "/held") as (held,):
        for pid in workers:
            os.kill(pid, INTERRUPT_SIGNAL)
    assert held.result().body == b"held"
    assert fpm.workers("www") == workers


def change_limit(fpm: Daemon, limit: str) -> None:
    """Let another limit count, also for the requests that run."""
    fpm.configure({"www": POOL | {"request_terminate_timeout": limit}})
    reload(fpm, changed=True)


def interrupt_waiting(fpm: Daemon) -> raw.Reply:
    """Have two workers wait for their clients, in code of ours, when the limit is over; what the first is answered."""
    change_limit(fpm, LONG)
    with raw.Wire(fpm.address("www"), timeout=60) as upload, raw.Wire(fpm.address("www"), timeout=60) as download:
        params = raw.web_params("/upload", method="POST", body=b"x" * 1000)
        upload.send(raw.request_bytes(params, b"x" * 1000)[:-600])
        download.send(raw.request_bytes(raw.web_params("/download"), flags=raw.KEEP_CONN))
        wait_until(lambda: {"Reading body", "Sending"} <= set(fpm.stages("www")))
        change_limit(fpm, str(POOL["request_terminate_timeout"]))
        said = r"execution timed out \(\d+\.\d+ sec\), interrupting"
        fpm.wait_log(rf'POST /upload"\) {said} \(reading the request\'s body\)')
        fpm.wait_log(rf'GET /download"\) {said} \(sending the response\)')
        # Nothing may follow half a record.
        fpm.wait_log(r"GET /download: fpm.RequestTimeout was not caught, its response was cut off")
        assert not download.read_reply().ended
        return upload.read_reply()


def test_the_grace_ends(daemon: Start) -> None:
    """What swallows it, or never comes out of C, is ended as ever; and so is who has taken the handler away."""
    fpm = daemon({"www": POOL | {"request_terminate_timeout": "1s", "background_timeout": "500ms"}})
    fpm.expect_log("execution timed out", "exited on signal 15", "errno")
    before = fpm.wait_workers("www", 3)
    ways = ("swallow", "in_c", "deaf")
    replies, _ = together(3, lambda number: fpm.get("www", f"/{ways[number]}", query=LONG))
    assert [reply.ended for reply in replies] == [False] * 3
    log = fpm.log()
    for way in ways:
        interrupted = re.search(rf"GET /{way}\?60\"\) execution timed out \(\d+\.\d+ sec\), interrupting", log)
        assert bool(interrupted) == (way != "deaf")
        assert re.search(rf"GET /{way}\?60\"\) execution timed out \(\d+\.\d+ sec\), terminating", log)
    wait_until(lambda: not set(before) & set(fpm.workers("www")) and len(fpm.workers("www")) == 3)
    # Work after the response is interrupted as well; the worker and the rest of the work go on.
    workers = fpm.workers("www")
    assert fpm.get("www", "/after", query=LONG).body == b"answered"
    fpm.wait_log(r"GET /after\?60: time.sleep\(\), called by fpm.after_response\(\): fpm.RequestTimeout was not caught")
    fpm.wait_log(r"interrupting \(after the response")
    wait_until(lambda: fpm.figures("www")["idle processes"] == 3)
    assert fpm.workers("www") == workers
