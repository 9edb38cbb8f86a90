"""Real frameworks and complete applications, unmodified, in pools of one daemon behind nginx, with real clients."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fpm import APPS
from tests.support.real_site import INSTALLED, Site, give, installed, run_python

FRAMEWORKS = ("flask", "falcon", "bottle", "pyramid", "cherrypy")
NEED_LENGTH = ("falcon", "bottle", "cherrypy")
"""Those that read no body whose length is not said: `request_body_spool` finds it for them."""
COMPLETE = {"mercurial": "hgweb", "radicale": "radicale", "pypiserver": "pypiserver"}
"""The package of each complete application, and its pool."""
PASSWORD = "correct horse battery staple"
DJANGO = """
import os

import django
from django.core.management import call_command

django.setup()
call_command("migrate", verbosity=0)
call_command("createsuperuser", interactive=False, username="ida", email="ida@example.org", verbosity=0)
call_command("collectstatic", interactive=False, verbosity=0)
"""
SETTINGS = """
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1"]
STATIC_ROOT = BASE_DIR / "collected"
"""


def make_django(directory: Path) -> dict[str, object]:
    """What `django-admin startproject` makes, with an administrator."""
    directory.mkdir()
    run_python("-m", "django", "startproject", "shop", ".", cwd=directory)
    with (directory / "shop" / "settings.py").open("a") as settings:
        settings.write(SETTINGS)
    environ = {"DJANGO_SETTINGS_MODULE": "shop.settings", "DJANGO_SUPERUSER_PASSWORD": PASSWORD, "PYTHONPATH": ""}
    run_python("-c", DJANGO, cwd=directory, environ=environ)
    give(directory)
    return {"app": "shop.wsgi:application", "chdir": directory}


def make_hgweb(directory: Path) -> dict[str, object]:
    repository = directory / "repository"
    repository.mkdir(parents=True)
    run_python(str(INSTALLED / "bin" / "hg"), "init", cwd=repository)
    config = directory / "hgweb.config"
    config.write_text(f"[paths]\nwidgets = {repository}\n[web]\npush_ssl = no\nallow_push = *\n")
    give(directory)
    return {"app": "complete:hgweb()", "env[HGWEB_CONFIG]": config, "env[HGRCPATH]": ""}


def make_radicale(directory: Path) -> dict[str, object]:
    directory.mkdir()
    (directory / "users").write_text(f"ida:{PASSWORD}\n")
    config = directory / "config"
    config.write_text(
        f"[auth]\ntype = htpasswd\nhtpasswd_filename = {directory}/users\nhtpasswd_encryption = plain\n"
        f"[storage]\nfilesystem_folder = {directory}/collections\n[logging]\nlevel = warning\n"
    )
    give(directory)
    return {"app": "radicale:application", "env[RADICALE_CONFIG]": config}


def make_pypiserver(directory: Path) -> dict[str, object]:
    (directory / "packages").mkdir(parents=True)
    digest = base64.b64encode(hashlib.sha1(PASSWORD.encode()).digest()).decode()
    (directory / "passwords").write_text(f"ida:{{SHA}}{digest}\n")
    give(directory)
    environ = {"env[PACKAGES]": directory / "packages", "env[PASSWORDS]": directory / "passwords"}
    return {"app": "complete:pypiserver()", **environ}


MAKE = {"hgweb": make_hgweb, "radicale": make_radicale, "pypiserver": make_pypiserver}


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    made = Site()
    try:
        pools: dict[str, dict[str, object]] = {name: {"app": f"frameworks:{name}()"} for name in FRAMEWORKS}
        for name in NEED_LENGTH:
            pools[name]["request_body_spool"] = True
        pools["django"] = make_django(made.directory / "django")
        for package, name in COMPLETE.items():
            if (INSTALLED / package).exists():
                pools[name] = MAKE[name](made.directory / name) | {"pythonpath": INSTALLED}
        if INSTALLED.exists():
            pools["cherrypy"]["pythonpath"] = INSTALLED
        static = f"location /django/static/ {{ alias {made.directory}/django/collected/; }}"
        made.start(pools, server=static)
        yield made
    finally:
        made.finish()


# --- frameworks ------------------------------------------------------------------------------------------------------


def csrf_token(page: str) -> str:
    found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
    assert found, page
    return found[1]


def test_django_and_its_admin(site: Site) -> None:
    """A login, a record that is added, changed and deleted, and the pages' style, which nginx serves."""
    visitor = site.visitor("django")
    page = visitor.get("admin/")
    assert page.url.endswith("/django/admin/login/?next=/django/admin/")
    (style,) = re.findall(r'href="(/django/static/[\w/]+/base\.css)"', page.text)
    assert "--primary" in visitor.get(style).text
    login = {"username": "ida", "next": "/django/admin/"}
    page = visitor.get("/django/admin/login/")
    page = visitor.post("", csrfmiddlewaretoken=csrf_token(page.text), password="wrong", **login)
    assert "Please enter the correct username" in page.text
    page = visitor.post("", csrfmiddlewaretoken=csrf_token(page.text), password=PASSWORD, **login)
    assert (page.status, page.url) == (200, f"{site.base}django/admin/")
    assert {cookie.name: cookie.path for cookie in visitor.cookies}["sessionid"] == "/"

    for path, name, said in (("add/", "Grocers", "added"), ("1/change/", "Bakers &amp; Co", "changed")):
        page = visitor.get(f"/django/admin/auth/group/{path}")
        page = visitor.post("", csrfmiddlewaretoken=csrf_token(page.text), name=name.replace("&amp;", "&"))
        assert page.url == f"{site.base}django/admin/auth/group/"
        assert f"{name}</a>” was {said} successfully" in page.text, page.text
    page = visitor.get("/django/admin/auth/group/1/delete/")
    page = visitor.post("", csrfmiddlewaretoken=csrf_token(page.text), post="yes")
    assert "was deleted successfully" in page.text
    assert "0 groups" in page.text
    page = visitor.get("/django/admin/auth/group/")
    assert visitor.post("add/", name="without the token").status == 403


