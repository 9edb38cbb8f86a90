"""Small answers: hello world, with and without kept connections, and with more of this and that."""

from __future__ import annotations

from bench.cases.pairs import Group, LoadCase
from bench.load import Load
from bench.peers import FLOOR, FLUP, GTHREAD, GUNICORN, PHP, PLAIN, PYFPM, UWSGI, UWSGI_FASTCGI

EVERYONE = (PYFPM, PLAIN, UWSGI_FASTCGI, UWSGI, GUNICORN, GTHREAD, PHP, FLUP, FLOOR)
KEEPERS = (PYFPM, PLAIN, GTHREAD, PHP, FLOOR)
"""Those that keep a connection to the web server when it asks for that."""
SHARERS = (PYFPM, PLAIN, GTHREAD, FLOOR)
"""Those that also answer when there are more kept connections than workers."""
NOT_PHP = (
    "PHP-FPM is left out: each of its workers stays with one connection, so with more kept connections than workers "
    "requests wait until nginx gives up"
)
OURS = (PYFPM, PLAIN)
CLOSE = (PYFPM, PLAIN, UWSGI_FASTCGI, UWSGI, GUNICORN)
BROWSER = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "Accept-Language: en-GB,en;q=0.7,de;q=0.3",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Cookie: sessionid=3f1c9a7be2d54c0f8a6b1d2e3f405162; csrftoken=Qm9vZ2llV29vZ2llQnVnbGVCb3k; theme=dark",
    "Referer: https://www.example.com/shop/items?page=3&order=price",
    "Upgrade-Insecure-Requests: 1",
    "Sec-Fetch-Dest: document",
    "Sec-Fetch-Mode: navigate",
    "Sec-Fetch-Site: same-origin",
    "Sec-Fetch-User: ?1",
    "Priority: u=0, i",
    "Cache-Control: max-age=0",
    'If-None-Match: W/"5e15153d-19c0"',
    *(f"X-Forwarded-Detail-{number}: value number {number} of a proxy" for number in range(26)),
)
"""40 header lines."""

GROUP = Group(
    [
        LoadCase("hello", "Hello world, connections not kept, 16 clients", Load(seconds=0.3), EVERYONE,
                 measures=("cpu", "user", "system", "master", "rate", "p50", "p99")),
        LoadCase("hello-kept", "Hello world, 4 clients, up to 4 connections kept", Load(connections=4, seconds=0.3),
                 KEEPERS, keepalive=4, bare=OURS),
        LoadCase("hello-kept-more", "Hello world, 16 clients, up to 16 connections kept", Load(seconds=0.3),
                 SHARERS, keepalive=16, bare=OURS, note=NOT_PHP),
        LoadCase("hello-kept-64", "Hello world, 64 clients, up to 64 connections kept",
                 Load(connections=64, seconds=0.3), SHARERS, keepalive=64, bare=OURS, note=NOT_PHP, usual=False),
        LoadCase("headers", "Hello world, 40 header lines as of a browser", Load(headers=BROWSER, seconds=0.3),
                 (*CLOSE, PHP)),
        LoadCase("json", "JSON of 10 KB, made for each request", Load("/?json", seconds=0.3), (*CLOSE, PHP),
                 usual=False),
        LoadCase("chunks", "1,000 chunks of 14 bytes", Load("/?chunks=1000", connections=8, seconds=0.3), CLOSE),
        LoadCase("hello-4", "Hello world, 4 clients", Load(connections=4, seconds=0.3), (*CLOSE, PHP), usual=False),
        LoadCase("hello-64", "Hello world, 64 clients", Load(connections=64, seconds=0.3), (*CLOSE, PHP)),
        LoadCase("latency", "Hello world at a given rate, 64 clients", Load(connections=64, seconds=0.5),
                 (PYFPM, PLAIN, UWSGI_FASTCGI, UWSGI), measures=("p99", "p50", "cpu", "rate"), at_half=True),
        LoadCase("hello-500", "Hello world, 500 clients", Load(connections=500, seconds=0.5), (*CLOSE, PHP),
                 usual=False),
    ]
)  # fmt: skip
