"""Writes to standard output, standard error and wsgi.errors."""

import sys


def application(environ, start_response):
    print("to standard output")
    print("to standard error", file=sys.stderr)
    environ["wsgi.errors"].write("to wsgi.errors\n")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"noisy\n"]
