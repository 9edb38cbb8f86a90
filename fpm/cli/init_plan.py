"""What `pyfpm init` is to make, from its options, from answers on a terminal, and from what is found."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import click

from fpm.cli.output import say
from fpm.cli.questions import Questions
from fpm.config.invalid_value import InvalidValue
from fpm.discover.environments import find_venvs
from fpm.discover.project import NoApplication
from fpm.init import plan as rules
from fpm.init.files import has_logs
from fpm.init.look import find_server, is_installed, look_at_project, web_account
from fpm.init.plan import Plan
from fpm.init.project import Details, Found, Static
from fpm.init.servers import SERVERS

T = TypeVar("T")
NO_SERVER = "none"


class Made(NamedTuple):
    """A plan, and how it came about."""

    plan: Plan
    details: Details
    notes: list[str]


def make_plan(questions: Questions, given: dict[str, Any]) -> Made:
    """Take all answers.

    Raises:
        click.UsageError: one is wrong, or is missing where nobody can be asked.
        NoApplication: none was found.
    """
    name = _checked_option("NAME", rules.check_name, given["name"])
    where = questions.take("--directory", "Directory of the project", given["directory"], os.getcwd(), _directory)
    found = _find(questions, given["app"], where)
    directory = _checked_option("--directory", _directory, found.directory)
    server = questions.take("--server", f"Web server ({', '.join(SERVERS)}, none)", given["server"], _server(), _known)
    statics, notes = _statics(given["statics"], found.details)
    web_user, web_group = _web_account(server, notes)
    plan = Plan(
        name=name,
        what=found.what,
        app=found.app,
        directory=directory,
        venv=questions.take("--venv", "Virtual environment", given["venv"], _found_venv(where, directory), _venv),
        user=questions.take("--user", "User of the pool", given["user"], name.lower(), rules.check_user),
        listen=questions.take("--listen", "Socket", given["listen"], f"/run/pyfpm/{name}.sock", rules.check_listen),
        web_user=web_user,
        web_group=web_group,
        logs=has_logs() or makes_logs(given),
        server="" if server == NO_SERVER else server,
        domains=_domains(questions, given["domains"], server),
        statics=statics,
        proxies=tuple(_checked_option("--behind-proxy", rules.check_network, one) for one in given["proxies"]),
    )
    if not plan.logs:
        notes.append(f"there is no directory {rules.LOG_DIRECTORY}, so the slow log is a comment in the pool file")
    return Made(plan, found.details, [*found.details.notes, *notes])


def makes_logs(given: dict[str, Any]) -> bool:
    """Tell whether the directory of logs is made if it is missing: where the files are those of this machine."""
    return not given["dry_run"] and not given["output"] and os.geteuid() == 0


def _find(questions: Questions, given: str | None, directory: str) -> Found:
    """Find the application, or ask for it."""
    try:
        found = look_at_project(given or "", directory)
    except NoApplication as error:
        if given or not questions.asks:
            raise
        say(str(error))
        found = look_at_project(questions.take("--app", "Application", None, None, rules.check_app), directory)
    app = questions.take("--app", "Application", found.app if given else None, found.app, rules.check_app)
    return found if app == found.app else look_at_project(app, directory)


def _found_venv(*directories: str) -> str:
    """Return the likeliest virtual environment, "" if there is none."""
    return next((venv for directory in directories for venv in find_venvs(directory, os.environ)), "")


def _domains(questions: Questions, given: tuple[str, ...], server: str) -> tuple[str, ...]:
    if server == NO_SERVER:
        return ()
    return questions.take_several("--domain", "Domains of the site", given, None, rules.check_domain)


def _statics(given: tuple[str, ...], details: Details) -> tuple[tuple[Static, ...], list[str]]:
    """Return the given static files, else those that were found, with notes about others."""
    if given:
        return tuple(_checked_option("--static", rules.parse_static, one) for one in given), []
    statics, notes = rules.usable_statics(details.statics)
    return statics, [*details.static_notes, *notes]


def _web_account(server: str, notes: list[str]) -> tuple[str, str]:
    """Return user and group of the web server, to whom the socket is opened."""
    if server == NO_SERVER:
        return web_account(SERVERS["nginx"])
    known = SERVERS[server]
    user, group = web_account(known)
    if not user:
        names = ", ".join(known.users)
        raise click.UsageError(f"there is no user of {known.title} here ({names}): install it first, or --server none")
    if not is_installed(known):
        notes.append(f"{known.title} is not installed here: look at listen.group = {group} when it is")
    return user, group


def _checked_option(option: str, check: Callable[[str], T], text: str) -> T:
    try:
        return check(text)
    except InvalidValue as refusal:
        raise click.BadParameter(str(refusal), param_hint=option) from None


def _server() -> str:
    return find_server() or "nginx"


def _known(text: str) -> str:
    if text not in (*SERVERS, NO_SERVER):
        raise InvalidValue(f"'{text}' is none of {', '.join(SERVERS)}, none")
    return text


def _directory(text: str) -> str:
    path = rules.check_path(os.path.abspath(os.path.expanduser(text)), "the project's directory")
    if not os.path.isdir(path):
        raise InvalidValue(f"there is no directory '{path}'")
    return path


def _venv(text: str) -> str:
    if not text:
        return ""
    path = rules.check_path(os.path.abspath(os.path.expanduser(text)), "the virtual environment")
    if not os.path.exists(os.path.join(path, "bin", "python")):
        raise InvalidValue(f"'{path}' is no virtual environment: it has no bin/python. Make it: python3 -m venv {path}")
    return path
