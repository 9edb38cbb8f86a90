"""The only way by which text of commands reaches a terminal; tables go by way of fpm.cli.columns.Cell.

Applications have a hand in errors, tracebacks, URIs and whole responses: what could drive a terminal is escaped, and
none of their lines stands where one of ours could.
"""

from __future__ import annotations

import codecs
import io
import json
import os
import syslog
from collections.abc import Callable
from typing import Any, TextIO

import click

from fpm.log.escape import escape_lines
from fpm.log.lines import INDENT
from fpm.log.target import is_journal


def say(text: str) -> None:
    """Print one message; if it has more lines, they are indented."""
    click.echo(_escaped(text))


def complain(text: str, *, priority: int = syslog.LOG_ERR) -> None:
    """Print one message on standard error in the same way; the journal is told its priority (sd-daemon(3))."""
    head = f"<{priority}>" if has_journal() else ""
    click.echo(head + _escaped(text).replace("\n", f"\n{head}"), err=True)


def _escaped(text: str) -> str:
    return escape_lines(text.rstrip("\n")).replace("\n", f"\n{INDENT}")


def has_journal() -> bool:
    """Tell whether standard error is the journal: we are called by a unit, where the daemon's log is read as well."""
    return is_journal(2, os.environ.get("JOURNAL_STREAM", ""))


def inform(text: str) -> None:
    """Print one message that is no complaint on standard error."""
    complain(text, priority=syslog.LOG_NOTICE)


def quote(text: str) -> None:
    """Print what an application has said, a traceback for example, on standard error."""
    if text:
        complain(INDENT + text)


def print_page(text: str, *, newline: bool = True) -> None:
    """Print a whole page of ours, in which the texts of others are already parts of lines."""
    click.echo(escape_lines(text), nl=newline)


def print_json(value: dict[str, Any]) -> None:
    """Print one JSON document. It is ASCII, so that nothing in it drives a terminal."""
    click.echo(json.dumps(value, indent=2))


def byte_printer(stream: TextIO) -> Callable[[bytes], None]:
    """Return a function that prints what is received: as it is to a pipe or a file, as escaped text to a terminal."""
    if not stream.isatty():
        return lambda data: _write_raw(stream, data)
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")("surrogateescape"), translate=True)

    def show(data: bytes) -> None:
        stream.write(escape_lines(decoder.decode(data, final=not data)))
        stream.flush()

    return show


def _write_raw(stream: TextIO, data: bytes) -> None:
    stream.buffer.write(data)
    stream.buffer.flush()


def show_error(error: click.ClickException) -> None:
    """Print a mistake on the command line."""
    if isinstance(error, click.UsageError):
        if error.ctx is not None:
            click.echo(escape_lines(error.ctx.get_usage()), err=True)
        path = error.ctx.command_path if error.ctx is not None else "pyfpm"
        click.echo(f"Try '{path} --help' for help.\n", err=True)
    complain(f"pyfpm: {error.format_message()}")
