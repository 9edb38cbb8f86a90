"""Real workers behind a real nginx: its stock configuration, kept connections, what it makes of errors."""

from __future__ import annotations

import http.client
import json
import threading
from collections import Counter
from collections.abc import Iterable

import pytest

from fpm.scoreboard.reading import read_board
from tests.support import raw_fastcgi as raw
from tests.support.nginx import Nginx, StartNginx
from tests.support.waiting import wait_until
from tests.support.worker_process import WorkerPool


def plain(pool: WorkerPool, *more: str) -> str:
    """A server block that passes everything to the pool."""
    return f"location / {{ include fastcgi_params; fastcgi_pass unix:{pool.address}; {' '.join(more)} }}"


def kept(pool: WorkerPool, count: int) -> dict[str, str]:
    """The same with kept connections."""
    return {
        "server": "location / { include fastcgi_params; fastcgi_keep_conn on; fastcgi_pass pool; }",
        "http": f"upstream pool {{ server unix:{pool.address}; keepalive {count}; }}",
    }


def test_the_stock_fastcgi_params(nginx: StartNginx):
    with WorkerPool("protocol:application") as pool:
        reply = nginx(plain(pool)).get("/a%20b/%C3%A9?x=1%202", headers={"X-Two": "1", "Proxy": "http://evil"})
        environ = json.loads(reply.body)["environ"]
        assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("", "/a b/\xc3\xa9")
        assert environ["QUERY_STRING"] == "x=1%202"
        assert environ["REQUEST_URI"] == "/a%20b/%C3%A9?x=1%202"
        assert environ["HTTP_X_TWO"] == "1"
        assert environ["SERVER_NAME"]
        assert "HTTP_PROXY" not in environ
        assert "CONTENT_LENGTH" not in environ


def test_below_a_prefix(nginx: StartNginx):
    with WorkerPool("protocol:application", script_name="/shop") as pool:
        environ = json.loads(nginx(plain(pool)).get("/shop/cart").body)["environ"]
        assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("/shop", "/cart")


@pytest.mark.parametrize("more", ["", "fastcgi_request_buffering off; fastcgi_buffering off;"])
@pytest.mark.parametrize("chunked", [False, True])
def test_uploads(nginx: StartNginx, more, chunked):
    with WorkerPool("protocol:application") as pool:
        server = nginx(plain(pool, more))
        whole = b"0123456789" * 200_000
        body: bytes | Iterable[bytes] = (
            (whole[at : at + 7000] for at in range(0, len(whole), 7000)) if chunked else whole
        )
        answer = json.loads(server.request("POST", "/x", body=body).body)
        assert answer["body"].encode() == whole
        assert "HTTP_TRANSFER_ENCODING" not in answer["environ"]


@pytest.mark.parametrize("more", ["", "fastcgi_buffering off;"])
@pytest.mark.parametrize("path", ["/fail-later", "/short"])
def test_nginx_notices_an_answer_that_is_cut(nginx: StartNginx, path, more):
    with WorkerPool("protocol:application") as pool:
        server = nginx(plain(pool, more))
        with pytest.raises((http.client.IncompleteRead, http.client.RemoteDisconnected, ConnectionResetError)):
            server.get(path)
        wait_until(lambda: "invalid FastCGI record type" in server.error_log())
        assert server.get("/ignore").status == 200


def test_nginx_notices_it_on_a_kept_connection_too(nginx: StartNginx):
    with WorkerPool("protocol:application") as pool:
        server = nginx(**kept(pool, 4))
        for path in ("/fail-later", "/short"):
            with pytest.raises((http.client.IncompleteRead, http.client.RemoteDisconnected, ConnectionResetError)):
                server.get(path, timeout=60)
            assert server.get("/ignore").status == 200


def test_an_error_page(nginx: StartNginx):
    with WorkerPool("protocol:application") as pool:
        reply = nginx(plain(pool)).get("/fail")
        assert reply.status == 500
        assert b"secret" not in reply.body


def test_head_and_204(nginx: StartNginx):
    with WorkerPool("protocol:application") as pool:
        reply = nginx(plain(pool)).request("HEAD", "/large?100")
        assert (reply.headers["content-length"], reply.body) == ("100", b"")


