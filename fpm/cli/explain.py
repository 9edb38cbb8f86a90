"""`pyfpm explain`: what is wrong with a pool, since when, for whom and why, in one paragraph."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import click

from fpm.cli.options import Options, examples, format_option
from fpm.cli.output import print_json, say
from fpm.client.control import fetch_snapshot, follow
from fpm.errors import EXIT_FAILED
from fpm.explain.facts import Descriptors, Facts, Sight
from fpm.explain.finding import Finding
from fpm.explain.judge_exceptions import is_leaking
from fpm.explain.sights import choose_looks, make_sights
from fpm.explain.waits import is_in_sqlite
from fpm.explain.words import Explanation, as_document, explain_pool
from fpm.log.escape import escape
from fpm.stacks.text.entry import Entry
from fpm.stacks.text.read_json import read_object
from fpm.status.overview import Pool
from fpm.system.file_locks import find_locked_database
from fpm.system.open_files import count_open_files, find_targets

PACE = 1.0
"""Seconds between two looks: a look stops a worker for a moment."""
DEPTH = 1100
"""Calls of a stack that are read: somewhat more than the usual recursion limit of Python."""


@click.command(name="explain", epilog=examples("pyfpm explain shop", "pyfpm explain shop --looks 20 --format json"))
@click.argument("pool")
@click.option(
    "--looks",
    default=5,
    type=click.IntRange(0, 1000),
    metavar="N",
    show_default=True,
    help="Look at the stacks of up to N busy workers, one a second.",
)
@format_option()
@click.pass_context
def explain(ctx: click.Context, pool: str, looks: int, form: str) -> None:
    """Say what is wrong with a pool, since when, for whom and why.

    One paragraph, then what it is concluded from and what to do about it, the worst first. Exit status 1: something is
    wrong, or it cannot be found out.
    """
    options: Options = ctx.obj
    facts = gather(options.control_path(), pool, looks)
    explanation = explain_pool(facts)
    if form == "json":
        print_json(as_document(explanation, facts))
    else:
        _print_text(explanation)
    if explanation.is_trouble:
        ctx.exit(EXIT_FAILED)


def gather(path: str, name: str, looks: int) -> Facts:
    """Ask the master for everything that is known of a pool, and look at its busy workers.

    Raises:
        ControlError: no daemon answers, or it has no such pool.
    """
    entries: list[Entry] = []

    def take(message: dict[str, Any]) -> None:
        entry = read_object(str(message["entry"]).encode()) if "entry" in message else None
        if entry is not None:
            entries.append(entry)

    unseen = 0
    if looks:
        busy = fetch_snapshot(path, name, workers=True).pools[0]
        wanted = {
            "first": choose_looks(busy),
            "target": name,
            "most": looks,
            "pace": PACE,
            "depth": DEPTH,
            "native": True,
        }
        answer = follow(path, {"command": "trace", "format": "json", **wanted}, take)
        unseen = int(answer.get("left_out", 0))
    # After the looks, so that the figures are those of this moment.
    snapshot = fetch_snapshot(path, name, workers=True, routes=True, past=True)
    shown = snapshot.pools[0]
    return Facts(
        pool=shown,
        daemon=snapshot.daemon,
        looks=tuple(entries),
        sights=tuple(map(_with_database, make_sights(shown, entries))),
        unseen=unseen,
        descriptors=dict(_descriptors(shown)),
    )


def _with_database(sight: Sight) -> Sight:
    found = find_locked_database(sight.pid) if sight.is_live and is_in_sqlite(sight) else None
    return sight if found is None else replace(sight, database=found.path, holder=found.holder)


def _descriptors(pool: Pool) -> Iterator[tuple[int, Descriptors]]:
    for worker in pool.workers:
        # A generation is the master's word: the pid is that of a worker of his.
        counted = count_open_files(worker.pid) if worker.generation else None
        if counted is not None:
            one = Descriptors(*counted)
            yield worker.pid, replace(one, targets=find_targets(worker.pid)) if is_leaking(one) else one


def _print_text(explanation: Explanation) -> None:
    say(escape(explanation.paragraph))
    for finding in explanation.findings:
        _print_finding(finding)


def _print_finding(finding: Finding) -> None:
    say("")
    say(escape(f"{finding.kind}: {finding.sentence}"))
    for line in finding.evidence:
        say(escape(f"  | {line}"))
    if finding.advice:
        say(escape(f"  {finding.advice}"))
