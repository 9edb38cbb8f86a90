"""docs/performance.md and the figures of README.md, from what a run has found. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from bench.peers import FLOOR
from bench.report.table import amount, number, rows, times
from bench.results import MEASURES, Result, Run, spread
from bench.targets import TARGETS, Target, Verdict

HEAD = """\
# Performance

pyfpm compared with other servers for Python, with PHP-FPM, and with a responder in C that runs no application: on one
machine, behind one nginx, in one run. `make bench FULL=1 BENCH_ARGS="--json FILE"` measures, and
`python -m bench report FILE` writes this page; `make bench` is the short form, under 5 minutes.

## How it is measured

- Every server has the same application, the same Python and the same number of workers, a Unix socket, no access log,
  and otherwise the settings that its manual advises. nginx has one process; connections to the servers are not kept
  unless a case says so.
- Servers are loaded in turn, in short slices: A B C, then C B A, and so on. A ratio is taken of two slices of the same
  round. The figures are medians over the rounds; in brackets are the least and the greatest.
- *CPU per request* is the time on a processor of all of a server's processes, the master included, as the scheduler
  counts it, divided by the requests that were answered. nginx and the client are not in it. It says more than requests
  per second where client, nginx and server share the processors.
- The client (`bench/load.c`) has one thread. At a given rate, a request's time counts from when it was due, so a server
  that stands still does not look quick.
- *pyfpm* has its compiled hot path, *pyfpm plain* (`hotpath = no`) has not.
- *C floor* (`bench/floor.c`) accepts, reads records by their lengths, and sends a fixed answer. What a server costs
  above it is what it does for the application.
"""
NOTHING = "\nThere are no figures yet.\n"
BEGIN, END = "<!-- figures: begin (python -m bench report) -->", "<!-- figures: end -->"
README_TARGETS = ("hello", "headers", "chunks", "django", "memory")
"""Cases whose ratios README.md shows."""
EXACT = 0.02
"""A peer is ahead if its figure is better by more than this part."""


def document(run: Run, picture: str | None = None) -> str:
    """The page. `picture` is the path of the SVG beside it."""
    if not run.results:
        return HEAD + NOTHING + "\n## Targets\n\n" + "\n".join(markdown(_wanted())) + "\n"
    parts = [HEAD, "\n## Machine\n", *(f"- {name}: {value}" for name, value in run.environment.items()), ""]
    if picture:
        parts += [f"![CPU time per request, by server]({picture})", ""]
    parts += ["## Targets\n", *markdown(_judged(run)), ""]
    parts += ["## Where others are ahead\n", *behind(run), ""]
    parts += ["## All cases", *(part for result in run.results for part in _case(result))]
    return "\n".join(parts) + "\n"


def _case(result: Result) -> list[str]:
    lines = ["", f"### {result.case}", "", f"{result.title}.", ""]
    lines += markdown(rows(result)) if result.samples else ["Not measured."]
    return [*lines, *([""] if result.notes else []), *(f"- {note}" for note in result.notes)]


def _what(target: Target) -> list[str]:
    measure = MEASURES[target.measure]
    sign = "at least" if measure.more_is_better else "at most"
    beyond = f" more than {MEASURES[target.beyond].title}" if target.beyond else ""
    unit = "" if target.peer else f" {measure.unit}"
    return [target.case, measure.title, target.ours, target.peer or "", f"{sign} {target.limit:g}{unit}{beyond}"]


HEADINGS = ["case", "measure", "of", "to", "wanted"]


def _wanted() -> list[list[str]]:
    return [HEADINGS, *(_what(target) for target in TARGETS)]


def _judged(run: Run) -> list[list[str]]:
    table = [[*HEADINGS, "found", ""]]
    for target in TARGETS:
        result = run.case(target.case)
        verdict = target.judge(result) if result else None
        table.append([*_what(target), *(_found(verdict) if verdict else ["not measured", ""])])
    return table


def _found(verdict: Verdict) -> list[str]:
    found, met = verdict.found, "met" if verdict.met else "**not met**"
    if verdict.target.peer:
        return [times(found), met]
    return [f"{number(found.median)} ({number(found.least)}..{number(found.most)})", met]


def behind(run: Run) -> list[str]:
    """A line for each case whose main measure a peer has better than pyfpm."""
    lines = []
    for result in run.results:
        name, (ours, *others) = result.measures[0], result.samples or [""]
        better = [_ahead(result, name, ours, peer) for peer in others if not peer.startswith(ours) and peer != FLOOR]
        if found := [one for one in better if one]:
            lines.append(f"- {result.case}, {MEASURES[name].title}: {'; '.join(found)}")
    return lines or ["Nowhere in this run."]


def _ahead(result: Result, name: str, ours: str, peer: str) -> str | None:
    beside, more = result.ratio(name, ours, peer), MEASURES[name].more_is_better
    if beside is None or (beside.median > 1 - EXACT if more else beside.median < 1 + EXACT):
        return None
    figures = (amount(spread(result.get(server, name)).median, MEASURES[name].unit) for server in (peer, ours))
    return "{} {}, pyfpm {}".format(peer, *figures)


def figures(run: Run) -> str:
    """What README.md shows between its two marks."""
    table = [["", "measure", "pyfpm compared with", "ratio"]]
    for target in TARGETS:
        result = run.case(target.case)
        if target.case not in README_TARGETS or not target.peer or target.ours != "pyfpm" or result is None:
            continue
        if verdict := target.judge(result):
            title = result.title.partition(";")[0]
            table.append([title, MEASURES[target.measure].title, target.peer, f"{verdict.found.median:.2f}"])
    return "\n".join([BEGIN, *markdown(table), END])


def with_figures(readme: str, run: Run) -> str:
    """README.md with the figures of this run; unchanged if it has no marks."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    return before + figures(run) + after if begin and end else readme


def markdown(table: Sequence[Sequence[str]]) -> list[str]:
    """A table; the first column to the left, the others to the right."""
    marks = ["---", *("---:" for _ in table[0][1:])]
    return [f"| {' | '.join(row)} |" for row in (table[0], marks, *table[1:])]
