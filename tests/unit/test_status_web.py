"""The HTML pages: whatever the names and requests are, they stay text; nothing points to another place."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from fpm.explain.facts import Facts
from fpm.explain.words import explain_pool
from fpm.log.times import format_iso, format_iso_offset
from fpm.scoreboard.statistics import Statistics
from fpm.status.exceptions import SeenException
from fpm.status.overview import LastReload, Pool, PoolPage, Route
from fpm.status.past.recent import Mark, MarkKind
from fpm.status.reduced import without_details
from fpm.status_server.front import Filter
from fpm.status_server.html import HEADERS, NOTICES_MAX, ROWS_MAX, SPARKS_MAX, WORKERS_MAX, render_overview, render_pool
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
    slow = replace(overviews.busy_shop().slow[0], request=NASTY, stack=(NASTY, NASTY * 30))
    death = replace(overviews.DEATH, cause=NASTY, request=NASTY)
    values = {"listen": NASTY, "app": NASTY, "state": NASTY, "error": NASTY, "traceback": NASTY, "failed": True}
    places = {
        "directory": NASTY,
        "user": NASTY,
        "python": NASTY,
        "logs": ((NASTY, NASTY),),
        "limits": ((NASTY, NASTY),),
    }
    return overviews.pool(
        NASTY,
        workers=(worker,),
        slow=(slow,),
        deaths=(death,),
        process_manager=NASTY,
        marks=tuple(Mark(overviews.NOW - 60, kind, NASTY) for kind in MarkKind),
        exceptions=(SeenException(NASTY, NASTY, NASTY, -1, math.inf, -1e300, -1, NASTY, (NASTY * 20, NASTY)),),
        routes=(Route(NASTY, 1, 1, 1.0, 1.0, None, 1), Route("x" * 5000, -1, -1, -1.0, 0.0, 0.1, -(1 << 40))),
        **values,
        **places,
    )


def bare_pool() -> Pool:
    """One of which nobody has counted or remembered anything."""
    return overviews.pool(rate=None, history=(), recent=None, statistics=Statistics(), limits=(), deaths=())


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
                overviews.DAEMON,
                host=NASTY,
                file=NASTY,
                version=NASTY,
                last_reload=LastReload(1.0, False, NASTY, (NASTY, NASTY)),
            ),
        )
    ),
    "nasty pool": render_pool(replace(overviews.page(nasty_pool()), explanation=NASTY)),
    "nasty filter": render_overview(overviews.overview(), Filter(NASTY, "failed")),
    "bare": render_pool(overviews.page(bare_pool())),
    "bare overview": render_overview(overviews.overview(bare_pool())),
}


@pytest.mark.parametrize("name", PAGES)
def test_pages_are_whole(name: str) -> None:
    reader = read(PAGES[name])
    assert [tag for tag, _ in reader.tags].count("main") == 1
    assert [tag for tag, _ in reader.tags].count("script") == 1


ADDRESSES = (
    r"data:image/svg|\.\./$|pool/[\w.~%-]+$|$|\?[\w=&.%+-]*$|(\.\./)?metrics$|status\?json&full$"
    r"|\.\./status/[\w.~%-]+\?json&full$"
)
"""All that a page may point to: relative, so that a proxy may put the pages below a prefix."""


@pytest.mark.parametrize("name", PAGES)
def test_nothing_comes_from_another_place(name: str) -> None:
    for tag, attributes in read(PAGES[name]).tags:
        assert "style" not in attributes, "the policy forbids it"
        assert not [attribute for attribute in attributes if attribute.startswith("on")]
        assert "src" not in attributes
        target = attributes.get("href") or ""
        assert re.match(ADDRESSES, target), f"<{tag}> points to {target}"
        assert attributes.get("action") is None, "the form goes back to the page itself"
    assert b"url(" not in PAGES[name]
    assert b"@import" not in PAGES[name]


@pytest.mark.parametrize("name", [name for name in PAGES if name.startswith("nasty")])
def test_texts_stay_texts(name: str) -> None:
    page = PAGES[name].decode()
    assert not re.findall(r"[\x00-\x09\x0b-\x1f\x7f\u202e\ud800-\udfff]", page)
    reader = read(PAGES[name])
    assert "alert(1)" in reader.text + "".join(attributes.get("value") or "" for _, attributes in reader.tags)
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
    assert pools_of(PAGES["overview"]) == [
        "blog",  # the notice
        "blog",
        "shop",
        "api",
        "shop",
        "wiki-of-the-department-of-internal-affairs",
    ]
    for figure in (
        "612",
        "9 / 20",
        "481",
        "200 ms",
        f"saturated since {format_iso(overviews.NOW - 240)[11:]}",
        "last reload: succeeded",
        "1 idle",
    ):
        assert figure in reader.text
    assert PAGES["overview"].count(b'class="chart"') == 3
    assert "<title>1 failed - 1 saturated - pyfpm" in PAGES["overview"].decode()


def pools_of(page: bytes) -> list[str]:
    """The pools that a page leads to, in its order."""
    links = [attributes["href"] or "" for tag, attributes in read(page).tags if tag == "a"]
    return [link.removeprefix("pool/") for link in links if link.startswith("pool/")]


def test_pools_can_be_filtered() -> None:
    everything = overviews.overview()
    page = render_overview(everything, Filter("WSGI", "errors"))
    assert pools_of(page) == ["api"]
    reader = read(page)
    assert "1 failed" in reader.text, "the others are counted still"
    inputs = {attributes["name"]: attributes["value"] for tag, attributes in reader.tags if tag == "input"}
    assert inputs == {"q": "WSGI", "state": "errors"}
    assert "?q=WSGI&state=failed" in [attributes.get("href") for tag, attributes in reader.tags if tag == "a"]
    idle = render_overview(everything, Filter("internal"))
    assert pools_of(idle) == ["wiki-of-the-department-of-internal-affairs"]
    folded = [attributes for tag, attributes in read(idle).tags if tag == "details"]
    assert folded == [{"id": "idle", "class": "fold", "open": None}]
    assert "No pool is like that" in read(render_overview(everything, Filter("no such"))).text


def test_a_first_page_has_a_bound() -> None:
    failed = tuple(replace(overviews.broken(), name=f"bad{number}") for number in range(20))
    fine = tuple(overviews.pool(f"pool{number}") for number in range(480))
    page = render_overview(overviews.overview(*fine, *failed))
    reader = read(page)
    assert page.count(b'class="notice"') == NOTICES_MAX
    assert page.count(b'class="chart"') == SPARKS_MAX - 20, "failed ones come first, and have no history"
    assert page.count(b"<tr>") == ROWS_MAX + 1
    assert {f"bad{number}" for number in range(20)} | {pool.name for pool in fine} == set(pools_of(page))
    assert "250 more" in reader.text
    assert len(page) < 400_000


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
        'File "/srv/shop/views/report.py", line 31, in yearly',
        "1 h 6 min ago",
        "on signal 11 (SIGSEGV)",
        "/thumbnail/88123?size=large",
        f"{format_iso(overviews.NOW - 300)} 5 min ago",
        "reload failed ImportError: cannot import name 'basket'",
        "deploy generation 8 from /srv/shop/releases/42",
        "5 min 12 ms 200 ms 1.5 s",
        "/product/<n> 310.0 k",
        "all others",
        "KeyError : 'basket' in checkout (/srv/shop/views/order.py:41) POST /checkout?step=2",
        "Directory /srv/shop/releases/42",
        "Python /srv/shop/venv/bin/python (3.12.4)",
        "Slow log /var/log/pyfpm/shop.slow.log",
        "request_terminate_timeout 2 min",
        f"Started {format_iso(overviews.NOW - 273_000)} (3 d 3 h ago)",
        "up to 20",
        "Deaths 0 by exit, 1 by signal, 0 by SIGKILL",
        "shop.wsgi:application",
    ):
        assert shown in text
    assert text.index("2102") < text.index("2107") < text.index("2111"), "the longest request first, the idle last"


def test_what_may_be_secret_is_not_shown_to_everybody() -> None:
    """See [global] status_listen.details: who may connect to a port is not who may read the logs."""
    secret = "token=geheim"
    pool = replace(
        overviews.broken(),
        error=secret,
        traceback=secret,
        workers=(overviews.busy(1, f"/pay?{secret}", 1.0),),
        slow=(replace(overviews.busy_shop().slow[0], request=f"GET /pay?{secret}", stack=(secret, secret)),),
        deaths=(replace(overviews.DEATH, request=f"GET /pay?{secret}", stack=(secret,), output=(secret,)),),
        exceptions=(replace(overviews.EXCEPTIONS[0], message=secret, stack=(secret,), request=f"GET /pay?{secret}"),),
        marks=tuple(Mark(overviews.NOW - 60, kind, secret) for kind in (MarkKind.FAILED, MarkKind.RELOAD_FAILED)),
        routes=(replace(overviews.ROUTES[0], route=f"/{secret}"),),
        logs=(("error", secret),),
        user=secret,
        python=secret,
    )
    shown = without_details(overviews.overview(pool))
    (reduced,) = shown.pools
    page = PoolPage(shown.daemon, reduced, explain_pool(Facts(reduced, shown.daemon)).paragraph)
    for content in (render_pool(page), render_overview(shown)):
        assert b"geheim" not in content
    assert b"/pay" in render_pool(page)


def test_what_is_not_known_is_not_shown() -> None:
    text = read(PAGES["bare"]).text
    for title in ("The last hour", "Response time", "Routes", "Events", "Slow requests", "Last deaths"):
        assert title not in text
    assert "p95, 5 min -" in text
    assert "running 9 / 20 0 - - - - 178 MiB" in read(PAGES["bare overview"]).text


def test_an_explanation_is_at_the_head() -> None:
    page = replace(overviews.page(overviews.busy_shop()), explanation="saturated for 4 min: 20 of 20 busy")
    text = read(render_pool(page)).text
    assert text.index("saturated for 4 min") < text.index("Busy 20")


def test_times_are_those_of_the_server() -> None:
    times = [attributes["datetime"] or "" for tag, attributes in read(PAGES["busy"]).tags if tag == "time"]
    assert format_iso_offset(overviews.NOW) in times
    assert all(re.fullmatch(r"2026-11-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d", one) for one in times)


def test_why_a_pool_has_failed() -> None:
    text = read(PAGES["failed"]).text
    assert f"'djnago'. Since {format_iso(overviews.NOW - 90)} 1 min 30 s ago . Next try in 24 s." in text
    assert 'File "/srv/blog/blog/wsgi.py", line 3' in text
    assert "None at this moment." in text
    assert "<title>failed - blog - pyfpm on" in PAGES["failed"].decode()


def test_a_failed_reload_is_told_on_every_page() -> None:
    daemon = replace(
        overviews.DAEMON, last_reload=LastReload(overviews.NOW - 30, False, "pool shop: timed out", overviews.STACK)
    )
    for page in (
        render_overview(replace(overviews.overview(), daemon=daemon)),
        render_pool(replace(overviews.page(overviews.pool()), daemon=daemon)),
    ):
        text = read(page).text
        assert "The last reload, 30 s ago , failed and has changed nothing: pool shop: timed out File" in text


def test_a_page_has_a_bound() -> None:
    many = tuple(overviews.worker(pid) for pid in range(1, 1001))
    long = overviews.busy(5000, "/" + "x" * 65536, 1.0)
    page = render_pool(overviews.page(overviews.pool(workers=(*many, long))))
    assert f"and {1001 - WORKERS_MAX} more" in read(page).text
    assert len(page) < 500_000
