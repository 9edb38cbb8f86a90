"""`pyfpm top`: the pools or their workers, live."""

from __future__ import annotations

import sys

import click

from fpm.cli.options import Options

SORTS = ("busy", "rate", "queue", "cpu", "memory", "time", "name")


@click.command()
@click.argument("pool", required=False)
@click.option("--interval", default=2.0, type=click.FloatRange(0.1, 3600.0), show_default=True, help="Seconds.")
@click.option("--sort", "sort_by", type=click.Choice(SORTS), default="busy", show_default=True, help="Sort key.")
@click.option("--workers", is_flag=True, help="Show workers instead of pools at first.")
@click.option("--once", is_flag=True, help="Print one snapshot and exit (default without a terminal).")
@click.option("--count", type=click.IntRange(1), help="Print that many snapshots, one after another, and exit.")
@click.pass_obj
def top(
    options: Options, pool: str | None, interval: float, sort_by: str, workers: bool, once: bool, count: int | None
) -> None:
    """Show continuously what the pools, or the workers, are doing.

    Keys: w pools or workers; sort by b busy, r rate, u queue, c CPU, m memory, t time of the current request, n name;
    o reverses the order; arrows scroll; q quits.
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
