"""`pyfpm list` and `pyfpm config`: what the configuration says, whether the daemon runs or not."""

from __future__ import annotations

import difflib

import click

from fpm.cli.columns import Cell, Column
from fpm.cli.options import Options, examples, format_option, unknown_pool
from fpm.cli.output import print_json
from fpm.config.directives import find
from fpm.config.model import PoolConfig
from fpm.config.origins import DEFAULT, Effective, effective_values


@click.command("list", epilog=examples("pyfpm list", "pyfpm list --format json | jq -r .pools[].name"))
@format_option()
@click.pass_obj
def list_pools(options: Options, form: str) -> None:
    """List the pools of the configuration.

    Their name, user, address, application and file. The daemon need not run, and what a pool lacks on this machine does
    not matter here: see `pyfpm test`.
    """
    pools = [_row(pool) for pool in options.load().pools]
    if form == "json":
        print_json({"pools": pools})
        return
    heads = {"name": "POOL", "user": "USER", "listen": "LISTEN", "app": "APP", "file": "FILE"}
    ranks = {"name": 0, "listen": 1, "app": 2, "user": 3, "file": 4}
    _show([Column(head, [Cell(row[name]) for row in pools], ranks[name]) for name, head in heads.items()])


def _row(pool: PoolConfig) -> dict[str, str]:
    return {
        "name": pool.name,
        "user": pool.identity.user if pool.identity is not None else "",
        "listen": str(pool.listen),
        "app": pool.app,
        "file": pool.where,
    }


@click.command(
    epilog=examples(
        "pyfpm config shop --changed", "pyfpm config shop pm.max_children", "pyfpm config shop --format json"
    )
)
@click.argument("pool")
@click.argument("directive", required=False)
@click.option("--changed", is_flag=True, help="Only values that are not the default.")
@format_option()
@click.pass_obj
def config(options: Options, pool: str, directive: str | None, changed: bool, form: str) -> None:
    """Show a pool's values, and where each comes from.

    These are the effective values, with the file and line of each; `default` where nothing has set it, `derived` where
    it follows from others.
    """
    whole, sections = options.load_with_sections()
    chosen = next((one for one in whole.pools if one.name == pool), None)
    if chosen is None:
        raise unknown_pool(pool, [one.name for one in whole.pools])
    values = [
        one
        for one in effective_values(chosen, sections.pools[pool.lower()])
        if (directive is None or _is_named(one, directive)) and not (changed and one.where == DEFAULT)
    ]
    if directive is not None and find("pool", directive.partition("[")[0]) is None:
        raise click.UsageError(_unknown_directive(directive))
    if form == "json":
        found = {one.name: {"value": one.text, "from": one.where} for one in values}
        print_json({"pool": chosen.name, "where": chosen.where, "values": found})
        return
    _show(
        [
            Column("DIRECTIVE", [Cell(one.name) for one in values], 0),
            Column("VALUE", [Cell(one.text) for one in values], 0),
            Column("FROM", [Cell(one.where, "dim" if one.where == DEFAULT else "") for one in values], 0),
        ]
    )


def _is_named(one: Effective, directive: str) -> bool:
    wanted = find("pool", directive.partition("[")[0])
    name = wanted.name if wanted is not None else directive
    return one.name == directive or ("[" not in directive and one.name.partition("[")[0] == name)


def _unknown_directive(name: str) -> str:
    from fpm.config.directives import POOL_DIRECTIVES

    near = difflib.get_close_matches(name.lower(), POOL_DIRECTIVES, n=1)
    return f"there is no directive '{name}'" + (f"; did you mean '{near[0]}'?" if near else "")


def _show(columns: list[Column]) -> None:
    from fpm.cli.tables import make_console, show, table  # rich, for text only

    console = make_console()
    show(console, [table(columns, console.width)])
