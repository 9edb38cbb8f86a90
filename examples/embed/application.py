"""What the pool of site.py serves."""

import os


def application(environ, start_response):
    text = f"{os.environ['GREETING']} from process {os.getpid()}\n".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(text)))])
    return [text]
