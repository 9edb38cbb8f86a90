"""Runs the Python code that it is sent, and answers with what that has put into `answer`, as JSON."""

import json
import traceback


def application(environ, start_response):
    code = environ["wsgi.input"].read().decode()
    names = {"__name__": "inside", "environ": environ}
    try:
        exec(compile(code, "<inside>", "exec"), names)
        answer = {"answer": names.get("answer")}
    except BaseException as error:
        answer = {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(answer, default=str).encode()]
