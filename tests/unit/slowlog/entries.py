"""Entries to write and to group, and Hypothesis' idea of any."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from fpm.stacks.text.entry import Entry
from fpm.stacks.trace import Frame, ThreadStack, Trace

NOON = 1_795_262_400.0

QUERY = Frame("Shop.query", "/srv/shop/db.py", 40, 0x7F00DEADBEEF)
CHOOSE = Frame("choose.<locals>.<lambda>", "/srv/shop/views.py", 12, 0x7F00DEADBE00)
EXEC = Frame("PQexec", "/usr/lib/libpq.so.5", 0, 0x7FFFF0001000, native=True)


def make(*frames: Frame, **values: object) -> Entry:
    """An entry of a request with this stack of its only thread."""
    trace = Trace(123, "ptrace", (ThreadStack(123, True, frames or (QUERY, CHOOSE)),))
    entry = Entry(NOON, "www", 123, "slow", "shop:app", "GET", "/user/7", 5.25, "running", 1, trace)
    return replace(entry, **values)  # type: ignore[arg-type]


texts = st.text(max_size=40)
names = st.text(min_size=1, max_size=40)
seconds = st.integers(0, 10**12).map(lambda us: us / 1e6)
frames = st.builds(
    Frame,
    function=texts,
    file=texts,
    line=st.integers(0, 10**8),
    address=st.integers(0, 2**64 - 1),
    native=st.booleans(),
    values=st.lists(st.tuples(names, texts), max_size=2, unique_by=lambda one: one[0]).map(tuple),
)
threads = st.builds(
    ThreadStack,
    tid=st.integers(0, 2**22),
    main=st.just(False),
    frames=st.lists(frames, max_size=4).map(tuple),
    doing=texts,
    note=texts,
)


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    """Any entry that the master may write; the main thread first, or no stack and a reason."""
    pid = draw(st.integers(1, 2**22))
    if draw(st.booleans()):
        main = replace(draw(threads), main=True, tid=pid)
        how = draw(st.sampled_from(("ptrace", "faulthandler")))
        trace = Trace(pid, how, (main, *draw(st.lists(threads, max_size=2))), "", draw(texts), draw(seconds))
    else:
        trace = Trace(pid, "", (), draw(names), draw(texts))
    method = draw(texts)
    return Entry(
        time=float(draw(st.integers(10**9, 2 * 10**9))),
        pool=draw(st.text(max_size=20)),
        pid=pid,
        reason=draw(st.sampled_from(("slow", "terminate", "background", "stop", "startup", "trace"))),
        script=draw(texts),
        method=method,
        uri=draw(texts) if method else "",
        seconds=draw(seconds),
        stage=draw(texts),
        sample=draw(st.integers(1, 10**6)),
        trace=trace,
    )