def test_flask_sessions_and_flashed_messages(site: Site) -> None:
    visitor, other = site.visitor("flask"), site.visitor("flask")
    page = visitor.post("login", name="Ida Ångström")
    assert (page.url, page.text) == (f"{site.base}flask/", "Ida Ångström: Welcome, Ida Ångström")
    assert visitor.get("").text == "Ida Ångström: "
    assert other.get("").text == "nobody: "


def test_falcon_resources_streams_and_parts(site: Site) -> None:
    visitor = site.visitor("falcon")
    page = visitor.get("things/lamp")
    assert (page.status, json.loads(page.text)) == (404, {"title": "No such thing", "description": "lamp"})
    thing = {"colour": "grün", "watts": 7}
    for status in (201, 200):
        page = visitor.ask("lamp", json.dumps(thing).encode(), method="PUT", kind="application/json")
        assert (page.status, page.headers["Location"]) == (status, f"{site.base}falcon/things/lamp")
    page = visitor.get("lamp")
    assert json.loads(page.text) == thing
    assert page.headers["Link"] == f'<{site.base}falcon/things/lamp>; rel="self"'
    assert visitor.ask("lamp", b"{", method="PUT", kind="application/json").status == 400
    assert visitor.get("/falcon/numbers?to=5000").text.splitlines() == [str(number) for number in range(5000)]
    part = "--x\r\nContent-Disposition: form-data; name=a; filename=b.bin\r\n\r\n"
    body = part.encode() + bytes(70_000) + b"\r\n--x--\r\n"
    page = visitor.ask("/falcon/upload", body, kind="multipart/form-data; boundary=x")
    assert json.loads(page.text) == [["a", "b.bin", 70_000]]


def test_bottle_signed_cookies_and_files(site: Site) -> None:
    visitor = site.visitor("bottle")
    page = visitor.get("")
    assert (page.status, "Who are you?" in page.text) == (401, True)
    page = visitor.post("login", name="<Ida>")
    assert (page.url, page.text) == (f"{site.base}bottle/", "<p>&lt;Ida&gt;</p>")
    page = visitor.get("source/frameworks.py")
    assert page.text == (APPS / "frameworks.py").read_text()
    assert page.headers["Content-Type"].startswith("text/x-python")
    assert visitor.get("../source/../../etc/passwd").status in (403, 404)


def test_pyramid_sessions_and_tokens(site: Site) -> None:
    visitor = site.visitor("pyramid")
    told = json.loads(visitor.get("").text)
    assert told["name"] is None
    assert visitor.post("login", name="Ida").status == 400
    page = visitor.post("/pyramid/login", name="Ida", csrf_token=told["token"])
    assert page.url == f"{site.base}pyramid/"
    assert json.loads(page.text)["name"] == "Ida"


