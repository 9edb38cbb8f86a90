"""`pyfpm doctor`: what would go wrong here, and the commands that mend it."""

from __future__ import annotations

import os
import shlex
from typing import Any

import click

from fpm.cli.options import Options, examples, format_option, unknown_pool
from fpm.cli.output import complain, print_json, say
from fpm.cli.probe import unreadable_stacks
from fpm.config.local_system import default_control
from fpm.config.model import Config
from fpm.doctor.examination import Examination, Wanted, can_be_read
from fpm.doctor.findings import Finding, as_values, has_problem
from fpm.doctor.request import Source
from fpm.errors import EXIT_FAILED, FpmError

_HANGS = (
    "pyfpm: a path that {file} names does not answer: its file system hangs, as that of a server that is down. "
    "`findmnt` lists what is mounted"
)


@click.command(epilog=examples("pyfpm doctor", "pyfpm doctor shop --web-user nginx"))
@click.argument("pools", nargs=-1, metavar="[POOL]...")
@format_option()
@click.option("--web-user", metavar="NAME", help="User of the web server, if it is not found.")
@click.option("--nginx-conf", metavar="FILE", help="nginx's main file, if it is not its default.")
@click.option("--no-import", is_flag=True, help="Do not start the applications to see whether they can be.")
@click.pass_context
def doctor(
    ctx: click.Context,
    pools: tuple[str, ...],
    form: str,
    web_user: str | None,
    nginx_conf: str | None,
    no_import: bool,
) -> None:
    """Say what would go wrong here, and how to fix it.

    Each application is started once as its user, in its jail, beside the daemon; nothing else is changed. Exit status
    1: there is a problem; warnings and notes do not count.
    """
    options: Options = ctx.obj
    source = Source(os.path.abspath(options.file), options.prefix, options.allow_root)
    if not can_be_read(source):
        complain(_HANGS.format(file=options.file))
        ctx.exit(EXIT_FAILED)
    config = options.load()
    unknown = [name for name in pools if name not in {pool.name for pool in config.pools}]
    if unknown:
        raise unknown_pool(unknown[0], [pool.name for pool in config.pools])
    wanted = Wanted(
        pools=pools,
        web_user=web_user,
        nginx_file=nginx_conf,
        with_import=not no_import,
        control=_control(options, config),
        pyfpm=shlex.join(["pyfpm", *options.arguments()]),
        stacks=unreadable_stacks,
    )
    try:
        examination = Examination(config, source, wanted)
    except KeyError:
        raise click.BadParameter(f"there is no user '{web_user}'", param_hint="--web-user") from None
    found = _print_json(examination) if form == "json" else _print_text(examination)
    if has_problem(found):
        ctx.exit(EXIT_FAILED)


def _control(options: Options, config: Config) -> str:
    try:
        return options.control_path()
    except FpmError:  # somebody else's daemon runs; nothing can be asked of it
        return default_control(config.global_.file, environ=os.environ, is_root=os.geteuid() == 0)


def _print_json(examination: Examination) -> list[Finding]:
    pools: dict[str, Any] = {}
    everything: list[Finding] = []
    for name, found in examination.run():
        pools[name] = [as_values(one) for one in found]
        everything += found
    machine = pools.pop("")
    print_json({"ok": not has_problem(everything), "pools": pools, "machine": machine})
    return everything


def _print_text(examination: Examination) -> list[Finding]:
    everything: list[Finding] = []
    for name, found in examination.run():
        everything += found
        if name or found:
            say(f"{f'pool {name}' if name else 'all pools'}: {_count(found)}")
        for one in found:
            _print_finding(one)
    return everything


def _count(found: list[Finding]) -> str:
    problems = sum(one.level == "problem" for one in found)
    warnings = sum(one.level == "warning" for one in found)
    parts = [_number(problems, "problem"), _number(warnings, "warning")]
    return ", ".join(part for part in parts if part) or "nothing is wrong"


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' if count > 1 else ''}" if count else ""


def _print_finding(finding: Finding) -> None:
    say(f"  {finding.level}: {finding.check}: {finding.text}")
    for line in finding.quoted.splitlines():
        say(f"    | {line}")
    for line in finding.lines:
        say(f"    write{f' in [{finding.pool}] ({finding.where})' if finding.where else ''}: {line}")
    for command in finding.commands:
        say(f"    run: {command}")
