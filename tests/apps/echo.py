"""Answers with what it was asked: the environ as JSON, and the body's length and digest."""

import hashlib
import json
import os
import sys


def application(environ, start_response):
    digest, length = hashlib.sha256(), 0
    while chunk := environ["wsgi.input"].read(65536):
        digest.update(chunk)
        length += len(chunk)
    answer = {
        "environ": {k: v if isinstance(v, str | int | bool) else repr(v) for k, v in environ.items()},
        "length": length,
        "sha256": digest.hexdigest(),
        "pid": os.getpid(),
        "uid": os.getuid(),
        "gid": os.getgid(),
        "groups": os.getgroups(),
        "cwd": os.getcwd(),
        "executable": sys.executable,
        "version": list(sys.version_info[:3]),
        "path": sys.path,
        "os.environ": dict(os.environ),
    }
    body = json.dumps(answer).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
