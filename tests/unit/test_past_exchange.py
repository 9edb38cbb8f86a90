"""The past of pools on its way to the command line: nothing of it is believed unchecked."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm.status.past.exchange import MARKS_MAX, MOMENTS_MAX, TEXT_MAX, Past, pack_past, read_past, with_past
from fpm.status.past.recent import WINDOWS, Mark, MarkKind, Moment, Recent, Window
from tests.support import overviews
from tests.unit.test_past_history import served

T = 1_795_000_000.0
WINDOW_VALUES = {"requests": 9, "errors": 1, "slow": 2, "deaths": 3}
RECENT = Recent(
    rate=2.5,
    windows=tuple(Window(seconds, 60.0, served(9, failures=4), **WINDOW_VALUES) for seconds in WINDOWS),
    saturated_since=T - 5,
)
POOL = overviews.pool(
    "shop",
    recent=RECENT,
    history=(Moment(T, 1, 2, 3, 4.0, 5.0, 0.5, 0.25), Moment(T + 5, 1, 2, 3, 4.0, 5.0)),
    marks=(Mark(T, MarkKind.DEPLOY, "generation 2, /srv/a"), Mark(T + 1, MarkKind.DEATH, "\x1b on signal 9")),
    listen_queue=5,
)
UNKNOWN = overviews.pool("new", recent=None)


def packed(**changes: object) -> bytes:
    """The past of a pool with something else in it."""
    values = json.loads(pack_past([POOL], points=True))
    return json.dumps({"shop": values["shop"] | changes}).encode()


def test_there_and_back() -> None:
    found = read_past(pack_past([POOL, UNKNOWN], points=True))
    assert found == {"shop": Past(RECENT, POOL.history, POOL.marks)}
    bare = replace(POOL, recent=None, history=(), marks=(), rate=None)
    assert with_past(bare, found["shop"]).recent == RECENT
    assert with_past(bare, found["shop"]).numbers.queue_wait == 2000
    assert with_past(bare, None).recent is None
    assert read_past(pack_past([POOL], points=False))["shop"].moments == ()


def test_what_is_too_much_is_cut() -> None:
    moment, mark = [T, 1, 2, 3, 4.0, 5.0, 0.0, None], [T, "death", "x" * 10_000]
    past = read_past(packed(moments=[moment] * 5000, marks=[mark] * 5000))["shop"]
    assert (len(past.moments), len(past.marks), len(past.marks[0].text)) == (MOMENTS_MAX, MARKS_MAX, TEXT_MAX)
    wild = read_past(packed(moments=[[1e300, -5, 10**30, 2.9, -1, 1e15, 0, None]]))["shop"].moments[0]
    assert (wild.at, wild.idle, wild.active, wild.rate) == (1e11, 0, 2**53 - 1, 0.0)


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(["", "AAAA"]),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(["rate", "saturated_since", "windows", "moments", "marks"]), ODD))
def test_anything_is_read_or_refused(changes: dict[str, object]) -> None:
    try:
        past = read_past(packed(**changes))["shop"]
    except ValueError:
        return
    assert [one.seconds for one in past.recent.windows] == list(WINDOWS)
    with_past(POOL, past)


def test_a_rate_that_is_next_to_nothing_is_no_overflow() -> None:
    past = read_past(packed(rate=1e-320))["shop"]
    assert with_past(POOL, past).numbers.queue_wait == 2**53 - 1


@pytest.mark.parametrize("data", [b"", b"[1]", b"\xff", b"{", b'{"shop": 1}', b'{"shop": {}}', b"[" * 100_000])
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_past(data)
