"""What is answered at one address: pages of one pool (pm.status_listen), or of the daemon ([global] status_listen).

The answer is a value of a request and of what `look` shows. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from ipaddress import ip_address, ip_network
from typing import Any
from urllib.parse import unquote

from fpm.explain.facts import Facts
from fpm.explain.words import explain_pool
from fpm.frozen import dataclass
from fpm.protocol.status import SiteSpec
from fpm.status.metrics import METRICS_TYPE, render_metrics
from fpm.status.overview import Overview, Pool, PoolPage
from fpm.status.pages import PING_CONTENT_TYPE, STATUS_HEADERS, form_of, render_status
from fpm.status.past.figures import past_numbers
from fpm.status.reduced import without_details
from fpm.status_server.front import read_filter, read_span
from fpm.status_server.html import HEADERS, render_overview, render_pool

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Request:
    """A request, however it came."""

    path: str
    """Decoded, as latin-1 like all of environ; begins with a slash."""
    query: str


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer; headers without Content-Length."""

    body: bytes
    headers: Sequence[tuple[str, str]]
    status: HTTPStatus = HTTPStatus.OK


class MasterSilent(Exception):
    """Raised when the master does not answer: it is stopped, or gone."""


SnapshotReader = Callable[[str | None, bool], Overview]
"""Shows the pool of this name (no pools if there is none), or all; with its workers or without.

Raises:
    MasterSilent: the master does not answer.
"""


class Site:
    """Answers requests by a specification."""

    def __init__(self, spec: SiteSpec, read: SnapshotReader) -> None:
        self.spec = spec
        self._read = read if spec.details else lambda name, workers: without_details(read(name, workers))
        self._peers = [ip_network(text) for text in spec.peers]
        self._allow = [ip_network(text) for text in spec.allow]

    def may_connect(self, address: str) -> bool:
        """Return whether a client may connect; "" is a Unix socket's address, whose mode has decided it."""
        return not address or not self._peers or _is_in(address, self._peers)

    def may_ask(self, address: str | None) -> bool:
        """Return whether a client may see the pages; None: there is no web server between."""
        return address is None or _is_in(address, self._allow)

    def is_known_as(self, host: str) -> bool:
        """Return whether this is a name of ours: an address, localhost, or one that the administrator has given."""
        name = host_name(host)
        return self.spec.hosts is None or name in ("localhost", *self.spec.hosts) or _is_address(name)

    def answer_to(self, address: str | None, request: Request, hosts: Sequence[str] = ()) -> Answer:
        """Answer somebody with this address, as far as they may see the pages; never raises.

        Args:
            hosts: by which names an HTTP client has called us.
        """
        if not self.may_ask(address):
            return Answer(b"Access denied.\n", (("Content-type", "text/plain"),), HTTPStatus.FORBIDDEN)
        if not all(map(self.is_known_as, hosts)):
            text = "This name is not one of [global] status_listen.hosts. Use the address, or add the name.\n"
            return _plain(text, HTTPStatus.MISDIRECTED_REQUEST)
        return self.answer(request)

    def answer(self, request: Request) -> Answer:
        """Answer a request of somebody who may see the pages; never raises."""
        try:
            found = self._of_pool(request) if self.spec.pool else self._of_daemon(request)
        except MasterSilent:
            return _plain("the master does not answer\n", HTTPStatus.SERVICE_UNAVAILABLE)
        return found or _plain("File not found.\n", HTTPStatus.NOT_FOUND)

    # ---------------------------------------------------------------- pm.status_listen

    def _of_pool(self, request: Request) -> Answer | None:
        spec = self.spec
        if request.path == spec.ping_path:
            return Answer(spec.ping_response.encode(), (*STATUS_HEADERS, ("Content-type", PING_CONTENT_TYPE)))
        if request.path == spec.status_path:
            return self._status_of(spec.pool, request.query)
        return None

    def _status_of(self, name: str, query: str) -> Answer | None:
        pool = self._pool(name, workers=False)
        if pool is None:
            return None
        page = render_status(pool.status, query, more=_more(pool, query))
        return Answer(page.body, (*STATUS_HEADERS, ("Content-type", page.content_type)))

    def _pool(self, name: str, *, workers: bool) -> Pool | None:
        pools = self._read(name, workers).pools
        return pools[0] if pools else None

    # ---------------------------------------------------------------- [global] status_listen

    def _of_daemon(self, request: Request) -> Answer | None:
        simple = _SIMPLE.get(request.path)
        if simple is not None:
            return simple(self, request)
        first, _, name = request.path[1:].partition("/")
        below = _BELOW.get(first)
        # A name is latin-1 here as all that comes from the wire, and UTF-8 in truth.
        return below(self, _as_name(name), request) if below is not None and name else None

    def _front(self, request: Request) -> Answer:
        return Answer(render_overview(self._read(None, False), read_filter(request.query)), HEADERS)

    def _pool_page(self, name: str, request: Request) -> Answer | None:
        overview = self._read(name, True)
        if not overview.pools:
            return None
        daemon, pool = overview.daemon, overview.pools[0]
        page = PoolPage(daemon, pool, explain_pool(Facts(pool, daemon)).paragraph)
        return Answer(render_pool(page, read_span(request.query)), HEADERS)

    def _one_status(self, name: str, request: Request) -> Answer | None:
        return self._status_of(name, request.query)

    def _statuses(self, request: Request) -> Answer:
        form = form_of(request.query)
        if form == "openmetrics":  # PHP-FPM's page has no room for more than one pool
            return self._metrics(request)
        query = request.query
        pages = [render_status(pool.status, query, more=_more(pool, query)) for pool in self._read(None, False).pools]
        start, between, end, content_type = _JOINED[form]
        body = start + between.join(page.body.removeprefix(_XML_HEAD) for page in pages) + end
        return Answer(body, (*STATUS_HEADERS, ("Content-type", content_type)))

    def _metrics(self, request: Request) -> Answer:
        overview = self._read(None, False)
        headers = (*STATUS_HEADERS, ("Content-type", METRICS_TYPE))
        return Answer(render_metrics(overview.daemon, overview.pools, exemplars=self.spec.exemplars), headers)

    def _ping(self, request: Request) -> Answer:
        return _plain("pong")

    def _live(self, request: Request) -> Answer:
        self._read("", False)  # a name that no pool has: only the master's own word
        return _plain("ok\n")

    def _ready(self, request: Request) -> Answer:
        overview = self._read(None, False)
        return _readiness(overview, [pool for pool in overview.pools if not pool.ready])

    def _pool_ready(self, name: str, request: Request) -> Answer | None:
        overview = self._read(name, False)
        return _readiness(overview, [pool for pool in overview.pools if not pool.ready]) if overview.pools else None


