"""A real worker and what stands around it: the pool's own pages, scoreboard, logs, the master, TCP."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import struct
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from fpm.protocol.messages import ApplySettings, LimitReached, Quit, RecheckSockets, Reopen
from fpm.scoreboard.memory import set_wake_below
from fpm.scoreboard.reading import read_board
from fpm.scoreboard.stages import Stage
from tests.support import raw_fastcgi as raw
from tests.support.waiting import wait_until
from tests.support.worker_process import WorkerPool


def make_pool(**settings) -> WorkerPool:
    return WorkerPool("protocol:application", **settings)


def slot(pool: WorkerPool):
    return read_board(pool.board.view, pool.settings.slots).slots[0]


def held(pool: WorkerPool) -> Path:
    """A file; `/sleep?PATH` takes until it has gone."""
    (hold := pool.directory / "hold").touch()
    return hold


# --- status and ping ------------------------------------------------------------------------------------------------

PAGES = {"pm_status_path": "/status", "ping_path": "/ping"}
SCRAPER = {"SCRIPT_NAME": "/status", "SCRIPT_FILENAME": "/status", "REQUEST_METHOD": "GET"}


def count(pool: WorkerPool, what: str) -> int:
    """How many workers are idle, or active."""
    board = read_board(pool.board.view, pool.settings.slots)
    idle = [slot.stage is Stage.ACCEPTING for slot in board.used if slot.stage is not Stage.CREATING]
    return idle.count(what == "idle")


def test_new_settings_count_for_all_that_a_running_worker_does():
    with make_pool(pm_max_children=1, **PAGES) as pool:
        changed = replace(pool.settings, pm_max_children=7, ping_path="/alive", script_name="/mounted")
        pool.worker.command(ApplySettings(changed))
        wait_until(lambda: raw.get(pool.address, "/alive").body == b"pong")
        assert raw.get(pool.address, "/ping").body != b"pong"
        with raw.Wire(pool.address) as wire:
            wire.send(raw.record(raw.GET_VALUES, raw.pairs({"FCGI_MAX_CONNS": ""}), request=0))
            assert dict(raw.unpairs(wire.read_record()[2])) == {"FCGI_MAX_CONNS": "7"}


def test_status_and_ping():
    with make_pool(**PAGES) as pool:
        ping = raw.get(pool.address, "/ping")
        assert ping.body == b"pong"
        assert [name for name, _ in ping.head] == ["Expires", "Cache-Control", "Content-type"]
        raw.get(pool.address, "/ignore", query="q=1")
        short = json.loads(raw.get(pool.address, "/status", query="json").body)
        assert short["pool"] == "www"
        assert short["accepted conn"] == 3
        assert (short["idle processes"], short["active processes"], short["total processes"]) == (0, 1, 1)
        full = json.loads(raw.get(pool.address, "/status", query="json&full").body)
        [process] = full["processes"]
        assert process["pid"] == pool.worker.pid
        assert (process["state"], process["request uri"]) == ("Running", "/status?json&full")
        assert process["script"] == "protocol:application"


def test_a_scraper_without_web_server_and_without_end_of_stdin():
    data = raw.begin() + raw.stream(raw.PARAMS, raw.pairs(SCRAPER)) + raw.record(raw.STDIN, b"/status")
    with make_pool(**PAGES, script_name="/app") as pool, raw.Wire(pool.address) as wire:
        wire.send(data)
        reply = wire.read_reply()
        assert reply.stdout.startswith(b"Expires: ")
        assert reply.body.startswith(b"pool:                 www\n")
        assert reply.ended


def test_head_of_the_status_page():
    with make_pool(**PAGES) as pool:
        assert raw.exchange(pool.address, raw.web_params("/status", method="HEAD")).body == b""


def test_who_may_not_see_status_meets_the_application():
    with make_pool(**PAGES, pm_status_allow=["10.0.0.0/8"]) as pool:
        for address in ("127.0.0.1", "unix:", "::1", "nonsense", ""):
            reply = raw.exchange(pool.address, {**raw.web_params("/status"), "REMOTE_ADDR": address})
            assert json.loads(reply.body)["environ"]["PATH_INFO"] == "/status"
        for address in ("10.1.2.3", "::ffff:10.1.2.3"):
            reply = raw.exchange(pool.address, {**raw.web_params("/ping"), "REMOTE_ADDR": address})
            assert reply.body == b"pong"


# --- scoreboard -----------------------------------------------------------------------------------------------------


def test_the_slot_tells_the_story_of_a_request():
    with make_pool() as pool, raw.Wire(pool.address) as wire:
        assert count(pool, "idle") == 1
        hold = held(pool)
        params = {**raw.web_params("/sleep", method="POST", query=str(hold), body=b"12345"), "REMOTE_USER": "me"}
        began = time.monotonic()
        wire.send(raw.request_bytes(params, b"12345"))
        wait_until(lambda: count(pool, "active") == 1)
        wait_until(lambda: slot(pool).uri == "/sleep")
        running = slot(pool)
        assert (running.method, running.query, running.user, running.content_length) == ("POST", str(hold), "me", 5)
        assert (running.pid, running.requests, running.duration) == (pool.worker.pid, 1, 0)
        wait_until(lambda: time.time() - running.request_start > 0.5)
        hold.unlink()
        assert wire.read_reply().ended
        wait_until(lambda: count(pool, "idle") == 1)
        done = slot(pool)
        assert 500_000 <= done.duration < (time.monotonic() - began) * 1e6
        assert 0 < done.cpu < done.duration - 400_000, "it has slept"
        assert done.memory_peak > 1 << 20
        assert done.max_active == 1


def test_the_worker_that_leaves_too_few_idle_wakes_the_master():
    with make_pool(workers=2) as pool:
        raw.get(pool.address, "/ignore")
        assert not readable(pool.wake), "not armed"
        set_wake_below(pool.board.view, 1)
        wait_until(lambda: count(pool, "idle") == 2)
        raw.get(pool.address, "/ignore")
        assert not readable(pool.wake), "one is still idle"
        wait_until(lambda: count(pool, "idle") == 2)
        with raw.Wire(pool.address) as wire:
            hold = held(pool)
            wire.send(raw.request_bytes(raw.web_params("/sleep", query=str(hold))))
            wait_until(lambda: count(pool, "idle") == 1)
            raw.get(pool.address, "/ignore")
            assert readable(pool.wake)
            hold.unlink()


def readable(eventfd: int) -> bool:
    try:
        return os.eventfd_read(eventfd) > 0
    except BlockingIOError:
        return False


def test_the_last_worker_answers_the_listen_queue():
    """Also of clients that do not close their connections, each of which would be waited for."""
    with make_pool() as pool:
        wires = [raw.Wire(pool.address) for _ in range(8)]
        for wire in wires:
            wire.send(raw.request_bytes(raw.web_params("/sleep", query="0.05")))
        assert wires[0].read_reply().body == b"slept"
        pool.worker.command(Quit(final=True))
        assert [wire.read_reply().body for wire in wires[1:]] == [b"slept"] * 7
        for wire in wires:
            wire.close()
        assert pool.worker.process.wait(60) == 0


# --- logs -----------------------------------------------------------------------------------------------------------


def test_access_log(tmp_path: Path):
    log = tmp_path / "access.log"
    form = '%R - %u "%m %r%Q%q" %s %{X-Seen}o %f %l %n %{milli}d %{kilo}M %C %{HTTP_HOST}e'
    with WorkerPool("hello:application", access_log=log, access_format=form, access_suppress_path=["/quiet"]) as pool:
        raw.get(pool.address, "/x y", query="a=1\n2")
        raw.get(pool.address, "/quiet")
        wait_until(lambda: log.exists() and log.read_text().count("\n") == 1)
        [line] = log.read_text().splitlines()
        expected = r'- - - "GET /x y\?a=1\\x0a2" 200 - hello:application 0 www \d+\.\d{3} \d+ \d+\.\d\d localhost'
        assert re.fullmatch(expected, line), line


def test_reopen_of_the_access_log(tmp_path: Path):
    first, second = tmp_path / "first.log", tmp_path / "second.log"
    with WorkerPool("hello:application", access_log=first, access_format="%r %s") as pool:
        before = set(os.listdir(f"/proc/{pool.worker.pid}/fd"))
        raw.get(pool.address, "/one")
        fd = os.open(second, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        pool.worker.command(Reopen(), fd)
        os.close(fd)
        wait_until(lambda: raw.get(pool.address, "/two").status == 200 and second.read_text() != "")
        assert first.read_text().startswith("/one 200\n")
        assert set(second.read_text().splitlines()) == {"/two 200"}
        wait_until(lambda: set(os.listdir(f"/proc/{pool.worker.pid}/fd")) <= before, message="a descriptor leaks")


# --- life -----------------------------------------------------------------------------------------------------------


def test_max_requests():
    with make_pool(pm_max_requests=3) as pool:
        for _ in range(3):
            assert raw.get(pool.address, "/ignore").status == 200
        assert pool.worker.wait_message(LimitReached).requests == 3
        with raw.Wire(pool.address) as wire:
            wire.send(raw.request_bytes(raw.web_params("/ignore")))
            replacement = pool.start_worker()
            assert wire.read_reply().status == 200, "the replacement serves what came in between"
        pool.worker.command(Quit())
        assert pool.worker.process.wait(60) == 0
        assert replacement.process.poll() is None


def test_quit_waits_for_the_request_in_hand():
    with make_pool() as pool, raw.Wire(pool.address) as wire:
        hold = held(pool)
        wire.send(raw.request_bytes(raw.web_params("/sleep", query=str(hold))))
        wait_until(lambda: count(pool, "active") == 1)
        pool.worker.command(Quit())
        hold.unlink()
        assert wire.read_reply().body == b"slept"
        assert pool.worker.process.wait(60) == 0


@pytest.mark.parametrize("busy", [False, True])
def test_sigquit_is_a_graceful_end(busy):
    with make_pool() as pool, raw.Wire(pool.address) as wire:
        hold = held(pool)
        if busy:
            wire.send(raw.request_bytes(raw.web_params("/sleep", query=str(hold))))
            wait_until(lambda: count(pool, "active") == 1)
        pool.worker.process.send_signal(signal.SIGQUIT)
        hold.unlink()
        if busy:
            assert wire.read_reply().body == b"slept"
        assert pool.worker.process.wait(60) == 0


def test_the_master_is_gone():
    with make_pool() as pool:
        pool.worker.channel.close()
        assert pool.worker.process.wait(60) == 0


def test_a_connection_for_which_somebody_was_woken_who_did_not_take_it():
    """As when a worker is killed between its wake-up and accept(2): EPOLLEXCLUSIVE tells nobody else."""
    with make_pool(workers=0) as pool, select.epoll() as deaf:
        deaf.register(pool.listener, select.EPOLLIN | select.EPOLLEXCLUSIVE)
        sleeper = threading.Thread(target=deaf.poll, args=(60,))
        sleeper.start()
        worker = pool.start_worker()
        with raw.Wire(pool.address) as wire:
            wire.send(raw.request_bytes(raw.web_params("/hello")))
            sleeper.join()
            worker.command(RecheckSockets())
            assert wire.read_reply().ended


def test_allowed_clients():
    with make_pool(tcp=True, listen_allowed_clients=["192.0.2.0/24"]) as pool:
        with raw.Wire(pool.address) as wire:
            assert wire.at_end()
        expected = "Connection disallowed: IP address '127.0.0.1' has been dropped."
        wait_until(lambda: expected in pool.logged())
    with make_pool(tcp=True, listen_allowed_clients=["192.0.2.0/24", "127.0.0.1/32"]) as pool:
        assert raw.get(pool.address, "/ignore").status == 200


def test_tcp_serves_peers_that_send_in_pieces_and_close_late():
    with make_pool(tcp=True) as pool:
        data = raw.request_bytes(raw.web_params("/x")) + raw.record(raw.DATA)
        with raw.Wire(pool.address) as wire:
            wire.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for at in range(0, len(data), 100):
                wire.send(data[at : at + 100])
            assert wire.read_reply().ended
            assert wire.at_end()


def test_a_reset_connection_is_no_trouble():
    with make_pool(tcp=True) as pool:
        for data in (b"", raw.begin(), raw.request_bytes(raw.web_params("/endless"))):
            with raw.Wire(pool.address) as wire:
                wire.send(data)
                wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert raw.get(pool.address, "/ignore").status == 200
        assert pool.logged() == ""


def test_the_streams_of_the_application():
    with WorkerPool("noisy:application") as pool:
        assert raw.get(pool.address, "/").body == b"noisy\n"
        assert pool.worker.output() == "to standard output\nto standard error\nto wsgi.errors\n"


def test_no_descriptor_and_no_memory_leaks():
    with make_pool() as pool:
        for round_ in range(3):
            for path in ("/ignore", "/fail", "/fail-later", "/exit", "/short"):
                for _ in range(20):
                    raw.get(pool.address, path)
            if round_ == 0:
                descriptors = len(os.listdir(f"/proc/{pool.worker.pid}/fd"))
        wait_until(lambda: len(os.listdir(f"/proc/{pool.worker.pid}/fd")) <= descriptors)
