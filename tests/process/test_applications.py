"""From `app` to the callable, and applications that cannot be imported: the pool fails, tells why, and recovers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from tests.support.fpm import Daemon, Start
from tests.support.interpreter import module_of_ours
from tests.support.pools import echo, facts, together, wait_state, write_app
from tests.support.waiting import wait_until

FORMS = """
from hello import application as hello

class Site:
    application = staticmethod(hello)
    number = 7

def make():
    return hello

def make_nothing():
    return None

class Framework:
    def __call__(self, environ, start_response):
        return hello(environ, start_response)

class Modern:
    async def __call__(self, scope, receive, send):
        pass

def make_modern():
    return Modern()

modern = Modern()
site = Site()
"""


NAMES = {
    "callable": "forms:hello",
    "nested": "forms:site.application",
    "factory": "forms:make()",
    "file": "{apps}/forms.py:hello",
    "relative": "forms.py:make()",
    "class": "forms:Framework()",
    "package": "inner.deep.module:application",
}
IMPORTS = """
    import json, sys
    import fpm

    def application(environ, start_response):
        name = environ["QUERY_STRING"]
        try:
            __import__(name)
            found = "it is there"
        except ImportError as error:
            found = str(error)
        answer = {"fpm": fpm.__version__, "found": found, "argv": sys.argv, "name": __name__}
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [json.dumps(answer).encode()]
"""
FORKING = """
    import os
    os.fork()
    from hello import application
