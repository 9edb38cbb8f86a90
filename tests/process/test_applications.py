"""From `app` to the callable, and applications that cannot be imported: the pool fails, tells why, and recovers."""

from __future__ import annotations

import json
import re

import pytest

from tests.support.fpm import Start
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


def test_every_way_to_name_an_application(daemon: Start) -> None:
    names = {
        "callable": "forms:hello",
        "nested": "forms:site.application",
        "factory": "forms:make()",
        "file": "{apps}/forms.py:hello",
        "relative": "forms.py:make()",
        "class": "forms:Framework()",
        "package": "inner.deep.module:application",
    }
    fpm = daemon({name: {} for name in names}, started=False)
    write_app(fpm, "forms", FORMS)
    inner = fpm.apps / "inner" / "deep"
    inner.mkdir(parents=True)
    (inner / "module.py").write_text("from hello import application\n")
    fpm.configure({name: {"app": app.format(apps=fpm.apps)} for name, app in names.items()})
    fpm.start()
    for name in names:
        assert fpm.get(name).status == 200, name


@pytest.mark.parametrize(
    ("app", "error"),
    [
        (
            "forms:helo",
            "app = forms:helo: forms ({apps}/forms.py) has no 'helo'; it has Framework, Modern, Site, hello, make, ",
        ),
        ("forms:site.nothing", "app = forms:site.nothing: forms ({apps}/forms.py) has no 'nothing'; it has "),
        ("forms:site.number", "app = forms:site.number: it is int, not a WSGI callable"),
        ("forms:make_nothing()", "app = forms:make_nothing(): what it returns is NoneType, not a WSGI callable"),
        ("forms:make", "app = forms:make: it takes no argument: a factory? Write app = forms:make()"),
        ("forms:hello()", "app = forms:hello(): forms:hello is the application itself, not a factory. Write app = "),
        ("forms:Framework", "app = forms:Framework: it is a class, not an application. Write app = forms:Framework()"),
        ("forms:modern", "app = forms:modern: it is an ASGI application, and pyfpm speaks WSGI. "),
        ("forms:make_modern()", "app = forms:make_modern(): what it returns is an ASGI application"),
        ("no_such_module:application", "ModuleNotFoundError: No module named 'no_such_module'"),
    ],
)
def test_wrong_names_say_what_there_is(daemon: Start, app: str, error: str) -> None:
    fpm = daemon({"www": {"app": app}}, started=False)
    write_app(fpm, "forms", FORMS)
    fpm.expect_log(r"\[pool www\]")
    fpm.start()
    error = error.format(apps=fpm.apps)
    assert wait_state(fpm, "www", "failed")["error"].startswith(error)
    assert error in fpm.log()


def test_pythonpath_follows_the_working_directory(daemon: Start) -> None:
    fpm = daemon({"www": {}}, started=False)
    for name in ("first", "second"):
        (fpm.directory / name).mkdir()
    path = f"{fpm.directory}/second:{fpm.directory}/first"
    fpm.configure({"www": {"app": "echo:application", "pythonpath": path}})
    fpm.start()
    told = echo(fpm, "www")
    assert told["path"][:3] == [str(fpm.apps), f"{fpm.directory}/second", f"{fpm.directory}/first"]


BROKEN = {
    "syntax": ("def application(:\n", "SyntaxError: invalid syntax"),
    "import": ("import no_such_thing\n", "ModuleNotFoundError: No module named 'no_such_thing'"),
    "exit": ("import sys\nsys.exit(4)\n", "the application called sys.exit(4) while it was imported"),
    "os_exit": ("import os\nos._exit(3)\n", "its template exited with code 3"),
    "killed": ("import os\nos.kill(os.getpid(), 9)\n", "its template exited on signal 9 (SIGKILL)"),
    "segfault": ("import ctypes\nctypes.string_at(0)\n", "its template exited on signal 11 (SIGSEGV)"),
    "loud": ("print('x' * 3000000)\nraise ValueError('after all that')\n", "ValueError: after all that"),
    "closed": ("import os\nos.closerange(0, 1000)\nraise ValueError('unheard')\n", "its template exited with code"),
    "recursion": ("def f():\n    f()\nf()\n", "RecursionError: maximum recursion depth exceeded"),
    "keyboard": ("raise KeyboardInterrupt\n", "KeyboardInterrupt"),
    "surrogate": ("raise ValueError('\\udcff\\x00 \\n second line')\n", "second line"),
}


@pytest.mark.parametrize("preload", ["auto", "no"])
def test_broken_applications_fail_their_pools_only(daemon: Start, preload: str) -> None:
    pools: dict[str, dict[str, object]] = {
        name: {"app": f"broken_{name}:application", "preload": preload, "pm.max_children": 2} for name in BROKEN
    }
    fpm = daemon({"good": {}, **pools}, started=False)
    for name, (source, _) in BROKEN.items():
        write_app(fpm, f"broken_{name}", source)
    fpm.expect_log(r"\[pool (?!good)")
    fpm.start()
    for name, (_, error) in BROKEN.items():
        failed = wait_state(fpm, name, "failed")
        if preload == "auto" or not error.startswith("its template"):
            assert error in failed["error"], name
        else:
            assert error.removeprefix("its template") in failed["error"], name
        assert fpm.get(name).status == 503
    assert "broken_import.py" in facts(fpm, "import")["traceback"]
    assert "line 1" in facts(fpm, "import")["traceback"]
    assert not re.search("fpm/(template|worker)", facts(fpm, "import")["traceback"])
    assert fpm.get("good").status == 200


