#!/usr/bin/env python3
"""A script as people wrote them for flup. The tests run it with flup6 and, after changing one import, with pyfpm.

The first argument is JSON: the keyword arguments of WSGIServer.
"""

import hashlib
import json
import os
import sys
import time

from flup.server.fcgi_fork import WSGIServer

SHOWN = ("REQUEST_METHOD", "QUERY_STRING", "CONTENT_LENGTH", "HTTP_HOST", "HTTP_X_COLOUR", "SITE", "SCRIPT_NAME", "PATH_INFO")
LOADED = time.time()


def application(environ, start_response):
    page = PAGES.get(environ["PATH_INFO"].rpartition("/")[2], show)
    status, text = page(environ)
    body = text.encode()
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body))), ("X-Board", "yes")])
    return [body]


def show(environ):
    return "200 OK", json.dumps({name: environ.get(name) or "" for name in SHOWN}, sort_keys=True)


def upload(environ):
    body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    return "201 Created", hashlib.sha256(body).hexdigest()


def missing(environ):
    return "404 Not Found", "no such thing"


def slow(environ):
    time.sleep(float(environ["QUERY_STRING"]))
    return "200 OK", "slept"


def who(environ):
    return "200 OK", json.dumps(
        {
            "pid": os.getpid(),
            "argv": sys.argv,
            "main": __name__,
            "directory": os.getcwd(),
            "path": sys.path[0],
            "loaded": LOADED,
            "variables": {name: os.environ.get(name) for name in ("COLOUR", "PYTHONPATH")},
            "multithread": environ["wsgi.multithread"],
            "multiprocess": environ["wsgi.multiprocess"],
            "scheme": environ["wsgi.url_scheme"],
        }
    )


def say(environ):
    print("said by the application", file=environ["wsgi.errors"])
    return "200 OK", "said"


PAGES = {"upload": upload, "missing": missing, "slow": slow, "who": who, "say": say}


if __name__ == "__main__":
    keywords = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}
    if isinstance(keywords.get("bindAddress"), list):
        keywords["bindAddress"] = tuple(keywords["bindAddress"])
    again = WSGIServer(application, **keywords).run()
    print(f"run() returned {again}", file=sys.stderr)
    if again and "RESTART" in os.environ:
        os.execv(sys.executable, [sys.executable, *sys.argv])
    sys.exit(3 if again else 0)
