"""`pyfpm init` for a Django project and a Flask application, and the sites that it writes in six web servers."""

from __future__ import annotations

import json
import os
import pwd
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fpm.init.plan import Plan
from fpm.init.project import Static
from fpm.init.render import render_site
from fpm.init.servers import SERVERS
from fpm.scoreboard.counting import NONE, read_wait
from tests.support.fpm import Daemon
from tests.support.nginx import HttpReply
from tests.support.web_servers import WEB_USER, WebServer, find_server

pytestmark = pytest.mark.root  # each pool has a user of its own
USERS = {"board": "games", "shop": "news"}
"""Debian has them, and they own nothing."""
FORGED = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "198.51.100.7", "X-Request-Start": "t=1"}
"""Headers that any client can send."""
TELLS_THE_START = ("nginx", "apache", "caddy", "haproxy")
BOARD = """
from flask import Flask, jsonify, request

app = Flask(__name__)

@app.route("/", methods=["GET", "POST"])
@app.route("/seen/<path:rest>", methods=["GET", "POST"])
def seen(rest=""):
    variables = {name: value for name, value in request.environ.items() if isinstance(value, str)}
    return jsonify(environ=variables, rest=rest, url=request.url, body=len(request.get_data()))

@app.route("/large")
def large():
    return "x" * int(request.args["size"])
"""


class Sites:
    """A daemon with the two pools, as `pyfpm init` has written them."""

    def __init__(self) -> None:
        self.fpm = Daemon({})
        top = self.fpm.directory
        self.board, self.shop = top / "board", top / "shop"
        (self.board / "static").mkdir(parents=True)
        (self.board / "static" / "a b.css").write_text("css")
        (self.board / "static" / "link").symlink_to("/etc/passwd")
        os.lchown(self.board / "static" / "link", pwd.getpwnam(USERS["board"]).pw_uid, -1)
        (self.board / "app.py").write_text(BOARD)
        self.certificate = top / "certificate"
        make_certificate(self.certificate)
        self.shop.mkdir()
        python = [sys.executable, "-m", "django", "startproject", "shop", str(self.shop)]
        subprocess.run(python, check=True, timeout=60)
        settings = self.shop / "shop" / "settings.py"
        text = settings.read_text().replace("DEBUG = True", "DEBUG = False")
        text = text.replace("ALLOWED_HOSTS = []", 'ALLOWED_HOSTS = ["shop.test"]')
        settings.write_text(text + '\nSTATIC_ROOT = BASE_DIR / "static"\n')
        for path in [one for one in (top, *top.rglob("*")) if not one.is_symlink()]:
            path.chmod(0o755 if path.is_dir() else 0o644)
        self.fpm.config_file.write_text(
            f"[global]\npid = {self.fpm.pid_file}\ncontrol = {self.fpm.control}\ninclude = pools.d/*.conf\n"
        )

    def init(self, name: str, directory: Path, *more: str) -> subprocess.CompletedProcess[str]:
        """Write the pool file, and for nginx the site."""
        given = ["--directory", str(directory), "--venv", sys.prefix, "--user", USERS[name], "--domain", "shop.test"]
        given += ["--listen", str(self.socket(name)), "--server", "nginx"]
        return self.fpm.cli("init", name, *given, *more)

    def prepare(self) -> None:
        """Have both pool files and a site written, do what is printed, and start the daemon."""
        output = str(self.fpm.directory / "sites")
        board = self.init("board", self.board, "--dry-run")
        assert board.returncode == 0, board.stderr
        assert "found: Flask application, app = app:app" in board.stdout
        pools = self.fpm.directory / "pools.d"
        assert not pools.exists()
        for name, directory in (("board", self.board), ("shop", self.shop)):
            done = self.init(name, directory, "--output", output)
            assert done.returncode == 0, done.stderr
            assert f"wrote {output}/{name}.conf\nwrote {output}/{name}.nginx.conf\n" in done.stdout
            if name == "shop":
                run_steps(done.stdout, "static files")
        for file in (self.fpm.directory / "sites").glob("*.conf"):  # the logs of this machine are not the test's
            file.write_text(file.read_text().replace("/var/log/pyfpm/", f"{self.fpm.directory}/"))
        pools.symlink_to("sites")
        for site in (self.fpm.directory / "sites").glob("*.nginx.conf"):
            site.rename(site.with_suffix(".site"))
        test = self.fpm.cli("test")
        assert (test.returncode, test.stdout.count("WARNING")) == (0, 0), test.stderr
        self.fpm.start()

    def socket(self, name: str) -> Path:
        return self.fpm.directory / f"{name}.sock"


