"""The HTML pages in a real browser: on a phone, in the dark, without JavaScript, and refreshing themselves.

PYFPM_PICTURES=DIRECTORY keeps the pictures, to be looked at.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from fpm.status_server.front import Filter
from fpm.status_server.html import HEADERS, render_overview, render_pool
from tests.support import overviews
from tests.support.browser import Browser
from tests.support.waiting import wait_until

OVERFLOW = """[document.documentElement, ...document.querySelectorAll(".scroll,td,dd,.tile")]
    .filter(e => getComputedStyle(e).textOverflow != "ellipsis" && e.scrollWidth > e.clientWidth)
    .map(e => e.className + ": " + e.textContent.slice(0, 80))"""
"""What is wider than its place."""
COLOUR = "getComputedStyle(document.body).backgroundColor"


@dataclass
class Site:
    """Pages by path, over HTTP with the headers that belong to them."""

    url: str
    pages: dict[str, bytes]


class PageServer(ThreadingHTTPServer):
    """One that can end the connections that the browser keeps; their threads end with them."""

    daemon_threads = False

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._clients: list[socket.socket] = []

    def get_request(self) -> tuple[socket.socket, Any]:
        """See socketserver."""
        client, address = super().get_request()
        self._clients.append(client)
        return client, address

    def close_clients(self) -> None:
        """Shut down those that have not been closed."""
        for client in self._clients:
            with contextlib.suppress(OSError):  # it is closed
                client.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def site() -> Iterator[Site]:
    pages: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = pages.get(self.path)
            self.send_response(200 if found else 503)
            for name, value in HEADERS:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(found or b"")

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = PageServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield Site(f"http://127.0.0.1:{server.server_port}", pages)
    server.shutdown()
    server.close_clients()
    server.server_close()
    thread.join(10.0)


NASTY = overviews.pool(
    "ns" * 60,
    app=overviews.NASTY * 10,
    listen=overviews.NASTY,
    workers=(overviews.busy(1, "/" + "x" * 4000, 3.0, user="u" * 200, leaving="over memory"),),
    slow=overviews.busy_shop().slow,
    deaths=(overviews.DEATH, overviews.NASTY_DEATH, overviews.OUT_OF_MEMORY),
)
PAGES = {
    "overview": render_overview(overviews.overview()),
    "shop": render_pool(overviews.page(overviews.busy_shop())),
    "blog": render_pool(overviews.page(overviews.broken())),
    "idle": render_pool(overviews.page(overviews.idle())),
    "nasty": render_pool(overviews.page(NASTY)),
    "nasty-overview": render_overview(overviews.overview(NASTY, NASTY)),
}


@pytest.mark.parametrize("width", [360, 768, 1120, 1920])
@pytest.mark.parametrize("name", PAGES)
def test_every_page_fits_every_screen(browser: Browser, site: Site, name: str, width: int) -> None:
    site.pages["/"] = PAGES[name]
    browser.view(width, 900)
    browser.open(site.url + "/")
    for dark in (False, True):
        browser.view(width, 900, dark=dark)
        assert browser.evaluate(OVERFLOW) == [], "nobody has to scroll sideways"
        red = int(browser.evaluate(COLOUR).removeprefix("rgb(").split(",")[0])
        assert (red < 60) == dark
        browser.keep(f"{name}-{width}-{'dark' if dark else 'light'}")
    assert browser.problems == [], "no word of the browser's console, above all none of the policy"
    assert set(browser.requests) - {site.url + "/"} == {url for url in browser.requests if url.startswith("data:")}


def test_texts_can_be_read(browser: Browser, site: Site) -> None:
    """Contrast of soft text and of badges with their grounds: at least 4.5 to 1 (WCAG 2.1, 1.4.3)."""
    for name in ("shop", "blog", "overview"):
        site.pages["/"] = PAGES[name]
        for dark in (False, True):
            browser.view(1280, 900, dark=dark)
            browser.open(site.url + "/")
            assert min(browser.evaluate(CONTRASTS)) >= 4.5


CONTRASTS = """
[...document.querySelectorAll(".soft,.badge,.tile dt,.tile dd,th,td,footer,.notice,summary,button")]
.filter(e => e.innerText).map(e => {
    const part = c => { c /= 255; return c <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4 };
    const rgba = text => { const n = text.match(/[\\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n };
    const light = c => .2126 * part(c[0]) + .7152 * part(c[1]) + .0722 * part(c[2]);
    let layers = [], at = e;
    for (; at; at = at.parentElement) layers.push(rgba(getComputedStyle(at).backgroundColor));
    const ground = layers.reverse().reduce((under, over) =>
        [0, 1, 2].map(i => over[i] * over[3] + under[i] * (1 - over[3])), [255, 255, 255]);
    const pair = [light(rgba(getComputedStyle(e).color)), light(ground)].sort((a, b) => b - a);
    return (pair[0] + .05) / (pair[1] + .05);
})
"""


def test_a_filter_needs_no_script_and_is_kept(browser: Browser, site: Site) -> None:
    """The browser sends it back to the page below whatever prefix, which the policy must allow."""
    site.pages["/fpm/"] = PAGES["overview"]
    site.pages["/fpm/?q=API"] = render_overview(overviews.overview(), Filter("API"))
    browser.view(1280, 900)
    browser.open(site.url + "/fpm/")
    browser.evaluate("document.querySelector('input').value = 'API'; document.querySelector('button').click()")
    browser.wait_event("Page.loadEventFired")
    assert browser.evaluate("location.search") == "?q=API"
    assert browser.evaluate("document.querySelector('input').value") == "API"
    browser.evaluate("document.querySelector('input').value = 'half a wo'")
    site.pages["/fpm/?q=API"] = render_overview(overviews.overview(overviews.pool("new-api")), Filter("API"))
    wait_until(lambda: "new-api" in browser.evaluate("document.querySelector('main').textContent"))
    assert browser.evaluate("document.querySelector('input').value") == "half a wo", "a refresh leaves it alone"
    assert browser.problems == []


def test_it_refreshes_itself(browser: Browser, site: Site) -> None:
    """New figures come, what was closed stays closed, a dead server is told, and its return is seen."""
    site.pages["/"] = PAGES["blog"]
    browser.view(1280, 900)
    browser.open(site.url + "/")
    browser.evaluate("document.querySelector('details').open = false")
    site.pages["/"] = render_pool(overviews.page(overviews.pool("fresh", failed=True, traceback="new words")))
    wait_until(lambda: "fresh" in browser.evaluate("document.title"), message="it never refreshes")
    assert "new words" in browser.evaluate("document.querySelector('main').textContent")
    assert browser.evaluate("document.querySelector('details').open") is False
    assert browser.evaluate("document.querySelector('h1').textContent").endswith("fresh")
    site.pages.clear()
    wait_until(lambda: browser.evaluate("document.body.className") == "stale")
    assert "new words" in browser.evaluate("document.querySelector('main').textContent"), "the last figures stay"
    site.pages["/"] = PAGES["shop"]
    wait_until(lambda: browser.evaluate("document.body.className") == "")


def test_without_javascript(browser: Browser, site: Site) -> None:
    site.pages["/"] = PAGES["shop"]
    browser.view(1280, 900, script=False)
    browser.open(site.url + "/")
    site.pages["/"] = PAGES["blog"]
    browser.wait_event("Page.loadEventFired")
    browser.view(1280, 900)
    assert "blog" in browser.evaluate("document.title")


def test_links_lead_from_page_to_page(browser: Browser, site: Site) -> None:
    """Relative ones, so that a proxy may put all of it below a prefix."""
    site.pages["/fpm/"] = PAGES["overview"]
    site.pages["/fpm/pool/blog"] = PAGES["blog"]
    browser.view(360, 900)
    browser.open(site.url + "/fpm/")
    browser.evaluate("document.querySelector('main a').click()")
    browser.wait_event("Page.loadEventFired")
    assert browser.evaluate("location.pathname") == "/fpm/pool/blog"
    browser.evaluate("document.querySelector('h1 a').click()")
    browser.wait_event("Page.loadEventFired")
    assert browser.evaluate("location.pathname") == "/fpm/"
