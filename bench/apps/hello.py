"""The application of all servers: hello world; and what a query string names, else the seconds to sleep first."""

import json
import os
import time

BLOCK = bytes(65536)
TEXT = [("Content-Type", "text/plain")]


def application(environ, start_response):
    query = environ.get("QUERY_STRING")
    if query:
        name, _, size = query.partition("=")
        answer = ANSWERS.get(name)
        if answer is not None:
            return answer(environ, start_response, int(size or 0))
        time.sleep(float(query))
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "13")])
    return [b"Hello, world\n"]


def items(environ, start_response, size):
    """10 KB of JSON, made anew each time."""
    rows = [
        {"id": number, "name": f"item number {number}", "price": number * 1.25, "tags": ["a", "b", "c"], "stock": True}
        for number in range(109)
    ]
    body = json.dumps(rows).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def chunks(environ, start_response, size):
    """Many small pieces, each of 14 bytes, none of them known beforehand."""
    start_response("200 OK", TEXT)
    return (b"14 bytes each\n" for _ in range(size))


def down(environ, start_response, size):
    """Blocks of 64 KiB."""
    start_response("200 OK", [*TEXT, ("Content-Length", str(size))])
    return (BLOCK[: size - at] for at in range(0, size, len(BLOCK)))


def file(environ, start_response, size):
    """A file of this size, beside the process, by wsgi.file_wrapper."""
    opened = open(os.path.join(os.environ["BENCH_FILES"], str(size)), "rb")
    start_response("200 OK", [*TEXT, ("Content-Length", str(size))])
    return environ["wsgi.file_wrapper"](opened, 65536)


def up(environ, start_response, size):
    """Read the body in pieces of 64 KiB; say how long it was."""
    body, count = environ["wsgi.input"], 0
    while piece := body.read(65536):
        count += len(piece)
    text = b"%d\n" % count
    start_response("200 OK" if count == size else "400 Wrong length", [*TEXT, ("Content-Length", str(len(text)))])
    return [text]


ANSWERS = {"json": items, "chunks": chunks, "down": down, "file": file, "up": up}
