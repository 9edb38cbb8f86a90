"""`pyfpm status --check`: one line with performance data for Nagios, Icinga and all that runs Monitoring Plugins."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fpm.cli.output import print_page
from fpm.client.control import fetch_snapshot
from fpm.client.status_listener import fetch_pools
from fpm.errors import FpmError
from fpm.status.alarm import (
    MEASURES,
    Limits,
    Reading,
    State,
    Verdict,
    judge_pool,
    parse_limits,
    show_value,
    worst_first,
)
from fpm.status.overview import Pool
from fpm.status.pages import render_status
from fpm.status.past.figures import past_numbers

POOLS_MAX = 20
"""More pools than that have no performance data of their own: a plugin's output has a bound of some KiB."""
NAMED_MAX = 10
"""Pools in trouble that are named; the others are counted."""
REASONS_MAX = 3
NUMBER_MAX = 2**63
"""More than any number of a page: JSON has room for those that no float holds."""
SERVICE = "PYFPM"
HINT = "; any user may check at [global] status_listen: --from ADDRESS"


def check_status(
    options: Any, pool: str | None, *, address: str, warning: Sequence[str], critical: Sequence[str], form: str
) -> int:
    """Print how the pools are, and return the exit status of a plugin: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.

    Args:
        options: of the command line; see fpm.cli.options.Options.
        pool: None: all.
        address: of [global] status_listen; "": the control socket is asked.
        warning: thresholds, NAME=RANGE; the same of `critical`.
        form: `checkmk` for a line of a local check for each pool, or something else.
    """
    show = local_lines if form == "checkmk" else plugin_line
    try:
        limits = parse_limits(warning, critical)
        readings = _from_listener(address, pool) if address else _from_control(options.control_path(), pool)
    except (FpmError, ValueError) as error:
        is_refused = isinstance(error, FpmError) and not address and os.geteuid() != 0
        text = _line(str(error).partition("\n")[0]) + (HINT if is_refused else "")
        print_page(f'3 "pyfpm" - {text}' if form == "checkmk" else f"{SERVICE} UNKNOWN: {text}")
        return State.UNKNOWN
    verdicts = worst_first(judge_pool(one, limits) for one in readings)
    print_page(show(verdicts, limits, is_one=pool is not None))
    return max((one.state for one in verdicts), default=State.OK)


def _from_listener(address: str, name: str | None) -> list[Reading]:
    pools = fetch_pools(address)
    if name is not None and name not in [pool.name for pool in pools]:
        raise ValueError(f"there is no pool '{name}'; there are: {', '.join(pool.name for pool in pools)}")
    return [Reading(pool.name, pool.state, numbers_of(pool.page)) for pool in pools if name in (None, pool.name)]


def _from_control(path: str, name: str | None) -> list[Reading]:
    snapshot = fetch_snapshot(path, name, workers=False, past=True)
    stopping = "stopping" if snapshot.daemon.draining else ""
    return [_read_pool(pool, stopping) for pool in snapshot.pools]


def _read_pool(pool: Pool, stopping: str) -> Reading:
    page = render_status(pool.status, "json", more=past_numbers(pool))
    return Reading(pool.name, pool.unready or stopping, numbers_of(json.loads(page.body)))


