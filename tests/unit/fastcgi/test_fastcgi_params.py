"""Name-value pairs, and records on the way out."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from fpm.fastcgi.params import decode_params, encode_pair
from fpm.fastcgi.records import pack_answer, pack_stream
from tests.support import raw_fastcgi as raw

LATIN = st.text(st.characters(max_codepoint=255), max_size=200)


@given(st.lists(st.tuples(LATIN, LATIN), max_size=8, unique_by=lambda pair: pair[0]))
def test_decoding_undoes_encoding(pairs):
    data = b"".join(encode_pair(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs)
    assert data == raw.pairs(pairs)
    assert decode_params(b"front" + data + b"behind", 5, 5 + len(data)) == dict(pairs)


def test_values_of_all_sizes_around_127():
    for size in (0, 1, 126, 127, 128, 129, 65535, 70000):
        assert decode_params(raw.pairs({"N" * max(size % 300, 1): "v" * size})) == {
            "N" * max(size % 300, 1): "v" * size
        }


def test_a_long_form_for_a_short_length():
    assert decode_params(b"\x80\x00\x00\x01\x80\x00\x00\x02Avv") == {"A": "vv"}


def test_repeated_headers_are_joined():
    pairs = [("HTTP_X_DUP", "one"), ("HTTP_COOKIE", "a=1"), ("HTTP_X_DUP", "two"), ("HTTP_COOKIE", "b=2")]
    assert decode_params(raw.pairs(pairs)) == {"HTTP_X_DUP": "one, two", "HTTP_COOKIE": "a=1; b=2"}


def test_of_other_repeated_names_the_last_counts():
    pairs = [("SCRIPT_NAME", "/x"), ("HTTP_HOST", "a"), ("SCRIPT_NAME", ""), ("HTTP_HOST", "a:8080")]
    assert decode_params(raw.pairs(pairs)) == {"SCRIPT_NAME": "", "HTTP_HOST": "a:8080"}


def test_decoding_takes_time_by_size_whatever_the_bytes():
    """Sixteen times as much takes sixteen times as long, not 256 times."""
    for pair in (b"\x00\x02\xff\xff", b"\x02\x00\x81\xff", b"\x00\x01\x81", b"\x00\x01\x80", b"\x00\x02\x81\x80"):
        small, large = (min(cpu_time(pair * (size // len(pair))) for _ in range(3)) for size in (1 << 14, 1 << 18))
        assert large < 100 * small, pair


def cpu_time(data: bytes) -> float:
    begin = time.thread_time()
    decode_params(data)
    return time.thread_time() - begin


@given(st.binary(max_size=200_000), st.integers(0, 65535))
def test_a_stream_is_cut_into_records(data, request_id):
    packed = b"".join(pack_stream(raw.STDOUT, request_id, data))
    assert packed == raw.stream(raw.STDOUT, data, request=request_id, end=False)


def test_an_answer_is_stdout_its_end_and_end_request():
    for request_id in (0, 1, 300):
        end = raw.record(raw.STDOUT, request=request_id) + raw.record(raw.END, bytes(8), request=request_id)
        assert pack_answer(request_id, b"x") == raw.record(raw.STDOUT, b"x", request=request_id) + end
        assert pack_answer(request_id, b"") == end
