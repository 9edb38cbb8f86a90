"""What the client sends, read back with an independent decoder."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from io import BytesIO

import pytest
from hypothesis import given, strategies

from fpm.client.gateway import gateway_params
from fpm.client.records import encode_request
from fpm.client.request import request_params
from tests.support import raw_fastcgi

TEXT = strategies.text(strategies.characters(max_codepoint=255), max_size=300)


def records(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    at = 0
    while at < len(data):
        version, kind, request, length, padding = struct.unpack_from(">BBHHBx", data, at)
        assert version == 1
        yield kind, request, data[at + 8 : at + 8 + length]
        at += 8 + length + padding
    assert at == len(data)


def decoded(data: bytes) -> tuple[list[int], list[tuple[str, str]], bytes]:
    """(types in order without repetition, parameters, body)."""
    kinds: list[int] = []
    streams = {raw_fastcgi.PARAMS: b"", raw_fastcgi.STDIN: b""}
    for kind, request, content in records(data):
        assert request == 1
        if kinds[-1:] != [kind]:
            kinds.append(kind)
        if kind in streams:
            streams[kind] += content
        else:
            assert content == b"\0\1\0\0\0\0\0\0"
    return kinds, raw_fastcgi.unpairs(streams[raw_fastcgi.PARAMS]), streams[raw_fastcgi.STDIN]


@given(strategies.dictionaries(TEXT, TEXT), strategies.lists(strategies.binary(max_size=100)))
def test_a_request_arrives_as_it_was_meant(params: dict[str, str], body: list[bytes]) -> None:
    kinds, found, stdin = decoded(b"".join(encode_request(params, body)))
    assert kinds == [raw_fastcgi.BEGIN, raw_fastcgi.PARAMS, raw_fastcgi.STDIN]
    assert dict(found) == params
    assert stdin == b"".join(body)


def test_both_streams_are_closed() -> None:
    found = list(records(b"".join(encode_request({"A": "1"}, [b"x"]))))
    assert (raw_fastcgi.PARAMS, 1, b"") in found
    assert found[-1] == (raw_fastcgi.STDIN, 1, b"")


def test_long_parameters_go_in_several_records_at_pair_boundaries() -> None:
    params = {f"N{i}": "v" * 30000 for i in range(5)}
    contents = [c for kind, _, c in records(b"".join(encode_request(params, []))) if kind == raw_fastcgi.PARAMS]
    assert [len(raw_fastcgi.unpairs(content)) for content in contents] == [2, 2, 1, 0]


def test_a_pair_longer_than_a_record_is_cut() -> None:
    params = {"A": "1", "LONG": "v" * 200_000, "Z": "2"}
    assert dict(decoded(b"".join(encode_request(params, [])))[1]) == params


def test_a_large_body_goes_in_pieces() -> None:
    body = bytes(range(256)) * 1000
    assert decoded(b"".join(encode_request({}, [body[:1], b"", body[1:]])))[2] == body


def test_parameters_of_a_request_made_by_hand() -> None:
    headers = [("X-Test", "1"), ("Content-Type", "a/b")]
    params = request_params("POST", "/a/b?c=d&e", headers=headers, content_length=3)
    expected = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "/a/b",
        "QUERY_STRING": "c=d&e",
        "REQUEST_URI": "/a/b?c=d&e",
        "CONTENT_LENGTH": "3",
        "CONTENT_TYPE": "a/b",
        "HTTP_X_TEST": "1",
    }
    assert expected.items() <= params.items()
    assert "REMOTE_ADDR" not in params


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/a%20b+c?d%20e", "/a b+c"),
        ("/caf%C3%A9", "/caf\u00c3\u00a9"),
        ("/caf\u00e9", "/caf\u00c3\u00a9"),
        ("/raw\udcff", "/raw\u00ff"),
        ("//a///b/./c/../d", "/a/b/d"),
        ("/a/%2e%2E/b%2F%2Fc/.", "/b/c/"),
        ("/a/b/..", "/a/"),
        ("/a/..", "/"),
        ("/...", "/..."),
        ("/%3F%23%25#x?y", "/?#%"),
        ("/", "/"),
    ],
)
def test_a_path_is_decoded_as_by_nginx(target: str, path: str) -> None:
    params = request_params("GET", target)
    assert {params[name] for name in ("SCRIPT_NAME", "DOCUMENT_URI", "SCRIPT_FILENAME")} == {path}
    sent = target.partition("#")[0]
    assert params["REQUEST_URI"].encode("latin-1") == sent.encode("utf-8", "surrogateescape")
    assert params["QUERY_STRING"] == sent.partition("?")[2]


@pytest.mark.parametrize("target", ["/..", "/a/../..", "/%2e./", "/%", "/%4", "/%zz", "/a%00b"])
def test_what_nginx_refuses(target: str) -> None:
    with pytest.raises(ValueError, match=r"above the root|no percent-encoded byte"):
        request_params("GET", target)


def test_parameters_of_the_gateway() -> None:
    environ = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/a b",
        "REQUEST_URI": "/a%20b?q",
        "QUERY_STRING": "q",
        "SERVER_NAME": "waitress.invalid",
        "SERVER_SOFTWARE": None,
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "h:8000",
        "HTTP_PROXY": "evil",
        "HTTP_TRANSFER_ENCODING": "chunked",
        "wsgi.url_scheme": "https",
        "wsgi.input": BytesIO(),
    }
    params = gateway_params(environ)
    expected = {"SCRIPT_NAME": "", "PATH_INFO": "/a b", "REQUEST_URI": "/a%20b?q", "HTTP_HOST": "h:8000", "HTTPS": "on"}
    expected |= {"SERVER_NAME": "h", "SERVER_SOFTWARE": "pyfpm"}
    assert expected.items() <= params.items()
    for host, name in {"[::1]:8000": "[::1]", "a.test": "a.test", "": "localhost"}.items():
        assert gateway_params({**environ, "HTTP_HOST": host})["SERVER_NAME"] == name
    assert not {"HTTP_PROXY", "HTTP_TRANSFER_ENCODING", "wsgi.input", "CONTENT_LENGTH"} & params.keys()
