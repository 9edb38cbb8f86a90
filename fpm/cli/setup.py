"""`pyfpm setup`: prepare a machine: directories, configuration, units, manual pages, completions."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import sysconfig

import click

from fpm.cli.completion import completion_scripts
from fpm.cli.options import examples, format_option
from fpm.cli.output import inform, print_json, say
from fpm.errors import EXIT_FAILED
from fpm.setup.disk import NOT_EMPTY, Machine, read_shipped
from fpm.setup.items import Layout, SetupError, find_shadow, list_items
from fpm.setup.plan import Record, Step, plan_removal, plan_setup

_SYSTEMD = "/run/systemd/system"
_UNIT_OF_A_PACKAGE = "/usr/lib/systemd/system/pyfpm.service"
_NEXT = """next: `pyfpm init NAME` in the directory of your application writes /etc/pyfpm/pools.d/NAME.conf
(/etc/pyfpm/pools.d/www.conf.sample shows all that it may contain), and prints the commands that start it"""
_CLOSED = """users of pools cannot enter {directory} (mode {mode:04o}), where this installation lies: each pool needs
`venv` or `python`; or install pyfpm elsewhere, such as in /opt/pyfpm"""


@click.command(epilog=examples("pyfpm setup --dry-run", "pyfpm setup", "pyfpm setup --root /tmp/image --usr /usr"))
@click.option("--dry-run", is_flag=True, help="Only print what would happen.")
@click.option("--remove", is_flag=True, help="Remove what an earlier setup has installed and nobody has changed.")
@click.option("--root", default="/", metavar="DIR", help="Set up the tree of another machine, such as an image.")
@click.option("--usr", default="/usr/local", show_default=True, metavar="DIR", help="Where units and pages go.")
@format_option()
@click.pass_context
def setup(ctx: click.Context, dry_run: bool, remove: bool, root: str, usr: str, form: str) -> None:
    """Prepare this machine: directories, units, pages.

    Run it again after an upgrade: what is there already is kept, and a file that was changed on this machine is never
    overwritten; a new version is then written beside it (FILE.dpkg-dist).
    """
    if not os.path.isdir(root):
        raise click.BadParameter(f"{root} is not a directory", param_hint="--root")
    if not usr.startswith("/"):
        raise click.BadParameter(f"{usr} does not begin with /", param_hint="--usr")
    machine = Machine(root)
    if machine.is_this_one and not dry_run and os.geteuid() != 0:
        raise SetupError("only root can set up this machine (an ordinary user can use --dry-run or --root DIR)")
    if usr != "/usr" and machine.exists(_UNIT_OF_A_PACKAGE):
        raise SetupError(
            f"a package has already set up this machine: {_UNIT_OF_A_PACKAGE} is here; remove one of the two"
        )
    record = machine.load_record()
    steps = _removal(machine, record, dry_run) if remove else _installation(ctx, machine, record, usr)
    refused = [step for step in steps if step.action == "refuse"]
    is_text = form == "text"
    if dry_run or refused:
        for step in steps if is_text else ():
            _print(step)
        _conclude(steps, ["nothing has been changed"], is_text=is_text, is_done=False)
        ctx.exit(EXIT_FAILED if refused else 0)
    done = []
    for step in machine.carry_out(steps, record):
        if step.action != "leave" or step.note != NOT_EMPTY or "pyfpm" in step.path:  # not /usr/local of an image
            done.append(step)
            if is_text:
                _print(step)
    if machine.is_this_one and os.path.isdir(_SYSTEMD):
        subprocess.run(["systemctl", "daemon-reload"], check=True)
    _conclude(done, [] if remove else _notes(machine, steps), is_text=is_text, is_done=True)


def _installation(ctx: click.Context, machine: Machine, record: Record, usr: str) -> list[Step]:
    layout = Layout(_own_script(machine), usr.rstrip("/"), is_image=not machine.is_this_one)
    items = list_items(layout, read_shipped(), completion_scripts(ctx.find_root().command))
    return plan_setup(items, machine.look({*(item.path for item in items), *record}), record)


def _removal(machine: Machine, record: Record, dry_run: bool) -> list[Step]:
    if not record:
        raise SetupError("nothing to remove: there is no record of an earlier setup (/var/lib/pyfpm/setup.json)")
    if machine.is_this_one and not dry_run and _is_active():
        raise SetupError("pyfpm is running (systemctl list-units 'pyfpm*'): first `systemctl disable --now pyfpm`")
    return plan_removal(machine.look(record), record)


def _own_script(machine: Machine) -> str:
    """Return the path of the command of this installation, as the machine will see it."""
    called = os.path.realpath(sys.argv[0])
    candidates = [os.path.join(sysconfig.get_path("scripts"), "pyfpm"), called]
    for path in candidates:
        if os.path.basename(path) == "pyfpm" and os.access(path, os.X_OK):
            return machine.inner(path)
    raise SetupError(f"the command pyfpm of this installation is not in {os.path.dirname(candidates[0])}")


def _is_active() -> bool:
    """Tell whether a unit of ours runs: the service, that of one pool, or a socket."""
    command = ["systemctl", "--quiet", "is-active", "pyfpm*"]
    return os.path.isdir(_SYSTEMD) and subprocess.run(command, check=False).returncode == 0


def _print(step: Step) -> None:
    say(f"{step.action:<7} {step.path}{'/' * step.is_directory}" + (f": {step.note}" if step.note else ""))


def _conclude(steps: list[Step], notes: list[str], *, is_text: bool, is_done: bool) -> None:
    """Print what should be known; for programs the steps as well."""
    if is_text:
        for note in notes:
            inform(note)
        return
    made = [
        {"action": step.action, "path": step.path, "directory": step.is_directory, "note": step.note} for step in steps
    ]
    is_refused = any(step.action == "refuse" for step in steps)
    print_json({"ok": not is_refused, "done": is_done, "steps": made, "notes": notes})


def _notes(machine: Machine, steps: list[Step]) -> list[str]:
    """Return what is in the way on this machine, and what comes next."""
    shadows = {path for step in steps if (path := find_shadow(step.path)) and machine.exists(path)}
    return [
        *(
            f"{path} takes precedence over the unit that was installed; remove it if nothing in it is yours"
            for path in sorted(shadows)
        ),
        *(
            _CLOSED.format(directory=directory, mode=stat.S_IMODE(os.stat(directory).st_mode))
            for directory in _closed_directories()
        ),
        _NEXT,
    ]


def _closed_directories() -> list[str]:
    """Return the outermost directory on the way to this installation that others cannot enter, if there is one."""
    parts = sys.prefix.split("/")
    ways = ["/".join(parts[:count]) for count in range(2, len(parts) + 1)]
    return [way for way in ways if not os.stat(way).st_mode & stat.S_IXOTH][:1]
