"""`pyfpm top`: the pools or their workers, live."""

from __future__ import annotations

import sys

import click

from fpm.cli.options import Options, examples, format_option

SORTS = ("busy", "rate", "queue", "cpu", "memory", "time", "name")
URL_SORTS = ("time", "requests", "cpu", "p95", "growth", "errors", "name")
"""With `--by url`; the first one of each is the default."""
BY = ("pool", "worker", "url")


@click.command(
    epilog=examples("pyfpm top", "pyfpm top shop", "pyfpm top --once --sort memory", "pyfpm top --by url shop")
)
@click.argument("pool", required=False)
@click.option(
    "--interval",
    default=2.0,
    type=click.FloatRange(0.1, 3600.0),
    metavar="SECONDS",
    show_default=True,
    help="Seconds between two snapshots.",
)
@click.option(
    "--by", type=click.Choice(BY), help="Show pools, each worker (default with POOL), or what each URL costs."
)
@click.option(
    "--sort",
    "sort_by",
    type=click.Choice([*SORTS, *(name for name in URL_SORTS if name not in SORTS)]),
    help=f"Sort key (default: {SORTS[0]}; with --by url {URL_SORTS[0]}, or {', '.join(URL_SORTS[1:])}).",
)
@click.option("--full", is_flag=True, help="Show each worker instead of the pools.")
@click.option("--workers", "full", is_flag=True, hidden=True)
@click.option("--once", is_flag=True, help="Print one snapshot and exit (default without a terminal).")
@click.option(
    "-n", "--count", type=click.IntRange(1), metavar="N", help="Print N snapshots, one after another, and exit."
)
@format_option()
@click.pass_obj
def top(
    options: Options,
    pool: str | None,
    interval: float,
    by: str | None,
    sort_by: str | None,
    full: bool,
    once: bool,
    count: int | None,
    form: str,
) -> None:
    """Show continuously what pools and workers are doing.

    Keys: Enter opens a pool, t traces a worker, / filters, w shows workers or pools, a URLs, o reverses the order; sort
    by b busy, r rate, u queue, c CPU, m memory, l time of the current request, n name; h shows all keys; q quits.
    """
    urls = by == "url"
    sorts = URL_SORTS if urls else SORTS
    if sort_by is not None and sort_by not in sorts:
        raise click.UsageError(f"--sort {sort_by} is not for these rows; there are: {', '.join(sorts)}")
    # Late: rich is for those who look, not for the daemon.
    from fpm.cli import top_screen
    from fpm.cli.top_figures import BY_NAME
    from fpm.cli.top_routes import ROUTE_BY_NAME
    from fpm.cli.top_view import View
    from fpm.cli.top_watch import Watched

    view = View(sort=BY_NAME[SORTS[0]], workers=full or by == "worker" or (pool is not None and by is None), urls=urls)
    if urls:
        view.route_sort = ROUTE_BY_NAME[sort_by or URL_SORTS[0]]
    else:
        view.sort = BY_NAME[sort_by or SORTS[0]]
    watched = Watched(options.control_path(), pool, routes=urls)
    if form == "json":
        top_screen.print_documents(watched, view, interval, count or 1)
    elif once or count or not (sys.stdin.isatty() and sys.stdout.isatty()):
        top_screen.print_pictures(watched, view, interval, count or 1)
    else:
        top_screen.run_live(watched, view, interval)