def test_503_for_everybody_at_once_and_recovery(daemon: Start) -> None:
    fpm = daemon({"good": {}, "www": {"app": "shop:application"}}, started=False)
    write_app(fpm, "shop", "import no_such_thing\n")
    fpm.expect_log(r"\[pool www\]")
    fpm.start()
    assert any("Failed pools: www" in state for state in fpm.states)
    wait_state(fpm, "www", "failed")
    replies, _ = together(20, lambda _: fpm.get("www"))
    assert [reply.status for reply in replies] == [503] * 20
    assert b"no_such_thing" not in b"".join(reply.stdout for reply in replies)
    log = fpm.log()
    assert "[pool www] failed to start: ModuleNotFoundError: No module named 'no_such_thing'; next try in 1 s" in log
    write_app(fpm, "shop", "from hello import application\n")
    wait_until(lambda: fpm.get("www").status == 200)
    assert "error" not in facts(fpm, "www")
    assert "traceback" not in facts(fpm, "www")
    assert fpm.get("good").status == 200


@pytest.mark.parametrize("preload", ["auto", "no"])
def test_tries_again_with_growing_pauses(daemon: Start, preload: str) -> None:
    pool = {"app": "broken_import:application", "preload": preload, "pm.max_children": 4}
    fpm = daemon({"www": pool}, started=False)
    fpm.expect_log(r"\[pool www\]")
    fpm.start()
    for pause in (1, 2, 4):
        fpm.wait_log(rf"failed to start: ModuleNotFoundError.*; next try in {pause} s")
    assert fpm.log().count("failed to start") == 3


def test_ondemand_pool_with_a_broken_application(daemon: Start) -> None:
    fpm = daemon({"www": {"app": "shop:application", "pm": "ondemand", "pm.max_children": 3}}, started=False)
    write_app(fpm, "shop", "import no_such_thing\n")
    fpm.expect_log(r"\[pool www\]")
    fpm.start()
    replies, _ = together(5, lambda _: fpm.get("www"))
    assert [reply.status for reply in replies] == [503] * 5
    wait_state(fpm, "www", "failed")
    write_app(fpm, "shop", "from hello import application\n")
    wait_until(lambda: fpm.get("www").status == 200)


@pytest.mark.parametrize("preload", ["auto", "no"])
def test_import_that_hangs_is_ended(daemon: Start, preload: str) -> None:
    pool = {"app": "shop:application", "preload": preload, "startup_timeout": "1500ms", "pm.max_children": 2}
    fpm = daemon({"www": pool, "good": {}}, started=False)
    write_app(fpm, "shop", "import time\ntime.sleep(1000)\n")
    fpm.expect_log(r"\[pool www\]")
    fpm.start()
    failed = wait_state(fpm, "www", "failed")
    assert "1.5 s" in failed["error"]
    assert fpm.get("www").status == 503
    assert fpm.get("good").status == 200
    write_app(fpm, "shop", "from hello import application\n")
    wait_until(lambda: fpm.get("www").status == 200)


def test_child_forked_by_the_import_is_no_second_template(daemon: Start) -> None:
    fpm = daemon({"www": {"app": "forking:application", "pm.max_children": 3}}, started=False)
    write_app(
        fpm,
        "forking",
        """
        import os
        os.fork()
        from hello import application
        """,
    )
    fpm.start()
    replies, _ = together(12, lambda _: fpm.get("www"))
    assert [reply.status for reply in replies] == [200] * 12
    assert len(fpm.workers("www")) == 3
    assert len(fpm.processes("template www")) == 1


def test_worker_that_dies_before_it_serves_fails_the_pool(daemon: Start) -> None:
    pool = {"app": "dying:application", "pm.max_children": 2}
    fpm = daemon({"www": pool, "good": {}}, started=False)
    write_app(
        fpm,
        "dying",
        """
        import fpm, os
        from hello import application

        @fpm.postfork
        def die():
            print("forked once more", flush=True)
            os._exit(5)
        """,
    )
    fpm.expect_log(r"\[pool www\]")
    fpm.start()
    failed = wait_state(fpm, "www", "failed")
    error = r"its workers end before they serve, \d+ in a row; the last one, child \d+, exited with code 5"
    assert re.fullmatch(error, failed["error"])
    assert fpm.get("www").status == 503
    fpm.wait_log("next try in 2 s")
    assert fpm.log().count("forked once more") < 20
    write_app(fpm, "dying", "from hello import application\n")
    wait_until(lambda: fpm.get("www").status == 200)


def test_application_imports_fpm_and_its_own_modules(daemon: Start) -> None:
    fpm = daemon({"www": {"app": "imports:application"}}, started=False)
    write_app(
        fpm,
        "imports",
        """
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
        """,
    )
    fpm.start()
    with module_of_ours() as name:
        answer = json.loads(fpm.get("www", query=name).body)
    assert answer["fpm"]
    assert answer["found"] == f"No module named '{name}'"
    assert len(answer["argv"]) == 1
    assert answer["name"] == "imports"


def test_modules_beside_the_application_are_not_those_of_the_boot(daemon: Start) -> None:
    """They have names that what comes before the application imports from the standard library."""
    fpm = daemon({"www": {"app": "hello:application"}}, started=False)
    for name in ("json", "os", "base64", "marshal", "socket", "importlib", "ctypes", "signal", "sitecustomize"):
        write_app(fpm, name, f"raise SystemExit('the application has its own {name}')")
    fpm.start()
    assert fpm.get("www").status == 200
    assert facts(fpm, "www")["state"] != "failed"
