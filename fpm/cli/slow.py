"""`pyfpm slow`: show from the slow logs where the time of slow requests goes."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import stat
import time
import zlib
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import click

from fpm.cli.options import Options
from fpm.cli.output import complain, print_page, say
from fpm.config.load import SlowLogs, find_slowlogs
from fpm.errors import EXIT_FAILED, ConfigError
from fpm.stacks.text.group import Group, Grouping, ordered
from fpm.stacks.text.read import read_entries

CHUNK = 256 * 1024
SHOWN = 10
GZIP = b"\x1f\x8b"
"""RFC 1952, section 2.3.1."""


_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_SPAN = re.compile(r"(\d{1,9})(s|min|m|h|d|w)")
_CLOCK = re.compile(r"\d{1,2}:\d{2}(:\d{2})?")


def parse_since(text: str, now: float) -> float:
    """Parse `90m`, `1h`, `2d`, `1w` (ago), `today`, `yesterday`, `10:30` (today) or a date with or without a time.

    A date is `2026-11-21` or `2026-11-21T10:00`; times are local unless they have an offset.

    Args:
        now: epoch seconds.

    Returns:
        Epoch seconds.

    Raises:
        ValueError: it is none of these; the text lists them.
    """
    word = text.strip()
    span = _SPAN.fullmatch(word)
    if span is not None:
        return now - int(span[1]) * _UNITS[span[2]]
    midnight = datetime.fromtimestamp(now).replace(hour=0, minute=0, second=0, microsecond=0)
    try:
        if word in ("today", "yesterday"):
            return (midnight - timedelta(days=word == "yesterday")).timestamp()
        if _CLOCK.fullmatch(word):
            word = (
                f"{midnight.date().isoformat()}T{word:0>5}" if word.count(":") == 1 else f"{midnight.date()}T{word:0>8}"
            )
        return datetime.fromisoformat(word).timestamp()
    except (ValueError, OverflowError, OSError) as error:
        raise ValueError(
            f"expected 90m, 1h, 2d, today, yesterday, 10:30 or 2026-11-21T10:00, found '{text}'"
        ) from error


class Since(click.ParamType[float]):
    """The command line's type for a time, such as 1h or today."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Convert the option's text to epoch seconds."""
        try:
            return parse_since(str(value), time.time())
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command()
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option("--since", type=Since(), help="Only entries since then: 1h, 2d, today, 10:30, 2026-11-21T10:00.")
@click.option("--pool", "pools", multiple=True, metavar="POOL", help="Only this pool; may be given several times.")
@click.option(
    "--by",
    type=click.Choice(("total", "count", "longest")),
    default="total",
    show_default=True,
    help="Sort by total time, number of requests, or the longest request.",
)
@click.option(
    "--top", type=click.IntRange(min=1), metavar="N", help=f"Show at most N [default: {SHOWN}; all with --json]."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.pass_context
def slow(
    ctx: click.Context,
    files: tuple[str, ...],
    since: float | None,
    pools: tuple[str, ...],
    by: str,
    top: int | None,
    as_json: bool,
) -> None:
    """Group slow-log entries by stack.

    Without FILE, read the slow logs of the configured pools. A FILE may be compressed with gzip; - is standard input.
    """
    grouping = Grouping()
    configured, failed = SlowLogs({}, []) if files else _configured(ctx.obj, pools)
    for path in files or sorted({path for path in configured.values() if path is not None}):
        failure = _read(path, grouping, since, pools, is_named=bool(files))
        if failure:
            failed.append(failure)
    groups = ordered(grouping.finish(), by)
    if as_json:
        _print_json(grouping, groups[:top])
    elif grouping.entries:
        _show(grouping, groups, top or SHOWN)
    elif not failed:
        say("no entries" + (" since then" if since is not None else ""))
    for failure in failed:
        complain(f"pyfpm: {failure}")
    if failed:
        ctx.exit(EXIT_FAILED)


def _configured(options: Options, names: Sequence[str]) -> SlowLogs:
    """Return the slow logs of the named pools, or of all.

    Raises:
        ConfigError: there are mistakes, and no slow log has been found.
        click.ClickException: there is no such pool, or no slow log.
    """
    known, complaints = find_slowlogs(options.file, prefix=options.prefix, environ=os.environ)
    unknown = [name for name in names if name not in known]
    if complaints and (unknown or not any(known.values())):
        raise ConfigError(complaints)
    if unknown:
        raise click.ClickException(f"there is no pool '{unknown[0]}'; there are: {', '.join(known)}")
    paths = {name: known[name] for name in names or known}
    if not any(paths.values()):
        which = f"pool {', '.join(names)}" if names else "any pool"
        raise click.ClickException(f"slowlog is not set for {which} in {options.file}. Give a FILE, or set slowlog")
    return SlowLogs(paths, complaints)


def _read(path: str, grouping: Grouping, since: float | None, pools: Sequence[str], *, is_named: bool) -> str:
    """Add a file's entries to the grouping.

    Returns:
        Why it could not be read completely; "" if it could.
    """
    try:
        with _open(path, is_named=is_named) as file:
            for entry in read_entries(_chunks(file)):
                if (since is None or entry.time >= since) and (not pools or entry.pool in pools):
                    grouping.add(entry)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        return f"{path}: damaged, only the readable part is counted: {error}"
    except OSError as error:
        return f"{path}: {error.strerror or error}"
    return ""


def _open(path: str, *, is_named: bool) -> io.BufferedReader | gzip.GzipFile:
    """Open a log, decompressing it if necessary.

    A configured log that is a FIFO or a terminal is rejected: reading could block, and would consume its lines.

    Raises:
        OSError: it cannot be opened.
    """
    if not is_named and not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(0, "this slow log is not a regular file; give the FILE in which it is saved")
    name = 0 if path == "-" else path
    file = open(name, "rb", closefd=name != 0)  # noqa: SIM115  the caller closes it
    if file.peek(len(GZIP))[: len(GZIP)] != GZIP:
        return file
    return gzip.GzipFile(fileobj=file, mode="rb")


def _chunks(file: io.BufferedReader | gzip.GzipFile) -> Iterator[bytes]:
    while chunk := file.read(CHUNK):
        yield chunk


def _print_json(grouping: Grouping, groups: Sequence[Group]) -> None:
    # Imported late, as below, because the daemon does not need them.
    from fpm.cli.slow_rows import group_object

    value = {
        "entries": grouping.entries,
        "requests": grouping.requests,
        "stacks": len(grouping.groups),
        "groups": [group_object(group) for group in groups],
    }
    print_page(json.dumps(value))


def _show(grouping: Grouping, groups: Sequence[Group], top: int) -> None:
    # Imported late, because the daemon does not need rich.
    from fpm.cli import slow_rows, tables
    from fpm.cli.columns import Cell

    shown = groups[:top]
    console = tables.make_console()
    head = slow_rows.head_line(grouping.entries, grouping.requests, len(groups), len(shown))
    parts: list[Any] = [
        tables.line(Cell(head, "bold")),
        "",
        tables.table(slow_rows.group_columns(shown), console.width),
    ]
    for number, group in enumerate(shown, 1):
        parts += ["", *(tables.line(cell) for cell in slow_rows.group_lines(number, group))]
    tables.show(console, parts)
