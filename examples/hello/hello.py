"""A small WSGI application that shows what pyfpm does: `pyfpm serve hello:application`, or app = hello:application.

/           which process answered, and what it knows
/late       the response is sent at once, the work continues for three seconds (fpm.finish_request)
/stream     a body in pieces, one every half second
/upload     counts the bytes of a request body without keeping them
/oops       an exception: the traceback goes to the log, the client gets a plain page
"""

import html
import os
import sys
import time

import fpm

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>pyfpm: {title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 46em; margin: 2em auto; padding: 0 1em }}
table {{ border-collapse: collapse; font-size: 14px }} td {{ padding: .1em .8em .1em 0; vertical-align: top }}
td + td {{ word-break: break-all }} code {{ background: #eee; padding: 0 .2em }}
</style>
<h1>{title}</h1>
{content}
"""

WELCOME = """
<p>This page comes from worker <b>{pid}</b>, whose template is <b>{parent}</b>, under Python {version}.
It has answered <b>{count}</b> request(s) so far. Reload, and see which worker answers next.</p>
<ul>
<li><a href="late">late</a>: answers at once and goes on working for three seconds</li>
<li><a href="stream">stream</a>: a body that comes in pieces</li>
<li><a href="oops">oops</a>: an exception, to be read in the log</li>
</ul>
<form method="post" action="upload" enctype="multipart/form-data">
<input type="file" name="file"> <input type="submit" value="upload"></form>
<h2>environ</h2>
<table>{rows}</table>
"""

answered = 0


def application(environ, start_response):
    """The WSGI callable: one function for each path."""
    global answered
    answered += 1
    return PATHS.get(environ["PATH_INFO"], missing)(environ, start_response)


def page(start_response, title, content, status="200 OK"):
    """A whole HTML page."""
    body = PAGE.format(title=title, content=content).encode()
    start_response(status, [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(body)))])
    return [body]


def welcome(environ, start_response):
    """/"""
    rows = "".join(
        f"<tr><td><code>{html.escape(name)}</code><td>{html.escape(str(value))}\n"
        for name, value in sorted(environ.items())
        if name.isupper() or name.startswith("wsgi.")
    )
    facts = {"pid": os.getpid(), "parent": os.getppid(), "version": sys.version.split()[0], "count": answered}
    return page(start_response, "Hello from pyfpm", WELCOME.format(rows=rows, **facts))


def late(environ, start_response):
    """/late"""
    yield from page(start_response, "Done, as far as you can see", "<p>The worker is busy for three more seconds.</p>")
    fpm.finish_request()
    time.sleep(3)
    print(f"worker {os.getpid()} has done the work of /late", file=sys.stderr)


def stream(environ, start_response):
    """/stream"""
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    for number in range(1, 7):
        yield f"piece {number} of 6\n".encode()
        time.sleep(0.5)


def upload(environ, start_response):
    """/upload"""
    size = sum(len(chunk) for chunk in iter(lambda: environ["wsgi.input"].read(65536), b""))
    return page(start_response, "Upload", f"<p>{size} bytes came, in whatever form your browser sends a file.</p>")


def oops(environ, start_response):
    """/oops"""
    raise RuntimeError("this is what an exception looks like in the log")


def missing(environ, start_response):
    """Every other path."""
    return page(start_response, "Not found", "<p>There is nothing here.</p>", status="404 Not Found")


PATHS = {"/": welcome, "/late": late, "/stream": stream, "/upload": upload, "/oops": oops}
