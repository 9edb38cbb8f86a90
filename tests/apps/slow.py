"""Takes its time: `?SECONDS` before the answer (0.5 without it), `?hold` while the file `hold` is in its directory.

The body is the worker's pid.
"""

import os
import time


def application(environ, start_response):
    if environ["QUERY_STRING"] == "hold":
        while os.path.exists("hold"):
            time.sleep(0.01)
    else:
        time.sleep(float(environ["QUERY_STRING"] or "0.5"))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
