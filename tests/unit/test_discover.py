"""What is found to serve in a project's sources, which are read only."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm.discover.project import NoApplication, Project, find_project
from fpm.discover.source import Callable, find_callable, find_settings_module

MANAGE = """
import os, sys
def main():
    os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'mysite.settings')
if __name__ == '__main__':
    main()
"""
WSGI = """
import os
from django.core.wsgi import get_wsgi_application
os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'mysite.settings')
application = get_wsgi_application()
"""
FLASK = "from flask import Flask\napp = Flask(__name__)\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (WSGI, Callable("application", "django")),
        (FLASK, Callable("app", "flask")),
        ("app = 1\ndef application(environ, start_response): ...", Callable("application", "")),
        ("import falcon\napp: falcon.App = falcon.App()", Callable("app", "falcon")),
        ("from shop import app as application", Callable("application", "")),
        ("def create_app(config=None, *, debug=False): ...", Callable("create_app()", "")),
        ("def create_app(config): ...", None),
        ("import flask\nsite = flask.Flask('x')", Callable("site", "flask")),
        ("import flask\na = flask.Flask('x')\nb = flask.Flask('x')", None),
        ("try:\n    app = make()\nexcept ImportError:\n    raise", Callable("app", "")),
        ("if __name__ == '__main__':\n    app = 1", None),
        ("def f():\n    app = 1", None),
        ("import fastapi\napp = fastapi.FastAPI()\ndef create_app(): ...", Callable("create_app()", "")),
        ("from fastapi import FastAPI\napp = FastAPI()", None),
        ("app = '\\d'", Callable("app", "")),
        ("app = (", Callable("app", "")),
        ("x = 'a' 'b\nimport flask\napp = flask.Flask(\n  __name__,\n)\n", Callable("app", "flask")),
        ("def application(environ, start_response)\n    return []", Callable("application", "")),
        ("try:\n    app = make()\nexcept ImportError:\n    raise\ndef broken(", Callable("app", "")),
        ("class = 1\n1 = 2\nx == 3\ndef app2(", None),
        ("(" * 100_000, None),
        ("app\0 = 1", None),
        ("", None),
    ],
)
def test_a_module_has_this_callable(text: str, expected: Callable | None) -> None:
    assert find_callable(text) == expected


@given(st.text())
def test_any_text_can_be_read(text: str) -> None:
    find_callable(text)
    assert find_settings_module(text) == ""


def write(directory: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


DJANGO = {"manage.py": MANAGE, "mysite/__init__.py": "", "mysite/settings.py": "", "mysite/wsgi.py": WSGI}
BELOW = {f"site/{name}": text for name, text in DJANGO.items()}
ODD = DJANGO | {"mysite/settings.py": "WSGI_APPLICATION = 'other.entry.handler'"}
PACKAGE = {"shop/__init__.py": FLASK, "shop/views.py": "from shop import app"}


@pytest.mark.parametrize(
    ("files", "target", "expected"),
    [
        (DJANGO, "", ("mysite.wsgi:application", ".", "django", "mysite.settings")),
        (DJANGO, "manage.py", ("mysite.wsgi:application", ".", "django", "mysite.settings")),
        (DJANGO, "mysite/", ("mysite.wsgi:application", ".", "django", "mysite.settings")),
        (DJANGO, "mysite", ("mysite.wsgi:application", ".", "django", "mysite.settings")),
        (DJANGO, "mysite.wsgi", ("mysite.wsgi:application", ".", "django", "mysite.settings")),
        (DJANGO, "mysite/wsgi.py", ("mysite.wsgi:application", ".", "django", "mysite.settings")),
        (DJANGO, "mysite.wsgi:application", ("mysite.wsgi:application", ".", "django", "mysite.settings")),
        (BELOW, "", ("mysite.wsgi:application", "site", "django", "mysite.settings")),
        (BELOW, "site", ("mysite.wsgi:application", "site", "django", "mysite.settings")),
        (BELOW, "site/manage.py", ("mysite.wsgi:application", "site", "django", "mysite.settings")),
        (ODD, "", ("other.entry:handler", ".", "django", "mysite.settings")),
        ({"flaskapp.py": FLASK}, "flaskapp", ("flaskapp:app", ".", "flask", "")),
        ({"flaskapp.py": FLASK}, "flaskapp.py", ("flaskapp:app", ".", "flask", "")),
        ({"flaskapp.py": FLASK}, "", ("flaskapp:app", ".", "flask", "")),
        ({"my app.py": FLASK}, "my app.py", ("my app.py:app", ".", "flask", "")),
        ({"app.py": FLASK, "other.py": FLASK}, "", ("app:app", ".", "flask", "")),
        ({"app.py": f"{FLASK}def broken(", "other.py": FLASK}, "", ("app:app", ".", "flask", "")),
        (DJANGO | {"mysite/wsgi.py": f"{WSGI}1 +"}, "", ("mysite.wsgi:application", ".", "django", "mysite.settings")),
        (PACKAGE, "", ("shop:app", ".", "flask", "")),
        (PACKAGE, "shop", ("shop:app", ".", "flask", "")),
        (PACKAGE, "shop/views.py", ("shop.views:app", ".", "", "")),
        ({"hello.py": ""}, "hello:anything", ("hello:anything", ".", "", "")),
    ],
)
def test_a_project_is_found(
    tmp_path: Path, files: dict[str, str], target: str, expected: tuple[str, str, str, str]
) -> None:
    write(tmp_path, files)
    app, directory, framework, settings = expected
    assert find_project(target, str(tmp_path)) == Project(
        app, str((tmp_path / directory).resolve()), framework, settings
    )


@pytest.mark.parametrize(
    ("files", "target", "reason"),
    [
        ({}, "", "found no application in this directory: no manage.py"),
        ({}, "shop", "there is no shop.py and no shop/__init__.py in "),
        ({}, "shop.py", "there is no file shop.py"),
        ({"shop.py": "x = 1"}, "shop.py", "shop.py has no `application`, no `app` and no `create_app()`"),
        ({}, "shop.py:app", "there is no file shop.py"),
        ({"shop.py": "x = 1"}, "shop", "module shop has no `application`"),
        ({"a.py": FLASK, "b.py": FLASK}, "", "more than one application: a:app, b:app. Name the one to serve"),
        ({"manage.py": ""}, "", "does not set DJANGO_SETTINGS_MODULE"),
        ({"manage.py": MANAGE}, "", "names the settings mysite.settings, but there is no mysite/wsgi.py"),
    ],
)
def test_nothing_is_found_and_why(tmp_path: Path, files: dict[str, str], target: str, reason: str) -> None:
    write(tmp_path, files)
    with pytest.raises(NoApplication) as caught:
        find_project(target, str(tmp_path))
    assert reason in str(caught.value)
    assert caught.value.exit_status == 64
