"""Takes its time: `?SECONDS` before the answer (0.5 without it); the body is the worker's pid."""

import os
import time


def application(environ, start_response):
    time.sleep(float(environ["QUERY_STRING"] or "0.5"))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
