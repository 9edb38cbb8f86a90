"""`pyfpm top`: the pools or their workers, live."""

from __future__ import annotations

import sys

import click

from fpm.cli.options import Options

SORTS = ("busy", "rate", "queue", "cpu", "memory", "time", "name")


@click.command()
@click.argument("pool", required=False)
@click.option("--interval", default=2.0, type=click.FloatRange(0.1, 3600.0), show_default=True, help="Seconds.")
@click.option(
    "--sort", "sort_by", type=click.Choice(SORTS), default="busy", show_default=True, help="What comes first."
)
@click.option("--workers", is_flag=True, help="Begin with the workers instead of the pools.")
@click.option("--once", is_flag=True, help="Print one picture and end; so it is without a terminal.")
@click.option("--count", type=click.IntRange(1), help="Print so many pictures, one after the other, and end.")
@click.pass_obj
def top(
    options: Options, pool: str | None, interval: float, sort_by: str, workers: bool, once: bool, count: int | None
) -> None:
    """What the pools, or the workers, are doing from moment to moment.

    Keys: w pools or workers; b busy, r rate, u queue, c CPU, m memory, t time of the request in hand, n name; o turns
    the order round; arrows scroll; q ends.
    """
    # Late: rich is for those who look, not for the daemon.
    from fpm.cli import top_screen
    from fpm.cli.top_figures import BY_NAME

    view = top_screen.View(sort=BY_NAME[sort_by], workers=workers or pool is not None)
    watched = top_screen.Watched(options.control_path(), pool)
    if once or count or not (sys.stdin.isatty() and sys.stdout.isatty()):
        top_screen.print_pictures(watched, view, interval, count or 1)
    else:
        top_screen.run_live(watched, view, interval)
