"""A site of real applications: each a pool below a prefix of its own, behind one nginx that listens on TCP."""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from http.cookiejar import CookieJar
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.parse import urlencode, urljoin
from urllib.request import HTTPCookieProcessor, Request, build_opener

import pytest

from tests.support.fpm import IS_ROOT, POOL_USER, Daemon
from tests.support.interpreter import START_AS_ROOT, own_environment
from tests.support.nginx import Nginx
from tests.support.pools import free_port

INSTALLED = Path(sys.prefix) / "applications"
"""What `.ci/setup applications` has installed beside the tools of the tests, which need other versions."""
LOCATION = """
location /{name}/ {{
    include fastcgi_params;
    fastcgi_param HTTP_HOST $http_host;
    fastcgi_pass unix:{socket};
}}
location /{name}/size {{
    include fastcgi_params;
    fastcgi_request_buffering off;
    fastcgi_pass unix:{socket};
}}
"""


class Page(NamedTuple):
    """What a visitor sees. `url` is the one that the redirects have led to."""

    status: int
    url: str
    text: str
    headers: http.client.HTTPMessage


class Visitor:
    """A client with cookies that follows redirects and names its last page as the Referer, as a browser does."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.cookies = CookieJar()
        self._opener = build_opener(HTTPCookieProcessor(self.cookies))
        self._last = base

    def get(self, path: str) -> Page:
        """GET a path, or a link of the last page."""
        return self.ask(path)

    def post(self, path: str, **fields: str) -> Page:
        """Send a form."""
        return self.ask(path, urlencode(fields).encode())

    def ask(self, path: str, body: bytes | None = None, *, method: str | None = None, kind: str = "") -> Page:
        """Any request."""
        request = Request(urljoin(self._last, path), body, {"Referer": self._last}, method=method)
        if kind:
            request.add_header("Content-Type", kind)
        try:
            with self._opener.open(request, timeout=60.0) as answer:
                page = Page(answer.status, answer.url, answer.read().decode(), answer.headers)
        except HTTPError as error:
            with error:
                page = Page(error.code, error.url, error.read().decode(), error.headers)
        self._last = page.url
        return page


class Site:
    """The daemon and its nginx. `pools` by the name that is their prefix as well."""

    def __init__(self) -> None:
        self.fpm = Daemon({"none": {}})
        self.directory = self.fpm.directory
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}/"
        self._nginx: Nginx | None = None

    def start(self, pools: Mapping[str, Mapping[str, object]], *, server: str = "") -> None:
        """Start both; nginx gets `server` beside a location for each pool."""
        common = {"pm": "ondemand", "pm.max_children": 2, **own_environment()}
        self.fpm.configure({name: {**common, "script_name": f"/{name}", **pool} for name, pool in pools.items()})
        self.fpm.start(*START_AS_ROOT)
        places = [LOCATION.format(name=name, socket=self.fpm.address(name)) for name in pools]
        self._nginx = Nginx(f"listen 127.0.0.1:{self.port};\n{server}\n{''.join(places)}")

    def visitor(self, name: str) -> Visitor:
        """A new one, at an application's first page."""
        return Visitor(f"{self.base}{name}/")

    def upload(self, path: str, blocks: Iterable[bytes]) -> str:
        """POST a body whose length is not said beforehand; what the application says."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60.0)
        try:
            connection.request("POST", path, blocks, {"Content-Type": "application/octet-stream"}, encode_chunked=True)
            answer = connection.getresponse()
            return f"{answer.status} {answer.read().decode()}"
        finally:
            connection.close()

    def finish(self) -> None:
        """Stop both."""
        if self._nginx is not None:
            self._nginx.finish()
        self.fpm.finish()


def give(*paths: Path) -> None:
    """Let the pools' user have directories and all that is in them."""
    if IS_ROOT:
        for path in [inner for top in paths for inner in (top, *top.rglob("*"))]:
            shutil.chown(path, POOL_USER)


def installed(package: str) -> Path:
    """Where an application is; the test is skipped without it."""
    if not (INSTALLED / package).exists():
        pytest.skip(f"{package} is not there (.ci/setup applications; make test does it)")
    return INSTALLED


def run_python(*arguments: str, cwd: Path, environ: Mapping[str, str] | None = None) -> str:
    """Run a program of the applications' directory with the tests' Python; its output, once it has succeeded."""
    variables = {"PATH": os.environ["PATH"], "HOME": str(cwd), "PYTHONPATH": str(INSTALLED), **(environ or {})}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=variables, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
    return done.stdout
