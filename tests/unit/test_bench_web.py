"""How nginx is told to lead to each server."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bench.__main__ import GROUPS
from bench.servers import Server, slug
from bench.targets import TARGETS
from bench.web import Site


def a_server(protocol: str) -> Server:
    process: subprocess.Popen[bytes] = object.__new__(subprocess.Popen)
    return Server("C floor", process, Path("/run/a"), protocol, "more;")


@pytest.mark.parametrize(
    ("protocol", "keepalive", "expected"),
    [
        ("fastcgi", 0, "include fastcgi_params; more; fastcgi_read_timeout 120; fastcgi_pass unix:/run/a; "),
        ("uwsgi", 0, "include uwsgi_params; more; uwsgi_read_timeout 120; uwsgi_pass unix:/run/a; "),
        ("http", 0, "proxy_read_timeout 120; proxy_pass http://unix:/run/a:/; "),
        ("fastcgi", 4, "fastcgi_keep_conn on; fastcgi_read_timeout 120; fastcgi_pass c-floor-4; "),
        ("http", 4, 'proxy_set_header Connection ""; proxy_read_timeout 120; proxy_pass http://c-floor-4; '),
    ],
)
def test_a_site_passes_requests_on(protocol: str, keepalive: int, expected: str) -> None:
    text = Site(a_server(protocol), keepalive).text(80)
    assert expected in text
    assert ("upstream c-floor-4 { server unix:/run/a; keepalive 4; keepalive_timeout 200ms; }" in text) == bool(
        keepalive
    )


def test_a_site_that_streams_has_a_name_of_its_own() -> None:
    server = a_server("uwsgi")
    assert Site(server, streams=True).host != Site(server).host
    assert "uwsgi_request_buffering off;" in Site(server, streams=True).text(80)


def test_a_name_is_fit_for_a_host_and_a_path() -> None:
    assert slug("pyfpm, preload.warmup") == "pyfpm-preload-warmup"


def test_each_case_has_a_name_of_its_own_and_targets_are_of_cases() -> None:
    names = [case.name for group in GROUPS for case in group.cases]
    assert len(names) == len(set(names))
    assert {target.case for target in TARGETS} <= set(names)
