"""The routes of a pool, put together from the tables of its slots (fpm.scoreboard.route_table). Pure."""

from __future__ import annotations

from collections.abc import Iterable

from fpm.log.escape import decode_wire
from fpm.scoreboard.buckets import percentile
from fpm.scoreboard.route_copy import RouteCounts, Sums, sum_counts
from fpm.scoreboard.route_table import BEGINS
from fpm.status.overview import Route

SHOWN = 50
"""Routes of a pool; what is left is in the one of all others."""


def read_routes(data: bytes) -> tuple[Route, ...]:
    """Read the tables of a pool, one after another; any bytes have a result.

    Returns:
        The routes, the busiest first, by requests and time; all others at the end.
    """
    sums = Sums()
    sums.add(data)
    found = sums.read()
    every = [one for one in found if one.text]
    others = [one for one in found if not one.text]
    requests, time = (sum(one.numbers[number] for one in every) or 1 for number in (0, 2))
    summed = sorted(every, key=lambda one: -(one.numbers[0] / requests + one.numbers[2] / time))
    others += summed[SHOWN:]
    routes = [_route(one) for one in summed[:SHOWN]]
    if others and (rest := _route(sum_counts(others))).requests:
        routes.append(rest)
    return tuple(routes)


def _route(counts: RouteCounts) -> Route:
    requests, errors, time, cpu, growth = counts.numbers
    return Route(
        route=decode_wire(counts.text.decode("latin-1")),
        requests=requests,
        errors=errors,
        time=time / 1e6,
        cpu=cpu / 1e6,
        p95=percentile(counts.buckets, 0.95, BEGINS),
        growth=growth,
        buckets=counts.buckets,
    )


def routes_since(routes: Iterable[Route], former: Iterable[Route]) -> list[Route]:
    """Return what has been counted since `former`; of a route that has begun anew, what it has."""
    known = {one.route: one for one in former}
    found = [_since(one, known[one.route]) if one.route in known else one for one in routes]
    return [one for one in found if one.requests]


def _since(route: Route, former: Route) -> Route:
    buckets = tuple([new - old for new, old in zip(route.buckets, former.buckets, strict=True)])
    counted = route.requests - former.requests
    if counted < 0 or route.time < former.time or min(buckets, default=0) < 0:
        return route
    return Route(
        route=route.route,
        requests=counted,
        errors=max(route.errors - former.errors, 0),
        time=route.time - former.time,
        cpu=max(route.cpu - former.cpu, 0.0),
        p95=percentile(buckets, 0.95, BEGINS),
        growth=max(route.growth - former.growth, 0),
        buckets=buckets,
    )
