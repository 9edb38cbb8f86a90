"""What `pyfpm init` reads in a project: settings of Django, static files of Flask, virtual environments."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm.discover.environments import find_venvs
from fpm.discover.project import NoApplication
from fpm.init.django import read_details
from fpm.init.look import look_at_project
from fpm.init.project import Details, Static

SETTINGS = """
import os
from pathlib import Path
BASE_DIR = Path(__file__).resolve().parent.parent
DEBUG = True
ALLOWED_HOSTS = []
STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "collected"
MEDIA_URL = "/media/"
MEDIA_ROOT = os.path.join(BASE_DIR, "uploads")
"""
MEDIA = Static("/media/", "/srv/x/uploads")
APP = "mysite.wsgi:application"


def details(settings: str, **others: str) -> Details:
    """Read settings; other modules by their paths, with two underscores for a slash."""
    sources = {f"{path.replace('__', '/')}.py": text for path, text in others.items()}
    sources.setdefault("mysite/settings.py", settings)
    return read_details("/srv/x", APP, "mysite.settings", lambda path: sources.get(path, ""))


def test_the_settings_that_startproject_makes() -> None:
    found = details(SETTINGS)
    assert found.statics == (Static("/static/", "/srv/x/collected"), MEDIA)
    assert found.collects_static
    assert [note.partition(" ")[0] for note in found.notes] == ["DEBUG", "ALLOWED_HOSTS"]
    assert found.static_notes == ()


def test_the_settings_of_production_in_parts() -> None:
    found = details(
        "DEBUG = True",
        mysite__conf__base=SETTINGS.replace("parent.parent", "parent.parent.parent"),
        mysite__conf__production="from .base import *\nDEBUG = False\nALLOWED_HOSTS = ['x']\n",
        mysite__wsgi="os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'mysite.conf.production')\n",
    )
    assert found == Details((Static("/static/", "/srv/x/collected"), MEDIA), collects_static=True)


@pytest.mark.parametrize(
    ("root", "words"),
    [
        ('"/etc"', "outside of the project"),
        ('BASE_DIR / ".." / ".." / "etc"', "outside of the project"),
        ("BASE_DIR", "outside of the project"),
        ('env("STATIC_ROOT")', "cannot be read"),
        ("STATIC_ROOT", "cannot be read"),
        ('f"{BASE_DIR}/x"', "cannot be read"),
        ("None", "cannot be read"),
    ],
)
def test_the_web_server_gets_no_directory_that_a_project_may_not_give(root: str, words: str) -> None:
    found = details(SETTINGS.replace('BASE_DIR / "collected"', root))
    assert found.statics == (MEDIA,)
    assert not found.collects_static
    assert words in found.static_notes[0]


@pytest.mark.parametrize("url", ['"https://cdn.example.com/"', '"//cdn.example.com/"', '"/"', "None"])
def test_static_files_that_are_elsewhere(url: str) -> None:
    found = details(SETTINGS.replace('"static/"', url))
    assert (found.statics, found.static_notes) == ((MEDIA,), ())


@pytest.mark.parametrize(
    "spelled",
    [
        "os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'collected')",
        "str(BASE_DIR.joinpath('collected'))",
        "Path(BASE_DIR, 'collected')",
        "BASE_DIR / 'other' / '..' / 'collected'",
        "'collected'",
    ],
)
def test_spellings_of_a_path(spelled: str) -> None:
    found = details(SETTINGS.replace('BASE_DIR / "collected"', spelled))
    assert found.statics[0] == Static("/static/", "/srv/x/collected")


SQLITE = """
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "data" / "db.sqlite3"}}
"""
BESIDE = SQLITE.replace('"data" / ', "")


@pytest.mark.parametrize(
    ("more", "expected", "note"),
    [
        (SQLITE, "/srv/x/data/db.sqlite3", ""),
        (BESIDE, "/srv/x/data/db.sqlite3", "the SQLite database lies in /srv/x, beside the code"),
        (BESIDE + 'DATABASES["default"]["NAME"] = BASE_DIR / "var" / "db"', "/srv/x/var/db", ""),
        (BESIDE.replace("DATABASES =", "DATABASES: dict ="), "/srv/x/data/db.sqlite3", "beside the code"),
        (BESIDE.replace("BASE_DIR /", "BASE_DIR / 'mysite' /"), "/srv/x/data/db.sqlite3", "lies in /srv/x/mysite"),
        (SQLITE.replace("BASE_DIR /", "'/etc' /"), "", "outside of the project"),
        (SQLITE.replace('BASE_DIR / "data" / "db.sqlite3"', '"/etc/x"'), "", "/etc/x, outside of the project"),
        (SQLITE.replace("sqlite3", "postgresql", 1), "", ""),
        (SQLITE.replace('BASE_DIR / "data" / "db.sqlite3"', '":memory:"'), "", ""),
        ("DATABASES = {'default': env.db()}", "", ""),
        (SQLITE + "DATABASES['default'] = dj_database_url.config()", "", ""),
    ],
)
def test_the_database(more: str, expected: str, note: str) -> None:
    found = details(SETTINGS + more)
    assert (found.migrates, found.sqlite) == (True, expected)
    (said,) = [one for one in found.notes if "SQLite" in one] or [""]
    assert note in said
    assert bool(note) == bool(said)


def test_a_database_that_the_base_settings_name() -> None:
    base = SETTINGS.replace("parent.parent", "parent.parent.parent") + BESIDE
    changed = details("from .conf.base import *", mysite__conf__base=base)
    assert (changed.migrates, changed.sqlite) == (True, "/srv/x/data/db.sqlite3")
    assert not details(SETTINGS).migrates


def test_settings_that_import_themselves() -> None:
    assert details(f"from .settings import *\n{SETTINGS}").collects_static
    assert details("") == Details()


@given(st.text(alphabet="STATIC_ROOT=/\"'().parent \n", max_size=60))
def test_any_settings_are_read(text: str) -> None:
    details(SETTINGS + text)


FLASK = "from flask import Flask\napp = Flask(__name__)\n"


def test_a_flask_application_in_a_package(tmp_path: Path) -> None:
    (tmp_path / "src" / "shop" / "static").mkdir(parents=True)
    (tmp_path / "src" / "shop" / "__init__.py").write_text(FLASK)
    found = look_at_project("", str(tmp_path))
    assert (found.what, found.app, found.directory) == ("Flask application", "shop:app", f"{tmp_path}/src")
    assert found.details.statics == (Static("/static/", f"{tmp_path}/src/shop/static"),)


def test_a_static_directory_that_is_a_link_is_not_served(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(FLASK)
    (tmp_path / "static").symlink_to("/etc")
    assert look_at_project("", str(tmp_path)).details.statics == ()


def test_an_asynchronous_application_is_named(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("from fastapi import FastAPI\napp = FastAPI()\n")
    with pytest.raises(NoApplication, match=r"FastAPI of .*/main.py makes an ASGI application"):
        look_at_project("", str(tmp_path))


def test_virtual_environments(tmp_path: Path) -> None:
    for name in (".venv", "elsewhere"):
        (tmp_path / name / "bin").mkdir(parents=True)
        (tmp_path / name / "bin" / "python").touch()
        (tmp_path / name / "pyvenv.cfg").touch()
    (tmp_path / "env").mkdir()
    own, active = str(tmp_path / ".venv"), str(tmp_path / "elsewhere")
    assert list(find_venvs(str(tmp_path), {})) == [own]
    assert list(find_venvs(str(tmp_path), {"VIRTUAL_ENV": active})) == [own, active]