"""


@pytest.fixture(scope="module")
def serving(command_server: None) -> Iterator[Daemon]:
    """One daemon with all that serves."""
    fpm = Daemon({})
    write_app(fpm, "forms", FORMS)
    write_app(fpm, "imports", IMPORTS)
    write_app(fpm, "forking", FORKING)
    inner = fpm.apps / "inner" / "deep"
    inner.mkdir(parents=True)
    (inner / "module.py").write_text("from hello import application\n")
    for name in ("first", "second"):
        (fpm.directory / name).mkdir()
    path = f"{fpm.directory}/second:{fpm.directory}/first"
    fpm.configure(
        {
            **{name: {"app": app.format(apps=fpm.apps)} for name, app in NAMES.items()},
            "path": {"app": "echo:application", "pythonpath": path},
            "imports": {"app": "imports:application"},
            "forking": {"app": "forking:application", "pm.max_children": 3},
        }
    )
    yield fpm.start()
    fpm.finish()


def test_every_way_to_name_an_application(serving: Daemon) -> None:
    assert {name: serving.get(name).status for name in NAMES} == dict.fromkeys(NAMES, 200)


def test_pythonpath_follows_the_working_directory(serving: Daemon) -> None:
    told = echo(serving, "path")
    assert told["path"][:3] == [str(serving.apps), f"{serving.directory}/second", f"{serving.directory}/first"]


def test_child_forked_by_the_import_is_no_second_template(serving: Daemon) -> None:
    replies, _ = together(12, lambda _: serving.get("forking"))
    assert [reply.status for reply in replies] == [200] * 12
    serving.wait_workers("forking", 3)
    wait_until(lambda: len(serving.processes("template forking")) == 1, message="there is a second template")


@pytest.mark.root
def test_application_imports_fpm_and_its_own_modules(serving: Daemon) -> None:
    with module_of_ours() as name:
        answer = json.loads(serving.get("imports", query=name).body)
    assert answer["fpm"]
    assert answer["found"] == f"No module named '{name}'"
    assert len(answer["argv"]) == 1
    assert answer["name"] == "imports"


WRONG = {
    "unknown": (
        "forms:helo",
        "app = forms:helo: forms ({apps}/forms.py) has no 'helo'; it has Framework, Modern, Site, hello, make, ",
    ),
    "attribute": (
        "forms:site.nothing",
        "app = forms:site.nothing: forms ({apps}/forms.py) has no 'nothing'; it has ",
    ),
    "number": (
        "forms:site.number",
        "app = forms:site.number: it is int, not a WSGI callable",
    ),
    "nothing": (
        "forms:make_nothing()",
        "app = forms:make_nothing(): what it returns is NoneType, not a WSGI callable",
    ),
    "factory": (
        "forms:make",
        "app = forms:make: it takes no argument: a factory? Write app = forms:make()",
    ),
    "called": (
        "forms:hello()",
        "app = forms:hello(): forms:hello is the application itself, not a factory. Write app = ",
    ),
    "class": (
        "forms:Framework",
        "app = forms:Framework: it is a class, not an application. Write app = forms:Framework()",
    ),
    "asgi": (
        "forms:modern",
        "app = forms:modern: it is an ASGI application, and pyfpm speaks WSGI. ",
    ),
    "asgi_made": (
        "forms:make_modern()",
        "app = forms:make_modern(): what it returns is an ASGI application",
    ),
    "module": (
        "no_such_module:application",
        "ModuleNotFoundError: No module named 'no_such_module'",
    ),
}
"""Wrong names of applications, and the beginning of what is said of each."""


def test_wrong_names_say_what_there_is(daemon: Start) -> None:
    fpm = daemon({name: {"app": app} for name, (app, _) in WRONG.items()}, started=False)
    write_app(fpm, "forms", FORMS)
    fpm.expect_log(r"\[pool ")
    fpm.start()
    for name, (_, said) in WRONG.items():
        error = said.format(apps=fpm.apps)
        assert wait_state(fpm, name, "failed")["error"].startswith(error), name
        assert error in fpm.log()


BROKEN = {
    "syntax": ("def application(:\n", "SyntaxError: invalid syntax"),
    "import": ("import no_such_thing\n", "ModuleNotFoundError: No module named 'no_such_thing'"),
    "exit": ("import sys\nsys.exit(4)\n", "the application called sys.exit(4) while it was imported"),
    "os_exit": ("import os\nos._exit(3)\n", "its template exited with code 3"),
    "killed": ("import os\nos.kill(os.getpid(), 9)\n", "its template exited on signal 9 (SIGKILL)"),
    "segfault": ("import ctypes\nctypes.string_at(0)\n", "its template exited on signal 11 (SIGSEGV)"),
    "loud": ("print('x' * 1000000)\nraise ValueError('after all that')\n", "ValueError: after all that"),
    "closed": ("import os\nos.closerange(0, 1000)\nraise ValueError('unheard')\n", "its template exited with code"),
    "recursion": ("def f():\n    f()\nf()\n", "RecursionError: maximum recursion depth exceeded"),
    "keyboard": ("raise KeyboardInterrupt\n", "KeyboardInterrupt"),
    "surrogate": ("raise ValueError('\\udcff\\x00 \\n second line')\n", "second line"),
}


def test_broken_applications_fail_their_pools_only(daemon: Start) -> None:
    """In the template, or with preload = no in a worker, or in each of two."""
    pools: dict[str, dict[str, object]] = {
        f"{preload}_{name}": {"app": f"broken_{name}:application", "preload": preload, "pm.max_children": children}
        for name in BROKEN
        for preload, children in (("auto", 1), ("no", 2 if name == "import" else 1))
    }
    fpm = daemon({"good": {}, **pools}, started=False)
    for name, (source, _) in BROKEN.items():
        write_app(fpm, f"broken_{name}", source)
    fpm.expect_log(r"\[pool (?!good)")
    fpm.start()
    for name in pools:
        preload, _, fault = name.partition("_")
        _, error = BROKEN[fault]
        failed = wait_state(fpm, name, "failed")
        assert (error if preload == "auto" else error.removeprefix("its template")) in failed["error"], name
        assert fpm.get(name).status == 503, name
    for name in ("auto_import", "no_import"):
        traceback = facts(fpm, name)["traceback"]
        assert "broken_import.py" in traceback
        assert "line 1" in traceback
        assert not re.search("fpm/(template|worker)", traceback)
    assert fpm.get("good").status == 200


DYING = """
    import fpm, os
    from hello import application

    @fpm.postfork
    def die():
        print("forked once more", flush=True)
        os._exit(5)
