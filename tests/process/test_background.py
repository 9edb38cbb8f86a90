"""Work after the response, through nginx: the client does not wait for it, and none of it is lost."""

from __future__ import annotations

import re
import signal
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor

from tests.support.fpm import Start
from tests.support.nginx import HttpReply, StartNginx
from tests.support.waiting import wait_until

WORKERS = 20
REQUESTS = 200


class Site:
    """A pool of 20 workers behind nginx, with and without kept connections, and the marks of its work."""

    def __init__(self, daemon: Start, nginx: StartNginx, **settings: object) -> None:
        self.fpm = daemon({"www": {"app": "work:application"}}, started=False)
        self.marks = self.fpm.directory / "marks"
        self.marks.touch()
        self.marks.chmod(0o666)  # the pool may have a user of its own
        self.settings = {
            "app": "work:application",
            "pm": "static",
            "pm.max_children": WORKERS,
            "env[WORK_MARKS]": self.marks,
            **settings,
        }
        self.fpm.configure({"www": self.settings})
        self.fpm.start()
        self.nginx = nginx(
            f"location / {{ include fastcgi_params; fastcgi_pass unix:{self.fpm.address('www')}; }}"
            "location /nginx { stub_status; }"
            "location /kept/ { rewrite ^/kept(/.*) $1 break; include fastcgi_params; fastcgi_keep_conn on;"
            " fastcgi_pass kept; }",
            http=f"upstream kept {{ server unix:{self.fpm.address('www')}; keepalive 10; }}",
        )

    def crowd(self, pool: ThreadPoolExecutor, seconds: float, name: str) -> list[Future[HttpReply]]:
        """200 requests at once, half of them over kept connections."""

        def ask(number: int) -> HttpReply:
            return self.nginx.get(f"{'/kept' * (number % 2)}/slow?{seconds}&{name}{number}", timeout=60)

        return [pool.submit(ask, number) for number in range(REQUESTS)]

    def complete(self, asked: list[Future[HttpReply]], name: str) -> None:
        """Every response has come, and every piece of work was done once."""
        replies = Counter((reply.status, reply.body) for reply in (one.result(60) for one in asked))
        assert replies == {(200, b"soon"): REQUESTS}
        expected = {f"{name}{number}" for number in range(REQUESTS)}
        wait_until(lambda: expected <= set(self.done()))
        assert [mark for mark, count in Counter(self.done()).items() if count != 1] == []

    def at_work(self) -> int:
        """Requests that nginx has handed on, beside this one."""
        status = self.nginx.get("/nginx").body
        return int(status.partition(b"Writing: ")[2].split()[0]) - 1

    def done(self) -> list[str]:
        """The marks so far."""
        return self.marks.read_text().splitlines()


def test_nothing_is_lost(daemon: Start, nginx: StartNginx) -> None:
    site = Site(daemon, nginx)
    fpm = site.fpm
    assert site.nginx.get("/slow?3&long").body == b"soon"
    assert "long" not in site.done(), "the client waited for the work"
    text = fpm.cli("status", "www", "--full", "--format", "text").stdout
    assert re.search(r"^background: +1$", text, re.MULTILINE)
    assert re.search(r"^state: +Finishing$[^*]*/slow\?3&long$[^*]*^background task: +work.work$", text, re.MULTILINE)
    with ThreadPoolExecutor(REQUESTS) as pool:
        site.complete(site.crowd(pool, 0.1, "load"), "load")
        asked = site.crowd(pool, 0.1, "reload")
        wait_until(lambda: sum(one.done() for one in asked) > 10)
        assert fpm.cli("reload").returncode == 0
        site.complete(asked, "reload")
        asked = site.crowd(pool, 0.1, "stop")
        wait_until(lambda: sum(one.done() for one in asked) > 10)
        wait_until(lambda: site.at_work() + sum(one.done() for one in asked) >= REQUESTS)
        fpm.signal(signal.SIGQUIT)
        site.complete(asked, "stop")
    assert fpm.wait() == 0
    assert "long" in site.done()


def test_limits_and_ends(daemon: Start) -> None:
    pools = {
        "grows": {"app": "work:application", "pm": "ondemand", "pm.max_children": 3, "pm.process_idle_timeout": "60s"},
        "dies": {"app": "work:application", "pm": "static", "pm.max_children": 1},
    }
    fpm = daemon(pools, global_={"process_control_timeout": "1s"})

    assert fpm.get("grows", "/slow", query="60").body == b"soon"
    assert fpm.get("grows", "/pid").status == 200, "another worker is made for it"
    fpm.wait_workers("grows", 2)
    pools["grows"]["pm.background_max"] = 1
    fpm.configure(pools, global_={"process_control_timeout": "1s"})
    assert fpm.cli("reload").returncode == 0
    assert fpm.get("grows", "/slow", query="0.01").body == b"soon"
    assert "background early:     1\n" in fpm.cli("status", "grows", "--format", "text").stdout
    assert "background limit:     1\n" in fpm.cli("status", "grows", "--format", "text").stdout

    fpm.expect_log("exited with code 3")
    assert fpm.get("dies", "/dies").body == b"dies"
    line = fpm.wait_log(r"child \d+ exited with code 3 .*").group()
    assert "in background work in posix._exit for " in line
    assert 'after request "GET /dies"' in line
    assert "not run: work.mark" in line

    fpm.expect_log("has not exited in time", "exited on signal 15")
    fpm.get("dies", "/queue", query="60")
    fpm.signal(signal.SIGQUIT)
    assert fpm.wait() == 0
    doing = r"\(after the response, in work.work, not begun: work.work, work.work\)"
    assert re.search(rf'request "GET /queue\?60" has not exited in time \(stop\), sending SIGTERM {doing}', fpm.log())
    assert re.search(
        r'request "GET /slow\?60" has not exited in time \((stop|reload)\), sending SIGTERM \(after', fpm.log()
    )
