"""Ends its requests in the way that the path says: with that status, or as the function of that name does."""

import os
import time

import fpm


def application(environ, start_response):
    way = environ["PATH_INFO"].strip("/")
    if way in WAYS:
        return WAYS[way](environ, start_response)
    start_response(f"{way} Text", [("Content-Type", "text/plain")])
    return [b"the body"]


def fail(environ, start_response):
    raise ValueError("on purpose")


def fail_late(environ, start_response):
    start_response("200 OK", [])
    yield b"a piece"
    raise ValueError("on purpose")


def time_out(environ, start_response):
    raise fpm.RequestTimeout("on purpose")


def promise(environ, start_response):
    """A length, and no byte of a body: nothing is sent."""
    start_response("200 OK", [("Content-Length", "5")])
    return iter(())


def pieces(environ, start_response):
    """The second one when the body has come to its end."""
    start_response("200 OK", [])
    yield b"one "
    environ["wsgi.input"].read()
    yield b"two"


def read(environ, start_response):
    body = environ["wsgi.input"].read()
    start_response("200 OK", [])
    return [body]


def finish(environ, start_response):
    start_response("201 Created", [])
    fpm.finish_request()
    raise ValueError("after the response")


def after(environ, start_response):
    fpm.after_response(print, "after the response")
    start_response("202 Accepted", [])
    return [b"the body"]


def hold(environ, start_response):
    """Answers when the file that the query names is gone."""
    while os.path.exists(environ["QUERY_STRING"]):
        time.sleep(0.01)
    start_response("200 OK", [])
    return [b"the body"]


def large(environ, start_response):
    start_response("200 OK", [])
    return [b"x" * 2_000_000]


FUNCTIONS = (fail, fail_late, time_out, promise, pieces, read, finish, after, hold, large)
WAYS = {function.__name__: function for function in FUNCTIONS}
