"""The HTML pages: whatever the names and requests are, they stay text; nothing points to another place."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from fpm.status.overview import LastReload, Moment, Pool
from fpm.status_server.chart import POINTS_MAX, make_chart
from fpm.status_server.html import HEADERS, WORKERS_MAX, render_overview, render_pool
from tests.support import overviews
from tests.support.overviews import NASTY

VOID = {"meta", "link", "br", "img", "input", "hr"}
POLICY = dict(HEADERS)["Content-Security-Policy"]


class Reader(HTMLParser):
    """Checks that tags are closed in order, and keeps what a test asks about."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element begins."""
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An empty element of SVG."""
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        """An element ends: the last one that has begun."""
        assert self.open, f"</{tag}> without a beginning"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Text."""
        if "style" not in self.open and "script" not in self.open:
            self.texts.append(data)

    @property
    def text(self) -> str:
        """All that is read."""
        return " ".join(" ".join(self.texts).split())


def read(page: bytes) -> Reader:
    reader = Reader()
    reader.feed(page.decode())
    reader.close()
    assert not reader.open
    return reader


def nasty_pool() -> Pool:
    """One whose every text is hostile."""
    worker = overviews.busy(1, NASTY, 3.0, request_method=NASTY, user=NASTY, state=NASTY, leaving=NASTY)
    slow = replace(overviews.busy_shop().slow[0], request=NASTY)
    death = replace(overviews.DEATH, cause=NASTY, request=NASTY)
    values = {"listen": NASTY, "app": NASTY, "state": NASTY, "error": NASTY, "traceback": NASTY, "failed": True}
    return overviews.pool(NASTY, workers=(worker,), slow=(slow,), deaths=(death,), process_manager=NASTY, **values)


PAGES = {
    "overview": render_overview(overviews.overview()),
    "no pool": render_overview(replace(overviews.overview(), pools=())),
    "busy": render_pool(overviews.page(overviews.busy_shop())),
    "failed": render_pool(overviews.page(overviews.broken())),
    "idle": render_pool(overviews.page(overviews.idle())),
    "nasty overview": render_overview(
        replace(
            overviews.overview(nasty_pool()),
            daemon=replace(
                overviews.DAEMON, host=NASTY, file=NASTY, version=NASTY, last_reload=LastReload(1.0, False, NASTY)
            ),
        )
    ),
    "nasty pool": render_pool(overviews.page(nasty_pool())),
}


@pytest.mark.parametrize("name", PAGES)
def test_pages_are_whole(name: str) -> None:
    reader = read(PAGES[name])
    assert [tag for tag, _ in reader.tags].count("main") == 1
    assert [tag for tag, _ in reader.tags].count("script") == 1


@pytest.mark.parametrize("name", PAGES)
def test_nothing_comes_from_another_place(name: str) -> None:
    for tag, attributes in read(PAGES[name]).tags:
        assert "style" not in attributes, "the policy forbids it"
        assert not [attribute for attribute in attributes if attribute.startswith("on")]
        assert "src" not in attributes
        target = attributes.get("href") or ""
        assert re.match(r"data:image/svg|\.\./$|pool/[\w.~%-]+$|$", target), f"<{tag}> points to {target}"
    assert b"url(" not in PAGES[name]
    assert b"@import" not in PAGES[name]


@pytest.mark.parametrize("name", [name for name in PAGES if name.startswith("nasty")])
def test_texts_stay_texts(name: str) -> None:
    page = PAGES[name].decode()
    assert not re.findall(r"[\x00-\x09\x0b-\x1f\x7f\u202e\ud800-\udfff]", page)
    assert "alert(1)" in read(PAGES[name]).text
    assert page.count("<script>") == 1


