"""The whole way: nginx, its stock fastcgi_params, a pool, an application, and back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.fpm import Daemon, Start
from tests.support.nginx import StartNginx

LOCATION = "location / {{ include fastcgi_params; fastcgi_pass unix:{0}; {1} }}"


@pytest.fixture(scope="module")
def fpm(shared_daemon: Start) -> Daemon:
    return shared_daemon({"hello": {"app": "hello:application"}, "echo": {"app": "echo:application"}})


def test_hello_through_nginx(fpm: Daemon, nginx: StartNginx) -> None:
    web = nginx(LOCATION.format(fpm.address("hello"), ""))
    reply = web.get("/any/path?query")
    assert (reply.status, reply.body) == (200, b"Hello, world\n")
    assert reply.headers["content-type"] == "text/plain"


def test_what_the_application_sees(fpm: Daemon, nginx: StartNginx) -> None:
    web = nginx(LOCATION.format(fpm.address("echo"), ""))
    headers = {"X-Test": "1", "Content-Type": "a/b", "Proxy": "evil"}
    answer = json.loads(web.request("POST", "/a%20b/c?d=e", body=b"x" * 100_000, headers=headers).body)
    environ = answer["environ"]
    expected = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/a b/c",
        "QUERY_STRING": "d=e",
        "CONTENT_TYPE": "a/b",
        "CONTENT_LENGTH": "100000",
        "HTTP_X_TEST": "1",
        "HTTP_HOST": "localhost",
        "wsgi.url_scheme": "http",
    }
    assert expected.items() <= environ.items()
    assert "HTTP_PROXY" not in environ
    assert environ["SERVER_NAME"]
    assert answer["length"] == 100_000
    assert answer["cwd"] == str(fpm.apps)


def test_a_chunked_upload(fpm: Daemon, nginx: StartNginx) -> None:
    """nginx says HTTP_TRANSFER_ENCODING: chunked of a body that it has put together."""
    for settings in ("", "fastcgi_request_buffering off;"):
        web = nginx(LOCATION.format(fpm.address("echo"), settings))
        answer = json.loads(web.request("POST", "/", body=iter([b"x" * 30_000] * 10)).body)
        assert answer["length"] == 300_000
        assert "HTTP_TRANSFER_ENCODING" not in answer["environ"]
        assert answer["environ"]["wsgi.input_terminated"] is True


def test_many_descriptors_later(fpm: Daemon) -> None:
    """Requests, kept and dropped connections leave nothing open in the master."""
    with fpm.no_descriptor_leak():
        for _ in range(50):
            assert fpm.get("hello").status == 200


@pytest.mark.root
def test_two_pools_under_two_users(daemon: Start, nginx: StartNginx) -> None:
    pools = {
        "one": {"app": "echo:application", "user": "nobody"},
        "two": {"app": "echo:application", "user": "www-data", "group": "www-data"},
    }
    fpm = daemon(pools)
    places = "location /{0}/ {{ include fastcgi_params; fastcgi_pass unix:{1}; }}"
    web = nginx(" ".join(places.format(name, fpm.address(name)) for name in pools))
    one, two = (json.loads(web.get(f"/{name}/").body) for name in pools)
    assert (one["uid"], two["uid"], two["gid"]) == (65534, 33, 33)
    assert one["pid"] != two["pid"]
    for answer in (one, two):
        status = Path(f"/proc/{answer['pid']}/status").read_text()
        assert "CapEff:\t0000000000000000" in status
        assert "NoNewPrivs:\t1" in status
