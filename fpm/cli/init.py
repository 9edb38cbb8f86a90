"""`pyfpm init NAME`: a checked pool file and a web server's site for a project. Asks on a terminal only."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import syslog
from contextlib import suppress
from typing import Any

import click

from fpm.cli.init_plan import Made, make_plan, makes_logs
from fpm.cli.options import Options, examples, format_option
from fpm.cli.output import complain, print_json, print_page, say
from fpm.cli.questions import Questions
from fpm.client.control import ask
from fpm.config.local_system import DEFAULT_FILE
from fpm.errors import ConfigError, FpmError
from fpm.init.files import InitError, Main, check_pool, make_logs, refuse_existing, write_files
from fpm.init.look import find_place, has_unit, has_user
from fpm.init.outcome import Facts, Step, list_steps, useradd
from fpm.init.plan import Plan
from fpm.init.render import render_pool, render_site
from fpm.init.servers import SERVERS, Place

USERADD_TIME = 60.0
_SCRIPT = "pyfpm init shop --directory /srv/shop --domain shop.example.com --yes"
STAND_IN = "nobody"
"""In whose name a pool is checked while its own user is still to be made."""


@click.command(epilog=examples("pyfpm init shop", _SCRIPT))
@click.argument("name")
@click.option("--directory", metavar="DIR", help="The project.  [default: the current directory]")
@click.option(
    "--app", metavar="MODULE:CALLABLE", help="The application, as in shop.wsgi:application.  [default: what is found]"
)
@click.option("--venv", metavar="DIR", help='Its virtual environment; "" for none.  [default: what is found]')
@click.option("--user", metavar="USER", help="User of its own, who need not exist yet.  [default: NAME]")
@click.option("--listen", metavar="ADDRESS", help="The pool's socket.  [default: /run/pyfpm/NAME.sock]")
@click.option("--server", type=click.Choice([*SERVERS, "none"]), help="Web server.  [default: the installed one]")
@click.option("--domain", "domains", multiple=True, metavar="DOMAIN", help="Domain of the site; can be repeated.")
@click.option("--static", "statics", multiple=True, metavar="/PATH=DIR", help="Files that the web server sends itself.")
@click.option("--behind-proxy", "proxies", multiple=True, metavar="NETWORK", help="Trusted proxies before the server.")
@click.option("--systemd", is_flag=True, help="A unit and a master of its own, pyfpm@NAME, instead of one for all.")
@click.option("--create-user", is_flag=True, help="Make the user, instead of printing the command.")
@click.option("--output", metavar="DIR", help="Write all files into DIR, instead of where they are used.")
@click.option("--dry-run", is_flag=True, help="Print the files instead of writing them.")
@click.option("--force", is_flag=True, help="Overwrite files.")
@click.option("--yes", is_flag=True, help="Ask nothing, also on a terminal.")
@format_option()
def init(form: str, **given: Any) -> None:
    """Write a pool file and a web server's site for a project.

    What is left to do is printed, as commands. Django's wsgi module, a Flask `app`, an `application`, a factory and the
    virtual environment are found by reading the sources; nothing of the project is executed. The pool file is checked
    as by `pyfpm test` before it is written.
    """
    options: Options = click.get_current_context().obj
    is_text, is_dry = form == "text", given["dry_run"]
    questions = Questions(asks=is_text and not given["yes"] and sys.stdin.isatty() and sys.stdout.isatty())
    made = make_plan(questions, given)
    if is_text:
        venv = f", venv = {made.plan.venv}" if made.plan.venv else ""
        say(f"found: {made.plan.what}, app = {made.plan.app}{venv}")
    place = find_place(SERVERS[made.plan.server]) if made.plan.server and not given["output"] else None
    texts = _texts(made, options, place, given["output"])
    if not given["force"] and not is_dry:
        refuse_existing(texts)
    if questions.asks and not is_dry:
        click.confirm(f"Write {' and '.join(texts)}?", default=True, abort=True)
    if makes_logs(given):
        make_logs()
    if given["create_user"] and not is_dry and _create_user(made) and is_text:
        say(f"made the user {made.plan.user}")
    notes = _check(made, options, next(iter(texts)), texts, replaces=given["force"] or is_dry)
    if not is_dry:
        write_files(texts)
    facts = _look_at_machine(made, options, place, next(iter(texts)) if given["systemd"] else "")
    steps = list_steps(made.plan, made.details, facts)
    if is_text:
        _print_files(made.plan, texts, is_dry=is_dry)
        _conclude(notes, steps)
    else:
        print_json(_as_document(made.plan, texts, notes, steps) | {"written": not is_dry})


def _texts(made: Made, options: Options, place: Place | None, output: str | None) -> dict[str, str]:
    """Return the texts of the files by their absolute paths; the pool file is the first."""
    plan = made.plan
    pools = (
        os.path.abspath(output) if output else os.path.join(os.path.dirname(os.path.abspath(options.file)), "pools.d")
    )
    texts = {os.path.join(pools, f"{plan.name}.conf"): render_pool(plan)}
    if plan.server and output:
        texts[os.path.join(pools, f"{plan.name}.{SERVERS[plan.server].template}")] = render_site(plan)
    elif place is not None:
        texts[os.path.join(place.directory, place.file.replace("{name}", plan.name))] = render_site(plan)
    return texts


def _create_user(made: Made) -> bool:
    """Make the user of the pool; False if there is one."""
    if has_user(made.plan.user):
        return False
    command = useradd(made.plan)
    done = subprocess.run(command, capture_output=True, text=True, timeout=USERADD_TIME, check=False)
    if done.returncode:
        raise InitError(f"the user {made.plan.user} cannot be made: {done.stderr.strip()} ({shlex.join(command)})")
    return True


def _check(made: Made, options: Options, path: str, texts: dict[str, str], *, replaces: bool) -> list[str]:
    """Check the pool file; return what should be known about it.

    Raises:
        ConfigError: the pool could not start; nothing has been written.
    """
    plan = made.plan
    main = Main(os.path.abspath(options.file), options.prefix, options.allow_root)
    known = has_user(plan.user)
    text = texts[path] if known else texts[path].replace(f"\nuser = {plan.user}\n", f"\nuser = {STAND_IN}\n")
    verdict = check_pool(text, path, plan.name, main, alone=replaces and os.path.lexists(path))
    if verdict.errors or (known and verdict.obstacles):
        raise ConfigError([*verdict.errors, *verdict.obstacles, "nothing has been written"])
    notes = list(made.notes)
    if verdict.others:
        notes.append(f"other files of the configuration have mistakes, so nothing starts: {verdict.others[0]}")
    return notes + [line.replace(f"user {STAND_IN}", f"user {plan.user}") for line in verdict.obstacles]


def _look_at_machine(made: Made, options: Options, place: Place | None, unit_file: str) -> Facts:
    is_default = options.file == DEFAULT_FILE
    return Facts(
        has_user=has_user(made.plan.user),
        is_running=not unit_file and _is_running(options),
        pyfpm=shlex.join(["pyfpm", *(options.arguments() if options != Options() else [])]),
        place=place,
        is_set_up=has_unit() if unit_file else os.path.exists(options.file) or not is_default,
        unit_file=unit_file,
        has_sqlite=bool(made.details.sqlite) and os.path.exists(made.details.sqlite),
    )


def _as_document(plan: Plan, texts: dict[str, str], notes: list[str], steps: list[Step]) -> dict[str, Any]:
    """Return for programs what was found, the files by their paths, and what is left to do."""
    found = {"pool": plan.name, "found": plan.what, "app": plan.app, "directory": plan.directory, "venv": plan.venv}
    return {
        "ok": True,
        **found,
        "files": texts,
        "site": render_site(plan) if _has_homeless_site(plan, texts) else None,
        "notes": notes,
        "steps": [{"why": step.why, "commands": step.commands} for step in steps],
    }


def _has_homeless_site(plan: Plan, texts: dict[str, str]) -> bool:
    """Tell whether there is a site, but no known place for its file."""
    return bool(plan.server) and len(texts) == 1


def _print_files(plan: Plan, texts: dict[str, str], *, is_dry: bool) -> None:
    """Print the files, or where they have been written."""
    if is_dry:
        print_page("\n".join(f"---- {path}\n{text}" for path, text in texts.items()), newline=False)
        return
    for path in texts:
        say(f"wrote {path}")
    if _has_homeless_site(plan, texts):
        print_page(f"\nThe site for {SERVERS[plan.server].title}, for which there is no known place here:\n")
        print_page(render_site(plan))


def _conclude(notes: list[str], steps: list[Step]) -> None:
    for note in notes:
        complain(f"note: {note}", priority=syslog.LOG_NOTICE)
    lines = ["", "What is left to do, as root:"]
    for step in steps:
        lines += ["", f"    # {step.why}", *(f"    {command}" for command in step.commands)]
    print_page("\n".join(lines))


def _is_running(options: Options) -> bool:
    """Tell whether a daemon with this configuration answers."""
    with suppress(FpmError):
        return bool(ask(options.control_path(), {"command": "status"}))
    return False
