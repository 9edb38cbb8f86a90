"""The application of all servers: hello world, and `?SECONDS` to sleep first."""

import time


def application(environ, start_response):
    if environ.get("QUERY_STRING"):
        time.sleep(float(environ["QUERY_STRING"]))
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "13")])
    return [b"Hello, world\n"]