def make_certificate(file: Path) -> None:
    """Write a certificate for shop.test, signed by itself, and its key."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-subj", "/CN=shop.test", "-addext", "subjectAltName=DNS:shop.test", "-days", "2"]
    command += ["-keyout", f"{file}.key", "-out", str(file)]
    subprocess.run(command, check=True, timeout=60, capture_output=True)
    file.write_text(file.read_text() + Path(f"{file}.key").read_text())


def run_steps(text: str, title: str) -> None:
    """Run the commands that `pyfpm init` prints below a title."""
    (block,) = re.findall(rf"^    # {title}.*\n((?:    .*\n)+)", text, re.MULTILINE)
    subprocess.run(["sh", "-ec", block], check=True, timeout=60, stdout=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def sites() -> Iterator[Sites]:
    found = Sites()
    try:
        found.prepare()
        yield found
    finally:
        found.fpm.finish()


def plan(sites: Sites, server: str, proxies: tuple[str, ...] = ()) -> Plan:
    return Plan(
        name="board",
        what="Flask application",
        app="app:app",
        directory=str(sites.board),
        user=USERS["board"],
        listen=str(sites.socket("board")),
        web_user=SERVERS[server].users[0],
        web_group=WEB_USER,
        server=server,
        domains=("shop.test",),
        statics=(Static("/static/", str(sites.board / "static")),),
        proxies=proxies,
    )


def read(reply: HttpReply) -> dict[str, str]:
    assert reply.status == 200, reply
    answer = json.loads(reply.body)
    found: dict[str, str] = answer.pop("environ")
    return found | answer


@pytest.fixture(params=list(SERVERS))
def server(request: pytest.FixtureRequest) -> str:
    if find_server(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return str(request.param)


def test_a_site_passes_on_what_an_application_needs(sites: Sites, server: str) -> None:
    web = WebServer(server, render_site(plan(sites, server)))
    try:
        seen = read(web.request("GET", "/seen/a%20b/%C3%A9/c?q=%20&r"))
        assert (seen["rest"], seen["QUERY_STRING"], seen["SCRIPT_NAME"]) == ("a b/\xe9/c", "q=%20&r", "")
        assert seen["url"] == f"http://shop.test:{web.port}/seen/a%20b/\xe9/c?q=%20&r"
        assert (seen["HTTP_HOST"], seen["SERVER_NAME"]) == (f"shop.test:{web.port}", "shop.test")
        assert read(web.request("GET", "/"))["PATH_INFO"] == "/"
        assert read(web.request("GET", "/", headers={"Authorization": "Basic YTpi"}))["HTTP_AUTHORIZATION"]
        assert read(web.request("POST", "/", body=b"x" * 300_000))["body"] == 300_000
        large = web.request("GET", "/large?size=3000000")
        assert (large.status, large.body) == (200, b"x" * 3_000_000)
        missing = web.request("GET", "/none")
        assert (missing.status, b"The requested URL was not found on the server" in missing.body) == (404, True)
        if server != "haproxy":  # which serves no files
            assert web.request("GET", "/static/a%20b.css").body == b"css"
            assert web.request("GET", "/static/none.css").status == 404
            assert web.request("GET", "/static/../app.py").status != 200
        if server in ("nginx", "apache"):
            assert web.request("GET", "/static/link").status == 403
        seen = read(web.request("GET", "/", headers=FORGED))
        assert (seen["wsgi.url_scheme"], seen["REMOTE_ADDR"]) == ("http", "127.0.0.1")
        assert (read_wait(seen.get("REQUEST_START", ""), time.time()) != NONE) == (server in TELLS_THE_START)
    finally:
        web.finish()


def test_a_site_behind_a_proxy(sites: Sites, server: str) -> None:
    web = WebServer(server, render_site(plan(sites, server, ("127.0.0.0/8", "10.0.0.0/8"))))
    try:
        sent = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9, 198.51.100.7"}
        seen = read(web.request("GET", "/seen/x", headers=sent))
        # h2o cannot read the headers: its site is for clients with HTTPS alone.
        client = "127.0.0.1" if server == "h2o" else "198.51.100.7"
        assert (seen["wsgi.url_scheme"], seen["REMOTE_ADDR"]) == ("https", client)
        assert seen["url"] == f"https://shop.test:{web.port}/seen/x"
        assert ("REQUEST_START" in seen) == (server in TELLS_THE_START)
        if server != "h2o":
            sent["X-Forwarded-Proto"] = "http"
            seen = read(web.request("GET", "/", headers=sent))
            assert (seen["wsgi.url_scheme"], seen["REMOTE_ADDR"]) == ("http", client)
            assert read(web.request("GET", "/"))["REMOTE_ADDR"] == "127.0.0.1"
    finally:
        web.finish()


@pytest.mark.parametrize("server", [name for name in SERVERS if name != "h2o"], indirect=True)
def test_headers_of_a_client_that_is_no_proxy(sites: Sites, server: str) -> None:
    """The test is not at one of the addresses of the proxies."""
    web = WebServer(server, render_site(plan(sites, server, ("192.0.2.0/24", "10.0.0.0/8"))))
    try:
        seen = read(web.request("GET", "/", headers=FORGED))
        assert (seen["wsgi.url_scheme"], seen["REMOTE_ADDR"]) == ("http", "127.0.0.1")
    finally:
        web.finish()


def test_a_site_by_https(sites: Sites, server: str) -> None:
    if server == "lighttpd" and not Path("/usr/lib/lighttpd/mod_openssl.so").exists():
        pytest.skip("mod_openssl of lighttpd is not installed")
    web = WebServer(server, render_site(plan(sites, server)), certificate=str(sites.certificate))
    try:
        seen = read(web.request("GET", "/seen/x"))
        assert (seen["wsgi.url_scheme"], seen["url"]) == ("https", f"https://shop.test:{web.port}/seen/x")
    finally:
        web.finish()


def test_a_django_project_behind_nginx(sites: Sites) -> None:
    """The site is the file that `pyfpm init` has written."""
    web = WebServer("nginx", (sites.fpm.directory / "sites" / "shop.nginx.site").read_text())
    try:
        page = web.request("GET", "/admin/login/")
        assert (page.status, b"Django administration" in page.body) == (200, True)
        (style,) = re.findall(rb'href="(/static/admin/css/base[^"]*)"', page.body)
        assert b"--primary" in web.request("GET", style.decode()).body
        assert web.request("GET", "/none").status == 404
        # A name that is not the site's, beside a target that names it: nginx has chosen the site by the target.
        target = f"http://shop.test:{web.port}/admin/login/"
        assert web.request("GET", target, headers={"Host": "evil.test"}).status == 200
    finally:
        web.finish()
