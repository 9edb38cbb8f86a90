"""An application that does what it is told, as one that has been broken into: `POST` code, get back what it found.

Code in the file at_import.py beside it runs when the template imports the application. `SECONDS` is how long an attack
shall last; `found` is what is answered.
"""

import json
import os

import toolbox

SECONDS = 1.0


def run(code, seconds):
    names = {**vars(toolbox), "SECONDS": seconds, "found": None}
    exec(compile(code, "attack", "exec"), names)
    return names["found"]


def application(environ, start_response):
    code = environ["wsgi.input"].read().decode()
    found = run(code, float(environ["QUERY_STRING"] or SECONDS)) if code else None
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(found).encode()]


_path = os.path.join(toolbox.SITE, "at_import.py")
if os.path.exists(_path):
    with open(_path) as _file:
        run(_file.read(), SECONDS)
