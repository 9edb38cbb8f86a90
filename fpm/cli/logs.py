"""`pyfpm logs`: error log, access logs and slow logs together, by time."""

from __future__ import annotations

import json
import os
import select
from collections.abc import Callable, Iterable, Sequence

import click

from fpm.cli.log_entries import Kind, LogEntry, Wanted
from fpm.cli.log_files import LogFile
from fpm.cli.log_journal import JournalLog, find_journal
from fpm.cli.options import Options, examples, format_option, unknown_pool
from fpm.cli.output import complain, inform, print_page
from fpm.cli.slow import Since
from fpm.config.load import Logs, find_logs
from fpm.errors import EXIT_FAILED, ConfigError
from fpm.log.lines import Level

SHOWN = 50
PAUSE = 0.25
"""Seconds between two looks at the files."""
STREAMS = {"": "standard error", "/dev/stderr": "standard error", "/dev/stdout": "standard output"}
ELSEWHERE = (
    "the {kind} log is the daemon's {stream}: look in the journal (journalctl -u pyfpm) or at the output of the "
    "container; of a daemon started in the background, in syslog (journalctl -t pyfpm)"
)
SYSLOG = "the error log goes to syslog: look in the journal (journalctl -t pyfpm) or in /var/log/syslog"


Log = LogFile | JournalLog


@click.command(epilog=examples("pyfpm logs -f", "pyfpm logs shop --since 10m", "pyfpm logs --level warning -n 200"))
@click.argument("pools", nargs=-1, metavar="[POOL]...")
@click.option("-f", "--follow", is_flag=True, help="Go on with what is logged from now on.")
@click.option("-n", "count", type=click.IntRange(1), metavar="N", help=f"Show at most N entries [default: {SHOWN}].")
@click.option("--since", type=Since(), help="Only entries since then: 1h, 2d, today, 10:30, 2026-11-21T10:00.")
@click.option(
    "--level",
    type=click.Choice([level.name.lower() for level in Level], case_sensitive=False),
    default="debug",
    show_default=True,
    help="Only entries of at least this level; access logs are notices, slow logs warnings.",
)
@click.option("--full", is_flag=True, help="Show every frame, those of libraries, too.")
@click.option("--pool", "more", multiple=True, hidden=True)
@format_option()
@click.pass_context
def logs(
    ctx: click.Context,
    pools: tuple[str, ...],
    more: tuple[str, ...],
    follow: bool,
    count: int | None,
    since: float | None,
    level: str,
    full: bool,
    form: str,
) -> None:
    """Show error, access and slow logs together.

    Entries are sorted by time, each line with its pool and its log before it; json: an object a line. Only the files
    that the configuration names are read, and the journal if the daemon logs there, with the rights of the caller.
    Exit status 1: one of them cannot be read.
    """
    pools += more
    files = _files(ctx.obj, pools)
    wanted = Wanted(frozenset(pools), Level[level.upper()], since or 0.0)
    show = _Printer(form=form, full=full).show
    failed, entries = _read_last(files, wanted, None if since is not None else count or SHOWN)
    show(entries[-count:] if count else entries)
    if follow:
        _follow(files, wanted, show)
    if failed:
        ctx.exit(EXIT_FAILED)


def _files(options: Options, names: Sequence[str]) -> list[Log]:
    """Return the logs that there are, and say where those go that can be found in no file and no journal.

    Raises:
        ConfigError: there are mistakes, and no log has been found.
        click.ClickException: there is no such pool.
    """
    found = find_logs(options.file, prefix=options.prefix, environ=os.environ)
    unknown = [name for name in names if name not in found.slow]
    if unknown and not found.complaints:
        raise unknown_pool(unknown[0], found.slow)
    journal: list[Log] = []
    if not unknown and found.error in ("syslog", *STREAMS):
        journal = _journal(options, found)
    files = _named_files(found, names)
    if found.complaints and (unknown or not (files or journal)):
        raise ConfigError(found.complaints)
    return [*journal, *(LogFile(path, kind, pools) for (path, kind), pools in files.items())]


def _journal(options: Options, found: Logs) -> list[Log]:
    """Return the journal if the daemon logs there, or say where its log goes."""
    is_syslog = found.error == "syslog"
    journal = find_journal(options, is_syslog=is_syslog, ident=found.ident)
    if journal is not None:
        return [journal]
    inform(SYSLOG if is_syslog else ELSEWHERE.format(kind="error", stream=STREAMS[found.error]))
    return []


def _named_files(found: Logs, names: Sequence[str]) -> dict[tuple[str, Kind], tuple[str, ...]]:
    """Return the pools of each file; several may log to one."""
    files: dict[tuple[str, Kind], tuple[str, ...]] = {}
    if found.error not in ("syslog", *STREAMS):
        files[found.error, "error"] = ()
    by_kind: tuple[tuple[Kind, dict[str, str | None]], ...] = (("access", found.access), ("slow", found.slow))
    for kind, paths in by_kind:
        for pool, path in paths.items():
            if path in STREAMS and (not names or pool in names):
                inform(f"pool {pool}: {ELSEWHERE.format(kind=kind, stream=STREAMS[path])}")
            elif path and (not names or pool in names):
                files[path, kind] = (*files.get((path, kind), ()), pool)
    return files


def _read_last(files: Sequence[Log], wanted: Wanted, count: int | None) -> tuple[bool, list[LogEntry]]:
    """Return whether a file could not be read, and the last entries of all: `count` of them, or those since then."""

    def is_enough(entries: Sequence[LogEntry]) -> bool:
        if count is None:
            return bool(entries) and entries[0].time < wanted.since
        return sum(map(wanted.has, entries)) > count  # the first one may be the rest of another

    failed, shown = False, []
    for file in files:
        try:
            file.open()
            shown += [entry for entry in file.read_last(is_enough) if wanted.has(entry)]
        except FileNotFoundError:
            inform(f"{file.path}: there is no such file yet")
        except OSError as error:
            failed = True
            complain(f"pyfpm: {file.path}: {error.strerror or error}")
    ordered = sorted(shown, key=lambda entry: entry.time)
    return failed, ordered if count is None else ordered[-count:]


def _follow(files: Sequence[Log], wanted: Wanted, show: Callable[[list[LogEntry]], None]) -> None:
    """Show new entries until Ctrl-C; a file that cannot be read any more is named once."""
    left = list(files)
    try:
        while left:
            select.select([], [], [], PAUSE)
            fresh: list[LogEntry] = []
            for file in list(left):
                try:
                    fresh += file.read_new()
                except OSError as error:
                    left.remove(file)
                    complain(f"pyfpm: {file.path}: {error.strerror or error}")
            show(sorted((entry for entry in fresh if wanted.has(entry)), key=lambda entry: entry.time))
    except KeyboardInterrupt:
        return  # the way to end it
    finally:
        for file in files:
            file.close()


class _Printer:
    """Prints entries; the labels are as wide as the widest so far."""

    def __init__(self, *, form: str, full: bool) -> None:
        self._form = form
        self._full = full
        self._width = 0

    def show(self, entries: Iterable[LogEntry]) -> None:
        """Print them at once, for whoever reads a pipe."""
        told = list(entries)
        self._width = max([self._width, *(len(entry.label) for entry in told)])
        for entry in told:
            if self._form == "json":
                print_page(json.dumps(entry.as_object()))
            else:
                for line in entry.lines(full=self._full):
                    print_page(f"{entry.label:<{self._width}}  {line}")
