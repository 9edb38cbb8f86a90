"""`pyfpm slow`: show from the slow logs where the time of slow requests goes."""

from __future__ import annotations

import gzip
import io
import os
import re
import stat
import time
import zlib
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import click

from fpm.cli.options import Options, examples, format_option, unknown_pool
from fpm.cli.output import complain, print_json, say
from fpm.config.load import find_logs, find_pools
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


@click.command(epilog=examples("pyfpm slow --since 1h", "pyfpm slow shop --by longest", "pyfpm slow slow.log.1.gz"))
@click.argument("names", nargs=-1, metavar="[POOL|FILE]...")
@click.option("--since", type=Since(), help="Only entries since then: 1h, 2d, today, 10:30, 2026-11-21T10:00.")
@click.option("--pool", "more", multiple=True, metavar="POOL", hidden=True)
@click.option(
    "--sort",
    "--by",
    "by",
    type=click.Choice(("total", "count", "longest")),
    default="total",
    show_default=True,
    help="Sort by the total time of requests, their number, or the longest one.",
)
@click.option("-n", "top", type=click.IntRange(1), metavar="N", help=f"Show at most N [default: {SHOWN}; json: all].")
@click.option("--top", "top", type=click.IntRange(1), hidden=True)
@click.option("--full", is_flag=True, help="Show every frame, those of libraries, too.")
@format_option()
@click.pass_context
def slow(
    ctx: click.Context,
    names: tuple[str, ...],
    since: float | None,
    more: tuple[str, ...],
    by: str,
    top: int | None,
    full: bool,
    form: str,
) -> None:
    """Show where the time of slow requests goes.

    Entries of the slow logs are grouped by their stack. Without FILE, these are the slow logs of all configured pools,
    or of each POOL. A FILE may be compressed with gzip; - is standard input.
    """
    grouping = Grouping()
    named, files = _split(ctx.obj, names)
    pools = (*named, *more)
    configured, failed = ([], []) if files else _configured(ctx.obj, pools)
    for path in files or configured:
        failure = _read(path, grouping, since, pools, is_named=bool(files))
        if failure:
            failed.append(failure + ("" if os.path.lexists(path) else files.get(path, "")))
    groups = ordered(grouping.finish(), by)
    if form == "json":
        _print_json(grouping, groups[:top])
    elif grouping.entries:
        _show(grouping, groups, top or SHOWN, full=full)
    elif not failed:
        say("no entries" + (" since then" if since is not None else ""))
    for failure in failed:
        complain(f"pyfpm: {failure}")
    if failed:
        ctx.exit(EXIT_FAILED)


def _split(options: Options, names: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Return the names that are pools', and the others, files, each with what to say besides if there is none.

    A file that is called as a pool is ./NAME.
    """
    is_unclear = any(name != "-" and "/" not in name for name in names)
    known = find_pools(options.file, environ=os.environ) if is_unclear else []
    hint = f". There is no pool of this name either; there are: {', '.join(known)}" if known else ""
    files = {name: "" if set(name) & set("/.") else hint for name in names if name not in known}
    return [name for name in names if name in known], files


def _configured(options: Options, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the slow logs of the named pools, or of all, and why there may be more.

    Raises:
        ConfigError: there are mistakes, and no slow log has been found.
        click.ClickException: there is no such pool, or no slow log.
    """
    logs = find_logs(options.file, prefix=options.prefix, environ=os.environ)
    known, complaints = logs.slow, logs.complaints
    unknown = [name for name in names if name not in known]
    if complaints and (unknown or not any(known.values())):
        raise ConfigError(complaints)
    if unknown:
        raise unknown_pool(unknown[0], known)
    paths = {name: known[name] for name in names or known}
    if not any(paths.values()):
        which = f"pool {', '.join(names)}" if names else "any pool"
        raise click.ClickException(f"slowlog is not set for {which} in {options.file}. Give a FILE, or set slowlog")
    return sorted({path for path in paths.values() if path is not None}), complaints


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
    print_json(value)


def _show(grouping: Grouping, groups: Sequence[Group], top: int, *, full: bool) -> None:
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
        parts += ["", *(tables.line(cell) for cell in slow_rows.group_lines(number, group, full=full))]
    tables.show(console, parts)
