"""Pythons that an application starts can import what it imports, fpm too, and are told that they serve no request."""

from __future__ import annotations

import ast
import os
import signal

from tests.support.fpm import Start
from tests.support.pools import write_app
from tests.support.waiting import wait_until

APPLICATION = """
import fpm, multiprocessing, os, subprocess, sys
from concurrent.futures import ProcessPoolExecutor

CODE = '''
import fpm
try:
    fpm.after_response(print)
except fpm.NoRequestError as error:
    print(error)
'''

@fpm.postfork
def ready():
    pass

def square(number):
    try:
        fpm.finish_request()
    except fpm.NoRequestError as error:
        return number * number, str(error)

def application(environ, start_response):
    how = environ["PATH_INFO"][1:]
    if how == "subprocess":
        out = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, cwd="/")
        answer = out.stdout + out.stderr
    else:
        context = multiprocessing.get_context(how)
        with context.Pool(1) as pool, ProcessPoolExecutor(1, mp_context=context) as executor:
            answer = pool.map(square, [2]) + list(executor.map(square, [3]))
    start_response("200 OK", [])
    return [repr(answer).encode()]
"""


def test_pythons_that_an_application_starts_have_fpm(daemon: Start) -> None:
    fpm = daemon({"www": {}}, started=False)
    write_app(fpm, "family", APPLICATION)
    places = fpm.directory / "tmp"
    places.mkdir()
    places.chmod(0o777)
    fpm.configure({"www": {"app": "family:application", "env[TMPDIR]": places}})
    fpm.start()
    told = "was called outside of a worker of pyfpm: "
    for how in ("spawn", "forkserver"):
        reply = fpm.get("www", f"/{how}")
        assert reply.status == 200, reply
        answer = ast.literal_eval(reply.body.decode())
        assert [number for number, _ in answer] == [4, 9]
        assert all(told in error for _, error in answer)
    assert told in fpm.get("www", "/subprocess").body.decode()
    assert len(list(places.glob("pyfpm-import-*"))) == 1
    (template,) = fpm.processes("template www")
    fpm.expect_log(f"template {template.pid} exited on signal 9")
    template.kill()
    # The next one has its title before it begins to look, and is killed if it is to stop before it is ready.
    (worker,) = fpm.workers("www")
    fpm.expect_log(f"child {worker} exited on signal 9")
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: fpm.workers("www") not in ([], [worker]))
    assert fpm.cli("stop").returncode == 0
    assert list(places.glob("pyfpm-import-*")) == [], "also what the killed one has left"
