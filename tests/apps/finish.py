"""Answers, releases the web server, and goes on for `?SECONDS`; then writes a line to the log."""

import time

import fpm


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"the answer\n"
    first, second = fpm.finish_request(), fpm.finish_request()
    time.sleep(float(environ["QUERY_STRING"] or "0"))
    environ["wsgi.errors"].write(f"finished: {first} {second}\n")
