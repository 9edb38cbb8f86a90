"""The pages of a running daemon in a real browser."""

from __future__ import annotations

from tests.support.browser import Browser
from tests.support.fpm import Start
from tests.support.held import holding
from tests.support.pools import free_port, wait_state
from tests.support.waiting import wait_until


def test_a_daemon(browser: Browser, daemon: Start) -> None:
    """A request in hand is seen, then it is the last one."""
    port = free_port()
    pools = {"www": {"app": "slow:application", "pm.max_children": 2}, "bad": {"app": "broken_import:application"}}
    fpm = daemon(pools, global_={"status_listen": f"127.0.0.1:{port}", "status_listen.details": True}, started=False)
    fpm.expect_log("pool bad")
    fpm.start()
    wait_state(fpm, "bad", "failed")
    with holding(fpm, "/<b>bold?hold"):
        browser.view(1280, 900)
        browser.open(f"http://127.0.0.1:{port}/")
        assert "bad has failed: ModuleNotFoundError" in browser.evaluate("document.body.innerText")
        browser.keep("daemon")
        browser.evaluate("[...document.querySelectorAll('td.name a')].find(link => link.text == 'www').click()")
        browser.wait_event("Page.loadEventFired")
        assert "GET /<b>bold?hold" in browser.evaluate("document.querySelector('main').innerText")
        assert browser.evaluate("document.querySelectorAll('td b').length") == 0
    idle = "[...document.querySelectorAll('.badge')].filter(one => one.textContent == 'Idle').length"
    wait_until(lambda: browser.evaluate(idle) == 2, message="the page does not see that it is over")
    browser.keep("daemon-pool")
    assert browser.problems == []
    assert {url.split("/")[2] for url in browser.requests if not url.startswith("data:")} == {f"127.0.0.1:{port}"}
