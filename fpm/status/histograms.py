"""The histograms of /metrics: for each pool, how long its requests have taken, with a fixed part of our buckets.

Most of a page is the same each time, so it is made once for a pool and filled in. Pure.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from operator import itemgetter

from fpm.log.escape import escape
from fpm.scoreboard.buckets import BOUNDS, Histogram
from fpm.status.overview import Pool, SlowRequest

SHOWN = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0)
"""Seconds, inclusive: `le`. What is longer is counted with `+Inf` alone."""
FAMILIES = (
    ("request_duration_seconds", "response", "From a request's variables to the end of its response or its worker."),
    ("first_byte_seconds", "first_byte", "From a request's variables to the first byte of its response."),
    ("request_queue_seconds", "queue_wait", "From the web server's REQUEST_START, if it sends that, to the worker."),
    ("request_cpu_seconds", "cpu", "CPU time of requests."),
)
"""Name without the prefix, attribute of Statistics, help."""
_shown = itemgetter(*[BOUNDS.index(round(bound * 1e6)) for bound in SHOWN])
EXEMPLAR_MAX = 128
"""Characters of the names and values of an exemplar's labels (OpenMetrics 1.0)."""
_POOLS_MAX = 4096


def histogram_lines(pools: Sequence[Pool], labels: Sequence[str], *, exemplars: bool) -> Iterator[str]:
    """Write all families.

    Args:
        labels: of each pool, without braces.
        exemplars: the first family has them.
    """
    for name, attribute, text in FAMILIES:
        yield f"# TYPE pyfpm_{name} histogram\n# UNIT pyfpm_{name} seconds\n# HELP pyfpm_{name} {text}"
        for label, pool in zip(labels, pools, strict=True):
            lines = _form(name, label) % _values(getattr(pool.statistics, attribute))
            yield _with_exemplars(lines, pool.slow) if exemplars and attribute == "response" else lines


def _with_exemplars(lines: str, slow: Sequence[SlowRequest]) -> str:
    """Add to each bucket the newest of the slow requests that were counted there."""
    chosen = {bisect_left(SHOWN, one.seconds): one for one in reversed(slow) if not one.running}
    if not chosen:
        return lines
    split = lines.split("\n")
    for bucket, one in chosen.items():
        split[bucket] += _exemplar(one)
    return "\n".join(split)


def _exemplar(slow: SlowRequest) -> str:
    pid = str(slow.pid)
    # A quotation mark as URIs have it: prometheus_client's parser does not know an escaped one here.
    request = escape(slow.request).replace('"', "%22")[: EXEMPLAR_MAX - len("pid" + pid + "request")]
    return f' # {{pid="{pid}",request="{quote_label(request)}"}} {slow.seconds:.6f} {slow.at:.3f}'


def quote_label(text: str) -> str:
    """Write a text that has been escaped as the value of a label."""
    return text.replace("\\", "\\\\").replace('"', '\\"')


@lru_cache(maxsize=len(FAMILIES) * _POOLS_MAX)
def _form(name: str, label: str) -> str:
    """The lines of one pool, with a place for each number."""
    own = label.replace("%", "%%")
    buckets = [f'pyfpm_{name}_bucket{{{own},le="{bound}"}} %d' for bound in (*SHOWN, "+Inf")]
    return "\n".join([*buckets, f"pyfpm_{name}_count{{{own}}} %d", f"pyfpm_{name}_sum{{{own}}} %s"])


def _values(histogram: Histogram) -> tuple[float, ...]:
    sums = list(accumulate(histogram.counts))
    return (*_shown(sums), sums[-1], sums[-1], histogram.total / 1e6)