def test_cherrypy_whose_engine_has_threads(site: Site) -> None:
    """They do not survive a fork, so each worker imports the application itself (`preload = auto`)."""
    installed("cherrypy")
    visitor = site.visitor("cherrypy")
    assert visitor.get("login").status == 405
    page = visitor.post("login", name="Ida")
    assert (page.url, page.text) == (f"{site.base}cherrypy/", "Ida STARTED")
    assert visitor.get("").text == "Ida STARTED", "the same worker, as nobody else is there"
    site.fpm.wait_log(r"\[pool cherrypy\] .*Autoreloader")


def test_every_framework_reads_a_body_of_unsaid_length(site: Site) -> None:
    """In chunks, which nginx passes on as they come (the location `size` has fastcgi_request_buffering off)."""
    there = [name for name in FRAMEWORKS if name != "cherrypy" or (INSTALLED / name).exists()]
    sizes = {name: site.upload(f"/{name}/size", (bytes(1000) for _ in range(20))) for name in there}
    assert sizes == dict.fromkeys(there, "200 20000")


# --- complete applications -------------------------------------------------------------------------------------------


def test_mercurial_clones_and_pushes(site: Site) -> None:
    hg = str(installed("mercurial") / "bin" / "hg")
    address = f"{site.base}hgweb/widgets"
    home = site.directory / "hgweb" / "client"
    home.mkdir()
    run_python(hg, "clone", address, "first", cwd=home)
    (home / "first" / "data").write_bytes(os.urandom(900_000))
    run_python(hg, "commit", "-A", "-u", "ida", "-m", "random numbers", cwd=home / "first")
    assert "added 1 changesets with 1 changes to 1 files" in run_python(hg, "push", cwd=home / "first")
    run_python(hg, "clone", address, "second", cwd=home)
    assert (home / "second" / "data").read_bytes() == (home / "first" / "data").read_bytes()
    assert "random numbers" in site.visitor("hgweb").get("widgets/shortlog").text


CALENDAR = """
import sys
from datetime import datetime, timedelta

import caldav

address, password = sys.argv[1:]
with caldav.DAVClient(url=address, username="ida", password=password) as client:
    calendar = client.principal().make_calendar(name="Work")
    start = datetime(2026, 3, 1, 9)
    for day in range(6):
        begin = start + timedelta(days=day)
        calendar.add_event(dtstart=begin, dtend=begin + timedelta(hours=1), summary=f"Mänty {day}")
    found = calendar.search(start=start + timedelta(days=2), end=start + timedelta(days=4), event=True)
    print(sorted(str(event.icalendar_component["summary"]) for event in found))
    found[0].delete()
    print(len(calendar.events()), [one.get_display_name() for one in client.principal().calendars()])
try:
    caldav.DAVClient(url=address, username="ida", password="wrong").principal()
except caldav.lib.error.AuthorizationError:
    print("refused")
"""


def test_radicale_with_a_caldav_client(site: Site) -> None:
    installed("radicale")
    site.fpm.expect_log(r"\[pool radicale\] child \d+ said into stderr: \"\[.*\] \[(INFO|WARNING)\] ")
    told = run_python("-c", CALENDAR, f"{site.base}radicale/", PASSWORD, cwd=site.directory)
    assert told.splitlines() == ["['Mänty 2', 'Mänty 3']", "5 ['Work']", "refused"]


def make_wheel(directory: Path) -> Path:
    """The least that pip installs and twine uploads."""
    path = directory / "lampshade-1.5-py3-none-any.whl"
    files = {
        "lampshade.py": "SHADE = 1\n",
        "lampshade-1.5.dist-info/METADATA": "Metadata-Version: 2.1\nName: lampshade\nVersion: 1.5\n",
        "lampshade-1.5.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
        wheel.writestr("lampshade-1.5.dist-info/RECORD", "".join(f"{name},,\n" for name in files))
    return path


def test_pypiserver_with_twine_and_pip(site: Site) -> None:
    installed("pypiserver")
    home = site.directory / "pypiserver" / "client"
    home.mkdir()
    wheel = make_wheel(home)
    twine = ["-m", "twine", "upload", "--non-interactive", "-u", "ida", "--repository-url", f"{site.base}pypiserver/"]
    run_python(*twine, "-p", PASSWORD, str(wheel), cwd=home)
    (home / "got").mkdir()
    pip = ["-m", "pip", "download", "--isolated", "--no-deps", "--index-url", f"{site.base}pypiserver/simple/"]
    run_python(*pip, "-d", "got", "lampshade", cwd=home)
    assert (home / "got" / wheel.name).read_bytes() == wheel.read_bytes()
    assert site.visitor("pypiserver").post("", **{":action": "file_upload"}).status == 401
