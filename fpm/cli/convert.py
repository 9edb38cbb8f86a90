"""`pyfpm convert`: the configuration of another server as a pool file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import click

from fpm.cli.options import examples, format_option
from fpm.cli.output import complain, inform, print_json, print_page
from fpm.config.directives import DIRECTIVES
from fpm.config.local_system import user_name
from fpm.convert.convert import Converted, Source, convert_file
from fpm.convert.page import count
from fpm.convert.words import PEERS
from fpm.errors import EXIT_FAILED, ConfigError, FpmError, advise
from fpm.init.look import find_server, web_account
from fpm.init.servers import SERVERS
from fpm.paths.files import replace_file

FILE_MAX = 1 << 20
EXECUTE_TIME = 30.0
"""Seconds that a configuration file in Python may run."""
_EXECUTE = """
import json, os, runpy, sys
fd = int(sys.argv[2])
sys.path.insert(0, os.getcwd())
found = {}
for name, value in runpy.run_path(sys.argv[1]).items():
    if callable(value) and hasattr(value, "__code__"):
        found[name] = f"def {name}(...)"
    elif not name.startswith("_") and not isinstance(value, type(sys)) and not callable(value):
        try:
            found[name] = json.loads(json.dumps(value))
        except (TypeError, ValueError):
            found[name] = repr(value)
os.write(fd, json.dumps(found).encode()) if len(json.dumps(found)) < 60000 else sys.exit("its settings are too long")
"""


class FileError(FpmError):
    """A file cannot be read or written: no mistake in what it says."""

    exit_status = EXIT_FAILED


@click.command(
    epilog=examples(
        "pyfpm convert /etc/uwsgi/apps-enabled/shop.ini",
        "pyfpm convert gunicorn.conf.py --name shop --output shop.conf",
    )
)
@click.argument("source", metavar="FILE")
@click.option("--from", "kind", type=click.Choice(list(PEERS)), help="Whose file it is; otherwise its content tells.")
@click.option("--name", default="", metavar="NAME", help="Name of the pool, if the file has one.")
@click.option("--output", metavar="FILE", help="Write a new file instead of standard output.")
@click.option("--execute", is_flag=True, help="Run a configuration file of Gunicorn to see what it sets.")
@format_option()
def convert(source: str, kind: str | None, name: str, output: str | None, execute: bool, form: str) -> None:
    """Print the configuration of another server as a pool file.

    FILE is uWSGI's ini, XML or YAML file, Gunicorn's configuration file, a unit file, script or Dockerfile that calls
    gunicorn, a pool file of PHP-FPM, the JSON of NGINX Unit, or Apache's file with directives of mod_wsgi. Each of its
    options becomes a directive, or a comment that says why not. A file in Python is read, not run, unless --execute is
    given.
    """
    text = _read(source)
    path = os.path.abspath(source)
    executed = _execute(path) if execute else None
    known = {scope: frozenset(table) for scope, table in DIRECTIVES.items()}
    converted = convert_file(
        Source(
            file=os.path.basename(source),
            path=path,
            text=text,
            kind=kind or ("gunicorn" if execute else ""),
            name=name,
            cores=os.cpu_count() or 1,
            known=known,
            web_group=web_account(SERVERS[find_server() or "nginx"])[1],
            executed=executed,
        )
    )
    if output is not None:
        _write(output, converted.text)
    if form == "json":
        print_json(_as_document(converted, output))
        return
    if output is None:
        print_page(converted.text, newline=False)
    _report(converted, output)


def _read(file: str) -> str:
    try:
        with open(file, "rb") as opened:
            data = opened.read(FILE_MAX + 1)
    except OSError as error:
        raise FileError(f"cannot read {file}: {error.strerror}") from None
    if len(data) > FILE_MAX:
        raise ConfigError([f"{file} is larger than {FILE_MAX >> 20} MiB. Is it a configuration file?"])
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError([f"{file}:{line}: the file is not UTF-8 text. Save it as UTF-8."]) from None


def _execute(path: str) -> dict[str, Any]:
    """Run a configuration file in a process of its own, with this user's rights; return what it sets."""
    owner = os.stat(path).st_uid
    if os.geteuid() == 0 and owner != 0:
        name = user_name(owner)
        sentence = f"{path} belongs to {name}, and root does not run it. Write: runuser -u {name} -- pyfpm convert ..."
        raise ConfigError([sentence])
    reader, writer = os.pipe()
    try:
        command = [sys.executable, "-c", _EXECUTE, path, str(writer)]
        done = subprocess.run(
            command,
            pass_fds=[writer],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=os.path.dirname(path),
            timeout=EXECUTE_TIME,
            check=False,
        )
        os.close(writer)
        writer = -1
        if done.returncode:
            last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or ["it says nothing"]
            raise ConfigError([f"{path} cannot be run (exit status {done.returncode}): {last[0]}"])
        values: dict[str, Any] = json.loads(os.read(reader, 1 << 16))
        return values
    except subprocess.TimeoutExpired:
        raise ConfigError([f"{path} was still running after {EXECUTE_TIME:g} s, and has been killed"]) from None
    finally:
        for fd in (reader, writer):
            if fd >= 0:
                os.close(fd)


def _write(output: str, text: str) -> None:
    """Write a new file; it may hold passwords of the environment, so others cannot read it."""
    if os.path.lexists(output):
        raise FileError(f"{output} exists already; nothing has been written. Remove it, or name another")
    try:
        replace_file(output, text.encode(), 0o640)
    except OSError as error:
        raise FileError(f"cannot write {output}: {advise(error, 'name another file')}") from None


def _as_document(converted: Converted, output: str | None) -> dict[str, Any]:
    """Return the file, and its sections: what has become of each option."""
    sections = [
        {
            "name": one.name,
            "directives": {
                name: [carried.value, *(other.value for other in carried.others)] if carried.others else carried.value
                for name, carried in one.directives.items()
            },
            "global": {name: carried.value for name, carried in one.for_all.items()},
            "to_complete": one.to_complete,
            "not_carried_over": [{"line": left.line, "option": left.shown, "reason": left.reason} for left in one.left],
        }
        for one in converted.sections
    ]
    return {"ok": True, "from": converted.kind, "output": output, "text": converted.text, "sections": sections}


def _report(converted: Converted, output: str | None) -> None:
    """Say on standard error how much there is to do."""
    title = PEERS[converted.kind].title
    names = ", ".join(one.name for one in converted.sections)
    left = sum(len(one.left) for one in converted.sections)
    where = f"{output}: " if output else ""
    rest = f"not carried over: {count(left, 'option')}, see the comments" if left else "every option is carried over"
    inform(f"NOTICE: {where}{names}, from {title}; {rest}")
    for section in converted.sections:
        for name, advice in section.to_complete.items():
            complain(f"pyfpm: [{section.name}] {name} is to be completed: {advice}")