@pytest.mark.parametrize("keep", [False, True])
def test_finish_request(nginx: StartNginx, keep):
    with WorkerPool("protocol:application", workers=2) as pool:
        server = nginx(**kept(pool, 4)) if keep else nginx(plain(pool))
        (hold := pool.directory / "hold").touch()
        assert server.get(f"/finish?{hold}").body == b"answer"
        assert server.get("/ignore").status == 200
        assert not any("after the answer" in worker.output() for worker in pool.workers)
        hold.unlink()
        wait_until(lambda: any("after the answer" in worker.output() for worker in pool.workers))


def hammer(server: Nginx, clients: int, requests: int) -> Counter[int]:
    """So many clients at once, each with an HTTP connection of its own; how often each status came."""
    found: Counter[int] = Counter()

    def run() -> None:
        connection = server.connection(timeout=60)
        for _ in range(requests):
            connection.request("GET", "/ignore")
            response = connection.getresponse()
            response.read()
            found[response.status] += 1
        connection.close()

    threads = [threading.Thread(target=run) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return found


def test_kept_connections_are_used_again(nginx: StartNginx):
    with WorkerPool("protocol:application", pm_max_children=2) as pool:
        server = nginx(**kept(pool, 4))
        for _ in range(10):
            assert server.get("/ignore").status == 200
        # One connection stays for all ten: a descriptor more than at rest, and no line of trouble anywhere.
        assert "upstream" not in server.error_log()
        assert pool.logged() == ""


def test_more_nginx_connections_than_workers(nginx: StartNginx):
    with WorkerPool("protocol:application", workers=2) as pool:
        server = nginx(**kept(pool, 32))
        assert hammer(server, clients=16, requests=40) == {200: 640}
        assert "upstream" not in server.error_log()


def test_idle_kept_connections_do_not_starve_others(nginx: StartNginx):
    """PHP-FPM gave a second web server 0 answers in 3 s."""
    with WorkerPool("protocol:application", workers=2) as pool:
        first = nginx(**kept(pool, 8))
        hammer(first, clients=4, requests=5)
        second = nginx(**kept(pool, 8))
        for _ in range(20):
            assert first.get("/ignore").status == 200
            assert second.get("/ignore").status == 200
            assert raw.get(pool.address, "/ignore").status == 200


def test_kept_connections_move_to_idle_workers_while_one_is_busy(nginx: StartNginx):
    """With fewer idle workers than connections: each idle connection that is used again gets its answer at once."""
    with WorkerPool("protocol:application", workers=2) as pool:
        wires = [raw.Wire(pool.address) for _ in range(4)]
        try:
            for wire in wires:
                wire.send(raw.request_bytes(raw.web_params("/ignore"), flags=raw.KEEP_CONN))
                assert wire.read_reply().ended
            with raw.Wire(pool.address) as busy:
                (hold := pool.directory / "hold").touch()
                busy.send(raw.request_bytes(raw.web_params("/sleep", query=str(hold))))
                wait_until(
                    lambda: (
                        "/sleep"
                        in [slot.uri for slot in read_board(pool.board.view, pool.settings.slots).slots if slot]
                    )
                )
                for _ in range(3):
                    for wire in wires:
                        if wire.socket.fileno() < 0 or closed(wire):
                            continue
                        wire.send(raw.request_bytes(raw.web_params("/ignore"), flags=raw.KEEP_CONN))
                        assert wire.read_reply().ended
                hold.unlink()
                assert busy.read_reply().body == b"slept", "the others did not wait for it"
        finally:
            for wire in wires:
                wire.close()


def closed(wire: raw.Wire) -> bool:
    wire.socket.setblocking(False)
    try:
        return wire.socket.recv(1) == b""
    except BlockingIOError:
        return False
    finally:
        wire.socket.settimeout(60)


def test_a_client_that_aborts_behind_nginx(nginx: StartNginx):
    with WorkerPool("protocol:application") as pool:
        server = nginx(plain(pool, "fastcgi_buffering off;"))
        connection = server.connection()
        connection.request("GET", "/endless")
        connection.getresponse().read(100_000)
        connection.close()
        assert server.get("/ignore", timeout=60).status == 200
        assert pool.logged() == ""
