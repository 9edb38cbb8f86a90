"""The compiled hot path reads a request as plain Python does, or leaves it to plain Python."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fpm.errors import ProtocolError
from tests.support.hot_server import (
    NGINX,
    make_server,
    needs_compiled,
    pack_request,
    read_plainly,
    without_input,
)

pytestmark = needs_compiled

NAMES = [name for name, _ in NGINX] + [
    b"PATH_INFO",
    b"SCRIPT_FILENAME",
    b"HTTPS",
    b"REMOTE_USER",
    b"HTTP_PROXY",
    b"HTTP_TRANSFER_ENCODING",
    b"HTTP_CONTENT_LENGTH",
    b"HTTP_CONTENT_TYPE",
    b"HTTP_COOKIE",
    b"wsgi.version",
    b"wsgi.input",
    b"wsgi.url_scheme",
]
VALUES = [
    b"",
    b"/",
    b"/a",
    b"on",
    b"off",
    b"https",
    b"http",
    b"HTTP",
    b"[::1]:80",
    b":80",
    b"5",
    b"-1",
    b"proxy:fcgi://h/a",
]
names = st.one_of(st.sampled_from(NAMES), st.binary(max_size=80))
values = st.one_of(st.sampled_from(VALUES), st.binary(max_size=200), st.binary(min_size=1020, max_size=1030))
mounts = st.sampled_from([None, "", "/a", "/shop"])


server_of = cache(make_server)


def compare(data: bytes, mount: str | None = None) -> bool:
    """Both ways give the same; True if the compiled one has not left it to the other."""
    server = server_of(mount)
    for _ in range(2):  # names and values are remembered, also those of the examples before
        found = server.read(data)
        if found is None:
            return False
        assert without_input(found) == read_plainly(data, mount)
    return True


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("padding", [0, 7])
def test_what_nginx_sends_is_read_here(keep: bool, padding: int) -> None:
    assert compare(pack_request(NGINX, keep=keep, padding=padding))


@given(
    changed=st.dictionaries(names, values, max_size=4),
    dropped=st.sets(st.sampled_from(range(len(NGINX))), max_size=4),
    mount=mounts,
)
@example(changed={b"HTTP_PROXY": b"evil"}, dropped=set(), mount=None)
def test_nginx_variables_with_some_changed(changed: dict[bytes, bytes], dropped: set[int], mount: str | None) -> None:
    pairs = dict(pair for number, pair in enumerate(NGINX) if number not in dropped) | changed
    compare(pack_request(list(pairs.items())), mount)


@given(pairs=st.lists(st.tuples(names, values), max_size=12), mount=mounts)
def test_any_variables_also_twice(pairs: list[tuple[bytes, bytes]], mount: str | None) -> None:
    compare(pack_request(pairs), mount)


@given(data=st.data())
def test_any_damage_is_left_to_plain_python_or_read_alike(data: st.DataObject) -> None:
    request = bytearray(pack_request(NGINX))
    for _ in range(data.draw(st.integers(1, 3))):
        request[data.draw(st.integers(0, len(request) - 1))] = data.draw(st.integers(0, 255))
    del request[data.draw(st.integers(0, len(request))) :]
    try:
        compare(bytes(request))
    except ProtocolError as error:
        pytest.fail(f"it was read here, and plain Python says: {error}")


def test_a_value_as_long_as_the_one_before_is_read_anew() -> None:
    for number in range(10):
        pairs = [(name, value[:-1] + b"%d" % number if value else b"") for name, value in NGINX]
        assert compare(pack_request(pairs))


def test_names_that_share_a_place_do_not_mix_their_values() -> None:
    server = make_server()
    for number in range(2000):
        pairs = [*NGINX, *((b"HTTP_X_%d" % (number * 7 + k), b"%d" % number) for k in range(5))]
        data = pack_request(pairs)
        assert without_input(server.read(data)) == read_plainly(data)