def test_the_policy_allows_what_the_page_has_and_nothing_else() -> None:
    assert POLICY.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in POLICY
    metas = [attributes for tag, attributes in read(PAGES["busy"]).tags if tag == "meta"]
    (policy,) = (meta["content"] for meta in metas if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert f"{policy}; frame-ancestors 'none'" == POLICY


def test_all_pools_at_a_glance() -> None:
    reader = read(PAGES["overview"])
    assert "blog has failed: ModuleNotFoundError: No module named 'djnago'" in reader.text
    links = [attributes["href"] for tag, attributes in reader.tags if tag == "a"]
    assert links == [
        "pool/blog",  # the notice
        "pool/shop",
        "pool/shop",
        "pool/blog",
        "pool/wiki-of-the-department-of-internal-affairs",
        "pool/api",
    ]
    for figure in ("558", "92.0 M", "9 / 20", "481", "last reload: succeeded"):
        assert figure in reader.text
    assert PAGES["overview"].count(b'class="chart"') == 4


def test_one_pool() -> None:
    text = read(PAGES["busy"]).text
    for shown in (
        "20 of 20",
        "for 120 ms",
        "GET /report/yearly?format=xlsx&from=2020-01-01&to=2026-11-21&group=customer 1 min 14 s",
        "exiting: replaced generation 6 POST /search?q=winter+shoes 6.4 s",
        "alice",
        "Slow requests",
        "8.9 s",
        "on signal 11 (SIGSEGV)",
        "/thumbnail/88123?size=large",
        "1 h 6 min ago",
        "Deaths 0 by exit, 1 by signal, 0 by SIGKILL",
        "shop.wsgi:application",
    ):
        assert shown in text
    assert text.index("2102") < text.index("2107") < text.index("2111"), "the longest request first, the idle last"


def test_why_a_pool_has_failed() -> None:
    text = read(PAGES["failed"]).text
    assert "No module named 'djnago'. Next try in 24 s." in text
    assert 'File "/srv/blog/blog/wsgi.py", line 3' in text
    assert "None at this moment." in text
    assert "<title>failed - blog - pyfpm on" in PAGES["failed"].decode()


def test_a_failed_reload_is_told_on_every_page() -> None:
    daemon = replace(overviews.DAEMON, last_reload=LastReload(overviews.NOW - 30, False, "pool shop: timed out"))
    for page in (
        render_overview(replace(overviews.overview(), daemon=daemon)),
        render_pool(replace(overviews.page(overviews.pool()), daemon=daemon)),
    ):
        text = read(page).text
        assert "The last reload, 30 s ago , failed and has changed nothing: pool shop: timed out" in text


def test_a_page_has_a_bound() -> None:
    many = tuple(overviews.worker(pid) for pid in range(1, 1001))
    long = overviews.busy(5000, "/" + "x" * 65536, 1.0)
    page = render_pool(overviews.page(overviews.pool(workers=(*many, long))))
    assert f"and {1001 - WORKERS_MAX} more" in read(page).text
    assert len(page) < 500_000


@pytest.mark.parametrize("count", [0, 1, 2, 7, POINTS_MAX, POINTS_MAX + 1, 10 * POINTS_MAX])
def test_a_chart_of_any_history(count: int) -> None:
    history = [Moment(float(at), at % 5, at % 7, 1000 if at == count - 1 else 0, 0.0) for at in range(count)]
    drawn = make_chart(history, limit=10, height=34)
    assert (drawn is not None) == (count > 1)
    if drawn is not None:
        paths = [drawn.total, drawn.busy, drawn.queue, drawn.limit]
        numbers = [float(number) for number in re.findall(r"[-\d.]+", " ".join(paths))]
        assert all(0 <= number <= 600 for number in numbers)
        assert drawn.queue, "a short peak is not lost"
        assert sum(map(len, paths)) < 12_000


def test_a_chart_of_impossible_times() -> None:
    same = [Moment(5.0, 1, 1, 0, 0.0)] * 3
    back = [Moment(5.0, 1, 1, 0, 0.0), Moment(1.0, 2, 2, 2, 0.0), Moment(9.0, -1, -1, 0, 0.0)]
    for history in (same, back):
        assert "nan" not in str(make_chart(history, limit=0, height=34))
