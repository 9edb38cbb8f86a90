"""Small applications of Flask and Django, and where their packages are."""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
from pathlib import Path

from tests.support.fpm import Daemon

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
NOT_NEEDED = shutil.ignore_patterns("LC_MESSAGES", "gis", "static")
SITES = '''
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


def both():
    """One application: whose page it is says the first part of the path."""
    sites = {"flask": flask(), "django": django()}

    def application(environ, start_response):
        _, name, rest = environ["PATH_INFO"].split("/", 2)
        return sites[name]({**environ, "SCRIPT_NAME": f"/{name}", "PATH_INFO": f"/{rest}"}, start_response)

    return application
'''
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


USE = """
from wsgiref.util import setup_testing_defaults
from sites import both

application = both()
for name in ("flask", "django"):
    environ = {"PATH_INFO": f"/{name}/Ida"}
    setup_testing_defaults(environ)
    print(b"".join(application(environ, lambda *_: None)))
"""


def use_once(python: str, packages: Path, directory: Path) -> None:
    """Have another interpreter leave its bytecode beside the packages, where pools may not write."""
    environ = {"PYTHONPATH": f"{packages}:{directory}"}
    done = subprocess.run([python, "-c", USE], env=environ, capture_output=True, text=True, check=False, timeout=300)
    assert done.stdout.count("<p>Ida in ") == 2, done.stdout + done.stderr


def pages(fpm: Daemon, pool: str) -> list[tuple[int | None, str]]:
    """A page of each of the two, with its status."""
    replies = [fpm.get(pool, f"/{name}/Ida") for name in ("flask", "django")]
    return [(reply.status, reply.body.decode()) for reply in replies]


def write_sites(directory: Path) -> None:
    """Put the two applications, `sites:both()`, into a directory, for everybody to read."""
    for name, text in (("sites.py", SITES), ("sites_urls.py", URLS)):
        (directory / name).write_text(text)
        (directory / name).chmod(0o644)


def copy_packages(target: Path) -> None:
    """Copy what the two import into a directory, with the bytecode, which is valid while times stay the same."""
    target.mkdir(parents=True)
    for name in NAMES:
        if (PACKAGES / name).is_dir():
            shutil.copytree(PACKAGES / name, target / name, ignore=NOT_NEEDED)
    for file in PACKAGES.glob("*.py"):
        shutil.copy2(file, target / file.name)
    for info in PACKAGES.glob("*.dist-info"):
        if info.name.split("-")[0].lower() in NAMES:
            shutil.copytree(info, target / info.name)