def numbers_of(page: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a short status page, whoever has written it."""
    return {
        key: value
        for key, value in page.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= NUMBER_MAX
    }


def plugin_line(verdicts: Sequence[Verdict], limits: Limits, *, is_one: bool) -> str:
    """Write the one line of a plugin: service, state, text, and performance data after a bar."""
    state = max((one.state for one in verdicts), default=State.OK)
    data = [
        part
        for one in (verdicts if len(verdicts) <= POOLS_MAX else ())
        for part in _performance(one, limits, "" if is_one else f"{one.reading.name} ")
    ]
    if not is_one:
        data = [*_totals(verdicts), *data]
    return f"{SERVICE} {state.name}: {_line(_text(verdicts))} | {' '.join(data)}"


def _text(verdicts: Sequence[Verdict]) -> str:
    bad = [one for one in verdicts if one.state is not State.OK]
    if not bad:
        return _fine(verdicts)
    parts = [f"pool {one.reading.name}: {_reasons(one)} (pyfpm explain {one.reading.name})" for one in bad[:NAMED_MAX]]
    if len(bad) > NAMED_MAX:
        parts.append(f"{len(bad) - NAMED_MAX} more pools in trouble")
    if len(verdicts) > len(bad):
        parts.append(f"{_pools(len(verdicts) - len(bad))} in order")
    return "; ".join(parts)


def _reasons(verdict: Verdict) -> str:
    return ", ".join(verdict.reasons[:REASONS_MAX])


def _pools(count: int) -> str:
    return "1 pool" if count == 1 else f"{count} pools"


def _fine(verdicts: Sequence[Verdict]) -> str:
    if not verdicts:
        return "there are no pools"
    values = [one.reading.values for one in verdicts]
    busy, most = (int(sum(one.get(key, 0) for one in values)) for key in ("active processes", "children limit"))
    who = f"pool {verdicts[0].reading.name}" if len(verdicts) == 1 else _pools(len(verdicts))
    slowest = max((p95 for one in values if (p95 := MEASURES["p95"].of(one)) is not None), default=None)
    latency = "" if slowest is None else f", p95 {'' if len(values) == 1 else 'at most '}{show_value(slowest)} s"
    return f"{who} in order, {busy} of {most} workers busy{latency}"


def _totals(verdicts: Sequence[Verdict]) -> Iterator[str]:
    yield f"pools={len(verdicts)};;;0"
    for state in (State.WARNING, State.CRITICAL):
        yield f"{state.name.lower()}={sum(one.state is state for one in verdicts)};;;0;{len(verdicts)}"


def _performance(verdict: Verdict, limits: Limits, prefix: str) -> Iterator[str]:
    values = verdict.reading.values
    for name, measure in MEASURES.items():
        value, most = measure.of(values), measure.most(values)
        shown = "U" if value is None else show_value(value) + measure.unit
        ranges = [limits_of[name].text if name in limits_of else "" for limits_of in (limits.warning, limits.critical)]
        yield f"{_label(prefix + name)}={shown};{ranges[0]};{ranges[1]};0;{'' if most is None else show_value(most)}"
    if "accepted conn" in values:
        yield f"{_label(f'{prefix}requests')}={values['accepted conn']:.0f}c;;;0"


def _label(text: str) -> str:
    """Quote a label; what has a meaning there becomes an underscore."""
    text = _line(text).replace("'", "_").replace("=", "_")
    return f"'{text}'" if " " in text else text


def _line(text: str) -> str:
    """Return a text without what ends the text of a plugin or its line."""
    return text.replace("|", "_").replace("\n", " ")


def local_lines(verdicts: Sequence[Verdict], limits: Limits, *, is_one: bool) -> str:
    """Write a line for each pool, as a local check of Checkmk prints it: state, service, metrics, text."""
    return "\n".join(_local_line(one, limits) for one in verdicts)


def _local_line(verdict: Verdict, limits: Limits) -> str:
    name = _line(verdict.reading.name).replace('"', "_")
    known = {
        key: value for key, measure in MEASURES.items() if (value := measure.of(verdict.reading.values)) is not None
    }
    metrics = "|".join(f"{key}={show_value(value)}{_levels(key, limits)}" for key, value in known.items())
    text = f"{_reasons(verdict)} (pyfpm explain {name})" if verdict.reasons else _fine([verdict])
    return f'{int(verdict.state)} "pyfpm {name}" {metrics or "-"} {_line(text)}'


def _levels(name: str, limits: Limits) -> str:
    """The upper levels of a metric; other ranges have no form there."""
    levels = [ranges.get(name) for ranges in (limits.warning, limits.critical)]
    texts = [
        show_value(one.end) if one is not None and math.isfinite(one.end) and not one.is_inverted else ""
        for one in levels
    ]
    return ";".join(["", *texts]).rstrip(";")
