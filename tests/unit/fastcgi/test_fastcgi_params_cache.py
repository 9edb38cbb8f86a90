"""What is remembered means what decoding it anew would mean, whatever the bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm.errors import ProtocolError
from fpm.fastcgi import params as fastcgi_params
from fpm.fastcgi.params import ParamsDecoder, decode_params
from tests.support import raw_fastcgi as raw

NAMES = ["QUERY_STRING", "REQUEST_URI", "REMOTE_ADDR", "REMOTE_PORT", "SERVER_NAME", "HTTP_HOST", "HTTP_X", "PATH_INFO"]
VALUE = st.one_of(
    st.sampled_from(["", "x", "REMOTE_PORT", "\x0b\x05REMOTE_PORT12345", "y" * 130]), st.text("ab\x0b", max_size=9)
)
PAIRS = st.lists(st.tuples(st.sampled_from(NAMES), VALUE), max_size=9)


def outcome(decode, data: bytes) -> object:
    try:
        return decode(b"front" + data + b"behind", 5, 5 + len(data))
    except ProtocolError:
        return ProtocolError


@given(st.lists(PAIRS, min_size=1, max_size=6))
def test_the_same_as_without_memory(requests):
    decoder = ParamsDecoder()
    for pairs in [*requests, *requests]:
        data = raw.pairs(pairs)
        assert outcome(decoder.decode, data) == outcome(decode_params, data)


@given(PAIRS, st.data())
def test_the_same_with_broken_bytes(pairs, draw):
    decoder = ParamsDecoder()
    data = bytearray(raw.pairs(pairs))
    assert outcome(decoder.decode, bytes(data)) == outcome(decode_params, bytes(data))
    for _ in range(3):
        if data:
            data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
        cut = bytes(data[: draw.draw(st.integers(0, len(data)))])
        assert outcome(decoder.decode, cut) == outcome(decode_params, cut)


def test_a_port_of_another_length():
    decoder = ParamsDecoder()
    for port in ("1", "65535", "80", "", "9" * 200):
        params = raw.web_params("/x") | {"REMOTE_PORT": port}
        assert decoder.decode(raw.pairs(params), 0, len(raw.pairs(params))) == params


def test_the_dictionary_is_the_callers():
    decoder = ParamsDecoder()
    data = raw.pairs(raw.web_params("/x"))
    first = decoder.decode(data, 0, len(data))
    first.clear()
    assert decoder.decode(data, 0, len(data)) == decode_params(data)


@pytest.mark.parametrize("part", ["HTTP_COOKIE", "QUERY_STRING"])
def test_memory_is_bounded(part):
    decoder = ParamsDecoder()
    for number in range(3 * fastcgi_params.PARTS_MAX):
        data = raw.pairs(raw.web_params("/x") | {part: f"{number}" * (1 if number % 7 else 1000)})
        assert decoder.decode(data, 0, len(data)) == decode_params(data)
    for parts in (decoder._before, decoder._after):
        assert len(parts) <= fastcgi_params.PARTS_MAX
        assert all(len(content) <= fastcgi_params.PART_MAX for content in parts)
