"""From a configuration file of another server to a pool file of ours. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from posixpath import dirname
from typing import Literal

from fpm.convert.draft import Draft
from fpm.convert.evaluate import from_values
from fpm.convert.given import Given, Section
from fpm.convert.name import pool_name, valid_name
from fpm.convert.option import Peer
from fpm.convert.page import write
from fpm.convert.php_fpm_options import PHP_FPM
from fpm.convert.read_apache import read_apache
from fpm.convert.read_gunicorn import has_command, read_command, read_gunicorn
from fpm.convert.read_php_fpm import read_php_fpm
from fpm.convert.read_unit import read_unit
from fpm.convert.read_uwsgi import read_uwsgi
from fpm.convert.words import PEERS
from fpm.errors import ConfigError
from fpm.frozen import dataclass

Scope = Literal["global", "pool"]
Names = Mapping[Scope, Collection[str]]
_PHP_FILES = ("pid", "error_log")
_PHP_EXTENSIONS = "app names the only file that is run; .php is not among its extensions"


@dataclass(frozen=True, slots=True)
class Source:
    """A file of another server.

    Attributes:
        file: its name for comments and messages.
        path: absolute.
        kind: the key of its server; "" to guess.
        name: for the pool; "" for the one that the file gives, or the file's own.
        cores: CPUs of this machine.
        known: our directives, by "global" and "pool".
        web_group: the web server's group on this machine; "" if none was found.
        executed: what running the file has set; None if it has not been run.
    """

    file: str
    path: str
    text: str
    kind: str
    name: str
    cores: int
    known: Names
    web_group: str
    executed: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class Converted:
    """The pool file, and its sections as values."""

    kind: str
    text: str
    sections: tuple[Section, ...]


def convert_file(source: Source) -> Converted:
    """Convert a file.

    Raises:
        ConfigError: it is not what it should be, or nobody can tell what it is.
    """
    kind = source.kind or guess(source.file, source.text)
    if not kind:
        sentence = "cannot tell whose configuration this is. Say it with --from"
        raise ConfigError([f"{source.file}: {sentence} {', '.join(PEERS)}"])
    peer = PEERS[kind]
    try:
        sections = _sections(peer, source)
    except SyntaxError as error:
        raise ConfigError([f"{source.file}:{error.lineno or 0}: this is not Python: {error.msg}."]) from None
    except RecursionError:
        raise ConfigError([f"{source.file}: its values are nested too deeply."]) from None
    except ValueError as error:
        raise ConfigError([f"{source.file}: this is not a configuration of {peer.title}: {error}."]) from None
    _refuse_name(source, [section.name for section in sections if section.name != "global"])
    if not sections:
        raise ConfigError([f"{source.file}: no application was found in this configuration of {peer.title}."])
    return Converted(kind, write(source.file, peer.title, sections), tuple(sections))


def _refuse_name(source: Source, names: Sequence[str]) -> None:
    if source.name and source.name != valid_name(source.name):
        raise ConfigError([f"--name {source.name}: no name of a pool. Use letters, digits and . _ @ + ~ -"])
    if source.name and len(names) > 1:
        raise ConfigError([f"--name {source.name}: the file has {len(names)} pools: {', '.join(names)}"])


def guess(file: str, text: str) -> str:
    """Tell whose file this is by what stands in it; "" if that cannot be told."""
    if re.match(r"\s*\{", text):
        return "uwsgi" if re.search(r'"uwsgi"\s*:', text) else "unit"
    tests = (
        ("uwsgi", r"^[ \t]*\[uwsgi\]|^[ \t]*<uwsgi\b|^uwsgi:\s*$"),
        ("mod_wsgi", r"^[ \t]*WSGI[A-Z]\w+\s|^[ \t]*<VirtualHost\b"),
        ("php-fpm", r"^[ \t]*(?:pm(?:\.\w+)?|php_admin_value\[.*\]|listen\.\w+|error_log)\s*="),
    )
    for kind, pattern in tests:
        if re.search(pattern, text, re.MULTILINE):
            return kind
    is_python = file.endswith(".py") or re.search(
        r"^(?:bind|workers|wsgi_app|worker_class|threads|timeout|preload_app)\s*=", text, re.MULTILINE
    )
    return "gunicorn" if is_python or has_command(text) else ""


def _sections(peer: Peer, source: Source) -> list[Section]:
    if peer is PHP_FPM:
        return _php_fpm(source)
    pools, others = _read(peer, source)
    drafts = []
    for name, given in pools.items():
        if not given:
            raise ValueError("it sets nothing")
        draft = Draft(peer, source.name if source.name and len(pools) == 1 else valid_name(name))
        for one in given:
            draft.take(one)
        drafts.append(draft)
    if drafts:
        for one in others:
            drafts[0].take(one)
    return [draft.finish(source.web_group, dirname(source.path)) for draft in drafts]


def _read(peer: Peer, source: Source) -> tuple[Mapping[str, Sequence[Given]], Sequence[Given]]:
    """Return the options of each pool, and those of none."""
    if peer.key == "unit":
        return read_unit(source.text)
    if peer.key == "mod_wsgi":
        return read_apache(source.text)
    given = _given(peer, source)
    return {pool_name(source.path, given): given}, ()


def _given(peer: Peer, source: Source) -> Sequence[Given]:
    """Return the options of a file that has one pool."""
    if peer.key == "uwsgi":
        return read_uwsgi(source.text, source.path, source.cores, lambda word: peer.find(word) is not None)
    if source.executed is not None:
        return from_values(source.executed)
    if not source.file.endswith(".py") and has_command(source.text):
        return read_command(source.text)
    return read_gunicorn(source.text, source.path, source.cores)


def _php_fpm(source: Source) -> list[Section]:
    drafts: dict[str, Draft] = {}
    for section, given in read_php_fpm(source.text):
        draft = drafts.setdefault(section, Draft(PHP_FPM, section))
        name = given.name.partition("[")[0].rstrip().lower()
        scope: Scope = "global" if section == "global" else "pool"
        option = PHP_FPM.find(name)
        if given.reason or option is not None:
            draft.leave(given, given.reason or (option.note if option else ""))
        elif name == "include":
            draft.leave(given, "convert those files as well; pyfpm.conf includes pools.d/*.conf")
        elif section == "global" and name in _PHP_FILES:
            draft.leave(given, "this file is PHP-FPM's; pyfpm.conf names one for pyfpm")
        elif name == "security.limit_extensions":
            draft.leave(given, _PHP_EXTENSIONS)
        elif name in source.known[scope]:
            draft.set(given.name, given.value if isinstance(given.value, str) else "", given, raw=True)
        else:
            draft.leave(given, "pyfpm does not know this directive of PHP-FPM")
    names = [name for name in drafts if name != "global"]
    if source.name and len(names) == 1:
        drafts[names[0]].name = source.name
    directory = dirname(source.path)
    return [
        draft.finish_global() if name == "global" else draft.finish(source.web_group, directory)
        for name, draft in drafts.items()
    ]
