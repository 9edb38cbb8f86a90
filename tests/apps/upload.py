"""Reads its body in the way the path says: /all, /lines, /part, /nothing; answers with what it saw and its memory."""

import json
import resource


def application(environ, start_response):
    source, way = environ["wsgi.input"], environ["PATH_INFO"].strip("/")
    if way == "all":
        seen = len(source.read())
    elif way == "lines":
        seen = sum(len(line) for line in source)
    elif way == "part":
        seen = len(source.read(10))
    elif way == "chunks":
        seen = sum(len(chunk) for chunk in iter(lambda: source.read(65536), b""))
    else:
        seen = 0
    body = json.dumps({"seen": seen, "maxrss_kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
