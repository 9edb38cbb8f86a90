"""Who waits for a worker is counted, wherever he waits: in the kernel's queue, or on a connection that is kept."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.fpm import Start
from tests.support.nginx import StartNginx
from tests.support.pools import wait_numbers
from tests.support.waiting import hold_for

WORKERS, REQUESTS = 5, 9


@pytest.mark.parametrize("hotpath", [True, False], ids=["compiled", "python"])
@pytest.mark.parametrize("keepalive", [0, 2, 16])
def test_nine_requests_on_five_workers_show_four(
    daemon: Start, nginx: StartNginx, keepalive: int, hotpath: bool
) -> None:
    settings = {"app": "held:application", "pm": "static", "pm.max_children": WORKERS, "hotpath": hotpath}
    fpm = daemon({"www": settings})
    keep = f"keepalive {keepalive};" if keepalive else ""
    server = nginx(
        f"location / {{ include fastcgi_params; {'fastcgi_keep_conn on;' if keep else ''} fastcgi_pass pool; }}",
        http=f"upstream pool {{ server unix:{fpm.address('www')}; {keep} }}",
    )
    hold = fpm.apps / "hold"
    with ThreadPoolExecutor(REQUESTS) as clients:
        # With more kept connections than workers, one may lie in the queue between two requests when its next comes:
        # that request is not seen before somebody takes it.
        for _ in range(3 if keepalive < WORKERS else 1):
            hold.touch()
            asked = [clients.submit(server.get, "/nap", timeout=60) for _ in range(REQUESTS)]
            try:
                wait_numbers(fpm, "www", active_processes=WORKERS, listen_queue=REQUESTS - WORKERS)
                hold_for(lambda: fpm.figures("www")["listen queue"] == REQUESTS - WORKERS, 0.2)
            finally:
                hold.unlink()
            assert {one.result(60).status for one in asked} == {200}
            wait_numbers(fpm, "www", idle_processes=WORKERS, listen_queue=0)