"""
PRELOADS = ("auto", "no")
AGAIN = [f"again_{preload}" for preload in PRELOADS]
HANGING = [f"hanging_{preload}" for preload in PRELOADS]


@pytest.fixture(scope="module")
def troubled(command_server: None) -> Iterator[Daemon]:
    """One daemon with pools that fail, and are mended: most of what each does is wait for its next try."""
    pools: dict[str, dict[str, object]] = {"good": {}, "missing": {"app": "missing:application"}}
    pools["lazy"] = {"app": "lazy:application", "pm": "ondemand", "pm.max_children": 3}
    pools["dying"] = {"app": "dying:application", "pm.max_children": 2}
    for preload, again, hanging in zip(PRELOADS, AGAIN, HANGING, strict=True):
        pools[again] = {"app": "broken_import:application", "preload": preload, "pm.max_children": 4}
        hang = {"app": "hanging:application", "startup_timeout": "2500ms", "pm.max_children": 2}
        pools[hanging] = {**hang, "preload": preload}
    fpm = Daemon(pools)
    for name in ("missing", "lazy"):
        write_app(fpm, name, "import no_such_thing\n")
    write_app(fpm, "hanging", "import time\ntime.sleep(1000)\n")
    write_app(fpm, "dying", DYING)
    fpm.expect_log(r"\[pool (?!good)")
    yield fpm.start()
    fpm.finish()


def recovers(fpm: Daemon, app: str, *pools: str) -> None:
    """The application is mended, and its pools serve: at their next try."""
    write_app(fpm, app, "from hello import application\n")
    for pool in pools:
        wait_until(lambda pool=pool: fpm.get(pool).status == 200, message=f"pool {pool} does not recover")


def test_503_for_everybody_at_once_and_recovery(troubled: Daemon) -> None:
    fpm = troubled
    assert any(re.search(r"Failed pools: .*\bmissing\b", state) for state in fpm.states), fpm.states
    wait_state(fpm, "missing", "failed")
    replies, _ = together(20, lambda _: fpm.get("missing"))
    assert [reply.status for reply in replies] == [503] * 20
    assert b"no_such_thing" not in b"".join(reply.stdout for reply in replies)
    said = "[pool missing] failed to start: ModuleNotFoundError: No module named 'no_such_thing'; next try in 1 s"
    assert said in fpm.log()
    recovers(fpm, "missing", "missing")
    assert "error" not in facts(fpm, "missing")
    assert "traceback" not in facts(fpm, "missing")
    assert fpm.get("good").status == 200


def test_ondemand_pool_with_a_broken_application(troubled: Daemon) -> None:
    fpm = troubled
    replies, _ = together(5, lambda _: fpm.get("lazy"))
    assert [reply.status for reply in replies] == [503] * 5
    wait_state(fpm, "lazy", "failed")
    recovers(fpm, "lazy", "lazy")


def test_import_that_hangs_is_ended(troubled: Daemon) -> None:
    fpm = troubled
    for pool in HANGING:
        assert "2.5 s" in wait_state(fpm, pool, "failed")["error"], pool
        assert fpm.get(pool).status == 503, pool
    assert fpm.get("good").status == 200
    recovers(fpm, "hanging", *HANGING)


def test_worker_that_dies_before_it_serves_fails_the_pool(troubled: Daemon) -> None:
    fpm = troubled
    failed = wait_state(fpm, "dying", "failed")
    error = r"its workers end before they serve, \d+ in a row; the last one, child \d+, exited with code 5"
    assert re.fullmatch(error, failed["error"])
    assert fpm.get("dying").status == 503
    fpm.wait_log(r"\[pool dying\] .*next try in 2 s")
    tries = len(re.findall(r"\[pool dying\] .*next try in ", fpm.log()))
    assert fpm.log().count("forked once more") < 10 * tries
    recovers(fpm, "dying", "dying")


def test_tries_again_with_growing_pauses(troubled: Daemon) -> None:
    fpm = troubled
    for pool in AGAIN:
        failed = rf"\[pool {pool}\] failed to start: ModuleNotFoundError.*; next try in "
        fpm.wait_log(f"{failed}4 s")
        assert re.findall(f"{failed}(\\d+) s", fpm.log())[:3] == ["1", "2", "4"], pool


def test_modules_beside_the_application_are_not_those_of_the_boot(daemon: Start) -> None:
    """They have names that what comes before the application imports from the standard library."""
    fpm = daemon({"www": {"app": "hello:application"}}, started=False)
    for name in ("json", "os", "base64", "marshal", "socket", "importlib", "ctypes", "signal", "sitecustomize"):
        write_app(fpm, name, f"raise SystemExit('the application has its own {name}')")
    fpm.start()
    assert fpm.get("www").status == 200
    assert facts(fpm, "www")["state"] != "failed"
