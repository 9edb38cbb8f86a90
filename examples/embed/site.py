"""A program with a pool of its own: starts it, asks it, watches it, changes it while it runs, and stops it.

    python examples/embed/site.py

A real program would leave the pool to its web server, and do something else meanwhile.
"""

import os
import sys
import tempfile
from pathlib import Path

from fpm import Manager, Pool, Settings
from fpm.client.exchange import send_request
from fpm.client.request import request_params
from fpm.config.model import UnixAddress

HERE = Path(__file__).resolve().parent


def make_pool(directory, workers):
    return Pool(
        "site",
        app="application.py:application",
        listen=str(directory / "site.sock"),
        chdir=str(HERE),
        pm="static",
        pm_max_children=workers,
        env={"GREETING": "hello"},
        request_slowlog_timeout=2.0,
        slowlog=str(directory / "slow.log"),
    )


def report(event):
    if event.is_problem:
        print(f"{event.level}: {event.text}", file=sys.stderr)


def ask(directory, path):
    address = UnixAddress(str(directory / "site.sock"))
    with send_request(address, request_params("GET", path)) as response:
        return response.head.status, b"".join(response).decode()


def main():
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        settings = Settings(process_control_timeout=5)
        pools = [make_pool(directory, workers=1)]
        with Manager(pools, settings, on_event=report, allow_root=os.geteuid() == 0) as manager:
            print("answer:", *ask(directory, "/"))
            for pool in manager.status().pools:
                print(f"pool {pool.name} has {len(pool.workers)} worker(s)")
            outcome = manager.reload(pools=[make_pool(directory, workers=3)])
            print("reloaded:", outcome.ok)
            print(f"pool site has {len(manager.status('site').pools[0].workers)} workers now")
        print("stopped with", manager.wait())


if __name__ == "__main__":
    main()
