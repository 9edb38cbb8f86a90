"""`python -m fpm.doctor.trial_master REQUEST DIRECTORY SECONDS`: a master with one pool, to see whether it starts.

It writes one line of JSON when the pool serves or has failed, and stops at the end of its standard input: when whoever
asks has measured what it wanted, or is gone.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from fpm.config.load import load
from fpm.doctor.request import read_request
from fpm.doctor.trial_config import narrow
from fpm.errors import FpmError
from fpm.log.error import ErrorLog
from fpm.master.master import Master
from fpm.master.notifier import MANAGER_VARIABLES
from fpm.master.setup import Setup


def main(arguments: list[str]) -> int:
    """Try the pool; return the exit status."""
    request, directory, seconds = read_request(arguments[0]), arguments[1], float(arguments[2])
    source = request.source
    ends, answers = os.dup(0), os.dup(1)
    # What a pool writes to its standard error, and the log of this master, is for nobody.
    with open(os.devnull, "r+b") as nothing:
        for fd in (0, 1):
            os.dup2(nothing.fileno(), fd)

    def tell(message: dict[str, Any]) -> None:
        os.write(answers, json.dumps(message).encode() + b"\n")

    def on_ready(failed: list[str]) -> None:
        pool = master.pools[request.pools[0]]
        failure = pool.failures.failure
        pids = [child.pid for child in pool.workers.children]
        error, text = (failure.error, failure.traceback) if failure is not None else ("", "")
        tell({"failed": bool(failed), "error": error, "traceback": text, "workers": pids})

    try:
        is_root = os.geteuid() == 0
        whole = load(
            source.file, prefix=source.prefix, environ=os.environ, is_root=is_root, allow_root=source.allow_root
        )
        config = narrow(whole, request.pools[0], directory, seconds)
        log = ErrorLog(None, level=config.global_.log_level, limit=config.global_.log_limit)
        # The service manager, if there is one, is to hear nothing of this master.
        environ = {name: value for name, value in os.environ.items() if name not in MANAGER_VARIABLES}
        setup = Setup(environ=environ, load=lambda: config, on_ready=on_ready, parent_fd=ends)
        master = Master(config, log, setup)
        return master.run()
    except FpmError as error:
        tell({"failed": True, "error": str(error), "traceback": "", "workers": []})
        return error.exit_status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
