"""Clients of `[global] status_listen`, and readings of a status page in every format as one kind of values."""

from __future__ import annotations

import html
import http.client
import json
import re
import socket
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass

from prometheus_client.openmetrics.parser import text_string_to_metric_families

Numbers = dict[str, int | str]


@dataclass(frozen=True)
class Page:
    """An answer over HTTP."""

    status: int
    headers: dict[str, str]
    """By lower-case names."""
    body: bytes


class UnixConnection(http.client.HTTPConnection):
    """HTTP on a Unix socket; `host` is its path."""

    def connect(self) -> None:
        """See http.client."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.host)


def fetch(where: int | str, path: str, *, method: str = "GET", timeout: float = 60.0, host: str | None = None) -> Page:
    """Ask a port of 127.0.0.1, or a Unix socket; by another name than that if `host` is given."""
    if isinstance(where, int):
        connection = http.client.HTTPConnection("127.0.0.1", where, timeout=timeout)
    else:
        connection = UnixConnection(where, timeout=timeout)
    try:
        connection.request(method, path, headers={} if host is None else {"Host": host})
        response = connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Page(response.status, headers, response.read())
    finally:
        connection.close()


def read_pool(form: str, body: bytes) -> Numbers:
    """The pool's own values of a short page in `form` ("" is text), by the keys of the text page; dates left out."""
    text = body.decode()
    if form == "":
        values = dict(re.findall(r"^([^:]+): +(.*)$", text, re.MULTILINE))
    elif form == "json":
        values = json.loads(text)
    elif form == "xml":
        values = {one.tag.replace("-", " "): one.text or "" for one in ElementTree.fromstring(text)}
    else:
        values = {key: html.unescape(value) for key, value in re.findall(r"<th>([^<]+)</th><td>([^<]*)</td>", text)}
    return {key: int(value) if str(value).isdigit() else value for key, value in values.items()}


def read_openmetrics(body: bytes) -> dict[str, int]:
    """The samples of PHP-FPM's page."""
    return {name: int(value) for name, value in re.findall(r"^phpfpm_(\w+) (\d+)$", body.decode(), re.MULTILINE)}


def read_metrics(body: bytes) -> dict[tuple[str, ...], float]:
    """The samples of /metrics: name and labels' values, by a strict parser."""
    families = text_string_to_metric_families(body.decode())
    return {(one.name, *one.labels.values()): one.value for family in families for one in family.samples}
