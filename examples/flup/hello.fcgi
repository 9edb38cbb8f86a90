#!/usr/bin/env python3
"""A script for flup with one import changed. See docs/flup.md.

As a web server starts it (Apache's mod_fcgid, lighttpd's bin-path):  hello.fcgi
By hand, for nginx:                                                   hello.fcgi /tmp/hello.sock
"""

import os
import sys

from fpm import WSGIServer  # it was: from flup.server.fcgi import WSGIServer


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    yield f"Worker {os.getpid()} says hello to {environ.get('REMOTE_ADDR', 'somebody')}.\n".encode()


if __name__ == "__main__":
    address = sys.argv[1] if len(sys.argv) > 1 else None
    WSGIServer(application, bindAddress=address, umask=0o007, minSpare=1, maxSpare=3, maxChildren=10).run()
