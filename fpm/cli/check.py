"""`pyfpm test`: reads and checks the configuration, and changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from fpm.cli.imports import chosen_pools, import_all, report_imports, status_of
from fpm.cli.options import Options, examples, format_option
from fpm.cli.output import inform, print_json, say
from fpm.cli.probe import stack_notices
from fpm.cli.without_file import Source, choose_source, take_options
from fpm.config.build import refuse_obstacles
from fpm.config.dump import dump
from fpm.config.model import Config
from fpm.errors import EXIT_OK, ConfigError


@click.command(epilog=examples("pyfpm test", "pyfpm test --dump | grep max_children", "pyfpm test --import shop"))
@click.argument("pools", nargs=-1, metavar="[POOL]...")
@click.option("--dump", is_flag=True, help="Print every effective value.")
@click.option("--import", "imports", is_flag=True, help="Import the applications, as their users, too.")
@format_option()
@take_options
@click.pass_context
def test(ctx: click.Context, /, pools: tuple[str, ...], dump: bool, imports: bool, form: str, **values: Any) -> None:
    """Check the configuration; nothing is changed.

    All mistakes are reported at once, each with file and line, and whether stacks can be taken on this machine. With
    --import the application of each pool, or of the named ones, is then really imported as the pool's user, beside the
    daemon; nothing of it is left. Exit status 78: there is a mistake. 1: an application cannot be imported.
    """
    source = choose_source(ctx.obj, values)
    if pools and not imports:
        raise click.UsageError("names of pools go with --import: the configuration is checked as a whole.")
    wanted = pools if imports else None
    if imports and not isinstance(source, Options):
        raise click.UsageError("--import needs a configuration file.")
    ctx.exit((check_for_programs if form == "json" else check)(source, with_dump=dump, imports=wanted))


def check(source: Source, *, with_dump: bool, imports: Sequence[str] | None = None) -> int:
    """Read, check and report, for `pyfpm test`; short-lived processes try whether ptrace works.

    Args:
        imports: names of pools whose applications are imported as well; empty: all; None: no pool.

    Raises:
        ConfigError: with every error, and all that a pool lacks on this machine.
    """
    config = refuse_obstacles(source.load())
    if with_dump:
        for line in dump(config):
            say(line)
    for notice in config.notices:
        inform(f"NOTICE: {notice}")
    for line in stack_notices(config):
        inform(line)
    inform(f"NOTICE: {source.title} test is successful")
    found = _import(source, config, imports)
    return EXIT_OK if found is None else report_imports(found)


def _import(source: Source, config: Config, names: Sequence[str] | None) -> dict[str, dict[str, Any]] | None:
    if names is None or not isinstance(source, Options):
        return None
    return import_all(source, chosen_pools(config, names))


def check_for_programs(source: Source, *, with_dump: bool, imports: Sequence[str] | None = None) -> int:
    """Do as `check`, and print a JSON document.

    It has `ok`, `configuration`, `errors`, `notices`, `values` by section, and `imports` by pool.
    """
    try:
        config = refuse_obstacles(source.load())
    except ConfigError as error:
        print_json({"ok": False, "configuration": source.title, "errors": error.complaints, "notices": []})
        return error.exit_status
    values: dict[str, dict[str, str]] = {}
    section: dict[str, str] = {}
    for line in dump(config) if with_dump else ():
        name, is_value, value = line.strip().partition(" = ")
        if is_value:
            section[name] = value
        elif name:
            section = values[name.strip("[]")] = {}
    notices = [*config.notices, *stack_notices(config)]
    found = _import(source, config, imports)
    status = EXIT_OK if found is None else status_of(found)
    more: dict[str, Any] = {"values": values} if with_dump else {}
    more |= {} if found is None else {"imports": found}
    print_json({"ok": status == EXIT_OK, "configuration": source.title, "errors": [], "notices": notices, **more})
    return status
