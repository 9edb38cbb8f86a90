"""Small applications of Flask and Django, and where their packages are."""

from __future__ import annotations

import shutil
import sysconfig
from pathlib import Path

PACKAGES = Path(sysconfig.get_path("purelib"))
NAMES = (
    "flask",
    "werkzeug",
    "jinja2",
    "markupsafe",
    "itsdangerous",
    "click",
    "blinker",
    "django",
    "asgiref",
    "sqlparse",
)
"""What the two import; each is pure Python, or has a substitute that is."""
MODULE = "sites"
SITES = """
import os
import tempfile


def flask():
    import flask

    app = flask.Flask("sites")

    @app.get("/<name>")
    def hello(name):
        with tempfile.TemporaryFile() as file:
            file.write(b"x")
        return flask.render_template_string("<p>{{ name }} in {{ cwd }}</p>", name=name, cwd=os.getcwd())

    return app


def django():
    from django.conf import settings

    settings.configure(
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF="sites_urls",
        SECRET_KEY="x",
        TIME_ZONE="Europe/Berlin",
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "/tmp/database"}},
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
        LOGGING_CONFIG=None,
    )
    from django.core.wsgi import get_wsgi_application

    return get_wsgi_application()
"""
URLS = """
import os
import tempfile

from django.db import connection
from django.http import HttpResponse
from django.template import engines
from django.urls import path


def hello(request, name):
    with tempfile.TemporaryFile() as file, connection.cursor() as cursor:
        file.write(b"x")
        cursor.execute("create table if not exists one (number)")
    page = engines["django"].from_string("<p>{{ name }} in {{ cwd }}</p>")
    return HttpResponse(page.render({"name": name, "cwd": os.getcwd()}))


urlpatterns = [path("<str:name>", hello)]
"""


def write_sites(directory: Path) -> None:
    """Put the two applications, `sites:flask()` and `sites:django()`, into a directory, for everybody to read."""
    for name, text in (("sites.py", SITES), ("sites_urls.py", URLS)):
        (directory / name).write_text(text)
        (directory / name).chmod(0o644)


def copy_packages(target: Path) -> None:
    """Copy what the two import into a directory."""
    target.mkdir(parents=True)
    for name in NAMES:
        if (PACKAGES / name).is_dir():
            shutil.copytree(PACKAGES / name, target / name, ignore=shutil.ignore_patterns("__pycache__", "LC_MESSAGES"))
    for file in PACKAGES.glob("*.py"):
        shutil.copy(file, target / file.name)
    for info in PACKAGES.glob("*.dist-info"):
        if info.name.split("-")[0].lower() in NAMES:
            shutil.copytree(info, target / info.name)
