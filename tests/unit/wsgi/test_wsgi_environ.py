"""environ, from what each web server sends (ecosystem.md 2 and 3.3)."""

from __future__ import annotations

from wsgiref.util import request_uri

import pytest

from fpm.wsgi.environ import complete_environ, content_length
from tests.support.raw_fastcgi import web_params


def completed(params, mount=None):
    environ = dict(params)
    complete_environ(environ, mount)
    return environ


def paths(params, mount=None):
    environ = completed(params, mount)
    return environ["SCRIPT_NAME"], environ["PATH_INFO"]


def test_nginx_stock_fastcgi_params_mean_the_root():
    assert paths(web_params("/app/a b/x")) == ("", "/app/a b/x")


def test_nginx_with_path_info_and_empty_script_name():
    assert paths({**web_params(), "SCRIPT_NAME": "", "PATH_INFO": "/app/x"}) == ("", "/app/x")


def test_nginx_with_path_info_in_addition_to_the_stock_params():
    doubled = {**web_params("/env"), "PATH_INFO": "/env"}
    assert paths(doubled) == ("", "/env")
    assert paths(doubled, "") == ("", "/env")


def test_a_path_that_really_repeats_itself():
    params = {"SCRIPT_NAME": "/a", "PATH_INFO": "/a", "REQUEST_URI": "/a/a"}
    assert paths(params) == ("/a", "/a")


def test_lighttpd_and_apache_sethandler_split():
    assert paths({"SCRIPT_NAME": "/app", "PATH_INFO": "/a b/x"}) == ("/app", "/a b/x")
    assert paths({"SCRIPT_NAME": "/x.py", "PATH_INFO": "/extra/path"}) == ("/x.py", "/extra/path")


def test_caddy_split():
    assert paths({"SCRIPT_NAME": "/app.wsgi", "PATH_INFO": ""}) == ("/app.wsgi", "")


def test_below_a_configured_prefix():
    assert paths(web_params("/app/a b"), "/app") == ("/app", "/a b")
    assert paths(web_params("/app"), "/app") == ("/app", "")
    assert paths(web_params("/apple"), "/app") == ("/app", "/apple")
    assert paths({"SCRIPT_NAME": "", "PATH_INFO": "/stripped"}, "/app") == ("/app", "/stripped")
    assert paths({"SCRIPT_NAME": "/app/x.py", "PATH_INFO": "/y"}, "/app/") == ("/app", "/x.py/y")


def test_configured_to_be_at_the_root():
    assert paths({"SCRIPT_NAME": "/app", "PATH_INFO": "/x"}, "") == ("", "/app/x")


def test_an_empty_environ_is_made_complete():
    environ = completed({})
    assert environ == {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/",
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.0",
        "wsgi.url_scheme": "http",
    }


def test_the_path_of_a_server_that_sends_only_the_uri():
    assert paths({"REQUEST_URI": "/a%20b/%c3%a9?x=/y"}) == ("", "/a b/\xc3\xa9")
    assert paths({"REQUEST_URI": "http://host/abs?x"}) == ("", "/abs")
    assert paths({"DOCUMENT_URI": "/doc", "REQUEST_URI": "/x"}) == ("", "/doc")


def test_script_name_of_one_slash():
    assert paths({"SCRIPT_NAME": "/", "PATH_INFO": ""}) == ("", "/")
    assert paths({"SCRIPT_NAME": "/", "PATH_INFO": "x"}) == ("", "/x")
    assert paths({"SCRIPT_NAME": "/"}) == ("", "/")


@pytest.mark.parametrize("value", ["", "-1", "abc", "1e3", "²", "9" * 30])
def test_content_length_that_says_nothing(value):
    assert content_length({"CONTENT_LENGTH": value}) is None
    assert "CONTENT_LENGTH" not in completed({"CONTENT_LENGTH": value})


def test_content_length():
    assert content_length({}) is None
    assert completed({"CONTENT_LENGTH": "0"})["CONTENT_LENGTH"] == "0"
    assert content_length({"CONTENT_LENGTH": "123"}) == 123


def test_dangerous_headers_are_dropped():
    names = ("HTTP_PROXY", "HTTP_TRANSFER_ENCODING", "HTTP_CONTENT_LENGTH", "HTTP_CONTENT_TYPE")
    environ = completed({**dict.fromkeys(names, "x"), "HTTP_PROXY_AUTHORIZATION": "kept"})
    assert not set(names) & set(environ)
    assert environ["HTTP_PROXY_AUTHORIZATION"] == "kept"


@pytest.mark.parametrize(
    ("sent", "wanted"),
    [
        ("proxy:fcgi://localhost/app/a%20b/x", "/app/a%20b/x"),
        ("proxy:fcgi://127.0.0.1:9000/srv/x.py", "/srv/x.py"),
        ("proxy:unix:/run/x.sock|fcgi://localhost/srv/x.py", "/srv/x.py"),
        ("proxy:balancer://cluster/srv/x.py", "/srv/x.py"),
        ("/srv/x.py", "/srv/x.py"),
    ],
)
def test_apache_prefixes_of_script_filename(sent, wanted):
    assert completed({"SCRIPT_FILENAME": sent})["SCRIPT_FILENAME"] == wanted


def test_server_name_is_never_empty():
    assert completed({"SERVER_NAME": "", "HTTP_HOST": "example.org:8080"})["SERVER_NAME"] == "example.org"
    assert completed({"SERVER_NAME": "", "HTTP_HOST": "[::1]:8080"})["SERVER_NAME"] == "[::1]"
    assert completed({"SERVER_NAME": "", "SERVER_ADDR": "192.0.2.1"})["SERVER_NAME"] == "192.0.2.1"
    assert completed({"SERVER_NAME": "name"})["SERVER_NAME"] == "name"


def test_an_empty_host_is_no_host():
    environ = completed({"SERVER_NAME": "example.org", "HTTP_HOST": ""})
    assert "HTTP_HOST" not in environ
    assert request_uri(environ) == "http://example.org/"


def test_scheme_and_port():
    assert completed({"HTTPS": "on"})["wsgi.url_scheme"] == "https"
    assert completed({"REQUEST_SCHEME": "https"})["SERVER_PORT"] == "443"
    assert completed({"HTTPS": "off", "REQUEST_SCHEME": "http", "SERVER_PORT": "8080"})["SERVER_PORT"] == "8080"
    assert completed({"HTTPS": "", "REQUEST_SCHEME": "https"})["wsgi.url_scheme"] == "https"


def test_empty_content_type_is_dropped():
    assert "CONTENT_TYPE" not in completed({"CONTENT_TYPE": ""})
    assert completed({"CONTENT_TYPE": "text/plain"})["CONTENT_TYPE"] == "text/plain"


def test_the_whole_path_is_returned():
    assert complete_environ({"SCRIPT_NAME": "/app", "PATH_INFO": "/x"}, "/app") == "/app/x"
    assert complete_environ(web_params("/status"), "/app") == "/status"