_SIMPLE: Mapping[str, Callable[[Site, Request], Answer]] = {
    "/": Site._front,
    "/status": Site._statuses,
    "/metrics": Site._metrics,
    "/ping": Site._ping,
    "/livez": Site._live,
    "/readyz": Site._ready,
}
_BELOW: Mapping[str, Callable[[Site, str, Request], Answer | None]] = {
    "pool": Site._pool_page,
    "status": Site._one_status,
    "readyz": Site._pool_ready,
}
_XML_HEAD = b'<?xml version="1.0" ?>\n'
_JOINED = {
    "text": (b"", b"\n", b"", "text/plain;charset=UTF-8"),
    "json": (b"[", b",", b"]", JSON),
    "xml": (_XML_HEAD + b"<pools>\n", b"\n", b"\n</pools>", "text/xml;charset=UTF-8"),
    "html": (b"", b"\n<hr>\n", b"", "text/html;charset=UTF-8"),
}
"""How the pages of several pools become one: before, between, after, and its type."""


def _more(pool: Pool, query: str) -> Sequence[tuple[str, int]]:
    """Return what the status in JSON has after the numbers of the pool: those of its past."""
    return past_numbers(pool) if form_of(query) == "json" else ()


def _readiness(overview: Overview, unready: Sequence[Pool]) -> Answer:
    lines = ["the daemon is stopping"] if overview.daemon.draining else []
    lines += [f"pool {pool.name} is {pool.unready or pool.state}" for pool in unready]
    if not lines:
        return _plain("ok\n")
    return _plain("".join(f"{line}\n" for line in lines), HTTPStatus.SERVICE_UNAVAILABLE)


def _plain(text: str, status: HTTPStatus = HTTPStatus.OK) -> Answer:
    return Answer(text.encode("utf-8", "backslashreplace"), (*STATUS_HEADERS, ("Content-type", TEXT)), status)


def _as_name(text: str) -> str:
    return text.encode("latin-1", "replace").decode("utf-8", "replace")


def decode_target(target: str) -> tuple[str, str]:
    """Path and query of an HTTP request target; the path decoded to latin-1, as FastCGI variables have it."""
    path, _, query = target.partition("?")
    if not path.startswith("/"):
        path = "/" + path.partition("://")[2].partition("/")[2]
    return unquote(path, "latin-1"), query


def host_of_target(target: str) -> list[str]:
    """Return the host of an absolute-form target (RFC 9112, section 3.2.2), if it is one."""
    return [] if target.startswith("/") else [target.partition("://")[2].partition("/")[0].rpartition("@")[2]]


def host_name(host: str) -> str:
    """Return the name or address of a Host header, without its port, in small letters."""
    name = host.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.partition(":")[0].removesuffix(".")


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _is_in(address: str, networks: Sequence[Any]) -> bool:
    try:
        client = ip_address(address.partition("%")[0])
    except ValueError:  # "unix:" and the like say nothing about where the client is
        return False
    mapped = getattr(client, "ipv4_mapped", None)
    return any((mapped or client) in network for network in networks)
