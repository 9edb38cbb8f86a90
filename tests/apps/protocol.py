"""What the tests of the worker's protocol ask for, by path."""

import contextlib
import json
import os
import sys
import time
from wsgiref.validate import validator

import fpm

postfork_ran = []


@fpm.postfork
def after_fork():
    postfork_ran.append(True)


def application(environ, start_response):
    handler = HANDLERS.get(environ["PATH_INFO"], echo)
    return handler(environ, start_response)


def plain(start_response, body, status="200 OK"):
    start_response(status, [("Content-Type", "text/plain")])
    return [body]


def echo(environ, start_response):
    """The environ without its objects, and the body."""
    body = environ["wsgi.input"].read()
    seen = {key: value for key, value in environ.items() if isinstance(value, str | int | bool)}
    return plain(start_response, json.dumps({"environ": seen, "body": body.decode("latin-1")}).encode())


def ignore(environ, start_response):
    return plain(start_response, b"did not look at the body")


def answer_first(environ, start_response):
    """The whole answer, and only then a look at the body."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    yield b"ok"
    sys.stderr.write(f"read {len(environ['wsgi.input'].read())} bytes\n")


def exact(environ, start_response):
    return plain(start_response, environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))


def large(environ, start_response):
    return plain(start_response, b"x" * int(environ["QUERY_STRING"]))


def endless(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    while True:
        yield b"y" * 65536


def pause(environ):
    """For as many seconds as the query says, or while the file of this name exists."""
    query = environ["QUERY_STRING"]
    while query.startswith("/") and os.path.exists(query):
        time.sleep(0.01)
    if not query.startswith("/"):
        time.sleep(float(query or 0))


def sleep(environ, start_response):
    pause(environ)
    return plain(start_response, b"slept")


def short(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "100")])
    return [b"only this"]


def surplus(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "4")])
    return [b"four and more"]


def sleepy_stream(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"first"
    pause(environ)
    yield b"second"


def hook(environ, start_response):
    return plain(start_response, str(len(postfork_ran)).encode())


def finish(environ, start_response):
    """Finishes by the function in environ, then pauses and says so."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"answer"
    first, second = environ["fpm.finish_request"](), fpm.finish_request()
    pause(environ)
    yield b"dropped"
    sys.stderr.write(f"after the answer: {first} {second}\n")


def finish_and_fail(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"answer"
    fpm.finish_request()
    raise RuntimeError("nobody sees this but the log")


def quit_system(environ, start_response):
    sys.exit(3)


def fail(environ, start_response):
    raise RuntimeError("a secret for the log only")


def fail_later(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"the first piece"
    raise RuntimeError("after the headers")


def swallow(environ, start_response):
    """Meets every error of the peer and goes on, as careless code does."""
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    for _ in range(1000):
        with contextlib.suppress(OSError):
            write(b"z" * 65536)
    return []


def deaf(environ, start_response):
    """Does not mind that its body does not come, and answers all the same: by write() or by what it returns."""
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    with contextlib.suppress(OSError):
        environ["wsgi.input"].read()
    if environ["QUERY_STRING"] == "return":
        return [b"an answer that nobody wants"]
    with contextlib.suppress(OSError):
        write(b"an answer that nobody wants")
    return []


def unending(environ, start_response):
    """More and more (`?304`, `?length`: than is wanted), by the iterable or by write(); or nothing (`?nothing`)."""
    wanted = environ["QUERY_STRING"]
    status = "304 Not Modified" if wanted == "304" else "200 OK"
    headers = [("Content-Type", "text/plain")]
    write = start_response(status, [*headers, ("Content-Length", "5")] if wanted == "length" else headers)
    if environ["PATH_INFO"] == "/unending/write":
        write(b"first")
        while True:
            time.sleep(0.01)
            write(b"" if wanted == "nothing" else b"and on")
    return more_and_more(b"" if wanted == "nothing" else b"and on")


def more_and_more(piece):
    yield b"first"
    while True:
        time.sleep(0.01)
        yield piece


def redirect(environ, start_response):
    start_response("301 Moved Permanently", [("Location", "/there"), ("Content-Type", "text/plain")])
    return [b"moved"]


def late(environ, start_response):
    """Goes on for some time after the last byte."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "4")])
    yield b"late"
    pause(environ)


class Endless:
    """An answer without an end that counts how often it is closed."""

    closed = 0

    def __iter__(self):
        while True:
            yield b"z" * 65536

    def close(self):
        Endless.closed += 1


def closable(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return Endless()


def closed(environ, start_response):
    return plain(start_response, str(Endless.closed).encode())


def pieces(environ, start_response):
    """As many bytes as the query says, in one piece behind the head."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"head goes first"
    yield b"p" * int(environ["QUERY_STRING"])


def unreadable(environ, start_response):
    """Turns the error of the peer into one of its own, as Django does."""
    try:
        environ["wsgi.input"].read()
    except OSError as error:
        raise ValueError("the framework's own error") from error
    return plain(start_response, b"read")


def inner(environ, start_response):
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"].readline(5)
    environ["wsgi.input"].readlines(5)
    list(environ["wsgi.input"])
    environ["wsgi.errors"].write("")
    environ["wsgi.errors"].flush()
    environ["wsgi.errors"].writelines([])
    answer = b"valid " + body
    bodyless = environ["REQUEST_METHOD"] == "HEAD"
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(answer)))])
    return [b"" if bodyless else answer]


HANDLERS = {
    "/ignore": ignore,
    "/exact": exact,
    "/answer_first": answer_first,
    "/large": large,
    "/endless": endless,
    "/late": late,
    "/redirect": redirect,
    "/unending": unending,
    "/unending/write": unending,
    "/sleep": sleep,
    "/short": short,
    "/surplus": surplus,
    "/sleepy": sleepy_stream,
    "/hook": hook,
    "/finish": finish,
    "/finish-fail": finish_and_fail,
    "/exit": quit_system,
    "/fail": fail,
    "/fail-later": fail_later,
    "/swallow": swallow,
    "/deaf": deaf,
    "/closable": closable,
    "/closed": closed,
    "/pieces": pieces,
    "/unreadable": unreadable,
    "/valid": validator(inner),
}
