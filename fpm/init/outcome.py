"""What is left to the administrator after the files have been written: commands, in their order. Pure."""

from __future__ import annotations

import posixpath

from fpm.doctor.shell import as_user, join
from fpm.frozen import dataclass
from fpm.init.plan import Plan
from fpm.init.project import Details, is_below
from fpm.init.servers import SERVERS, Place


@dataclass(frozen=True, slots=True)
class Step:
    """Something to do."""

    why: str
    """As in "the user of the pool"."""
    commands: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of this machine."""

    has_user: bool
    is_running: bool
    """The daemon answers."""
    pyfpm: str
    """The command with its options."""
    place: Place | None = None
    """Where the site has been written."""
    is_set_up: bool = True
    """`pyfpm setup` has run: the main configuration file and the units are there."""
    unit_file: str = ""
    """The pool file, if the pool gets a unit and a master of its own."""
    has_sqlite: bool = False
    """The file of the SQLite database is there."""


def useradd(plan: Plan) -> tuple[str, ...]:
    """Return the command that makes the pool's user."""
    return (
        *("useradd", "--system", "--user-group", "--no-create-home"),
        *("--home-dir", plan.directory, "--shell", "/usr/sbin/nologin", plan.user),
    )


def list_steps(plan: Plan, details: Details, facts: Facts) -> list[Step]:
    """List what is left to do, in the order in which it must be done."""
    steps = [] if facts.is_set_up else [Step("directories, the main configuration file, the units", ("pyfpm setup",))]
    if not facts.has_user:
        steps.append(Step("the user of the pool", (join(*useradd(plan)),)))
    if details.collects_static and plan.statics:
        steps.append(_collect(plan))
    if details.migrates:
        steps.append(_migrate(plan, details.sqlite, facts))
    pyfpm = join("pyfpm", "-c", facts.unit_file) if facts.unit_file else facts.pyfpm
    steps.append(Step("check all of it", (f"{pyfpm} test", f"{pyfpm} doctor {plan.name}")))
    steps.append(Step("start the pool", _start(plan, facts)))
    if facts.place is not None:
        commands = tuple(_fill(plan, command) for command in facts.place.steps)
        steps.append(Step(f"the site in {SERVERS[plan.server].title}", commands))
    return steps


def _collect(plan: Plan) -> Step:
    """Have Django copy its static files to where the web server sends them from."""
    target = plan.statics[0].directory
    below = [one.directory for one in plan.statics[1:] if is_below(one.directory, plan.directory)]
    return Step(
        "static files, and the directories that the application writes to",
        (
            *(join("install", "-d", "-o", plan.user, "-g", plan.user, path) for path in (target, *below)),
            _manage(plan, "collectstatic", "--noinput"),
        ),
    )


def _migrate(plan: Plan, sqlite: str, facts: Facts) -> Step:
    """Have Django make the tables of its database, as the user who will write to it."""
    commands = [_manage(plan, "migrate")]
    if not sqlite:
        return Step("the tables of the database", tuple(commands))
    if facts.has_sqlite:
        commands.insert(0, join("chown", "-h", f"{plan.user}:{plan.user}", sqlite))
    # SQLite puts its journal beside the database.
    commands.insert(0, join("install", "-d", "-o", plan.user, "-g", plan.user, posixpath.dirname(sqlite)))
    return Step("the database: SQLite writes to its directory as well, the code stays root's", tuple(commands))


def _manage(plan: Plan, *words: str) -> str:
    python = f"{plan.venv}/bin/python" if plan.venv else "python3"
    return as_user(plan.user, python, f"{plan.directory}/manage.py", *words)


def _start(plan: Plan, facts: Facts) -> tuple[str, ...]:
    # The socket units are for the usual address and Debian's usual group.
    by_socket = (plan.listen, plan.web_group) == (f"/run/pyfpm/{plan.name}.sock", "www-data")
    if facts.unit_file:
        unit = f"systemctl enable --now pyfpm@{plan.name}"
        return (f"{unit}.socket", unit) if by_socket else (unit,)
    if facts.is_running:
        return (f"{facts.pyfpm} reload {plan.name}",)
    return (f"systemctl enable --now {f'pyfpm-pool@{plan.name}.socket ' if by_socket else ''}pyfpm",)


def _fill(plan: Plan, command: str) -> str:
    modules = "".join(SERVERS[plan.server].proxy_modules) if plan.proxies else ""
    return command.replace("{name}", plan.name).replace("{modules}", modules)
