"""Reads pyfpm.conf and the files that it includes, and returns checked values. The only importer of configobj.

Reading changes nothing: no file is opened for writing, created or removed.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from configobj import ConfigObj, ConfigObjError

from fpm.config import directives
from fpm.config.build import build
from fpm.config.file_text import FILE_MAX, foreign_files, read_regular
from fpm.config.local_system import DEFAULT_FILE, LocalSystem, default_control
from fpm.config.model import Config
from fpm.config.read import Sections
from fpm.config.section import Diagnostics, Section, SourceLocation
from fpm.config.source import COMPLAINTS_MAX, number_lines, read_name, read_value
from fpm.config.values import forget_shared
from fpm.errors import ConfigError

FILES_MAX = 20_000
NESTING_MAX = 5
"""As in PHP-FPM (fpm_conf.c, ini_recursion)."""


def load(
    path: str,
    *,
    prefix: str | None = None,
    environ: Mapping[str, str],
    is_root: bool,
    allow_root: bool = False,
    pid_override: str | None = None,
) -> Config:
    """Read and check the configuration whose main file is `path`.

    `prefix` is the directory of `-p`, `pid_override` the path of `-g`. `environ` feeds `${NAME}` and `env[X] = $NAME`.

    Raises:
        ConfigError: lists every error in all files, one line each: `file:line: [pool] directive: sentence`.
    """
    return load_with_sections(
        path, prefix=prefix, environ=environ, is_root=is_root, allow_root=allow_root, pid_override=pid_override
    )[0]


def load_with_sections(
    path: str,
    *,
    prefix: str | None = None,
    environ: Mapping[str, str],
    is_root: bool,
    allow_root: bool = False,
    pid_override: str | None = None,
) -> tuple[Config, Sections]:
    """Do as `load`, and return also where each directive stands."""
    path = os.path.abspath(path)
    report = Diagnostics()
    sections = Sections(SourceLocation(0, 0, path), environ, report)
    _Files(sections).read_main(path)
    try:
        system = LocalSystem(environ=environ, is_root=is_root, allow_root=allow_root)
        config = build(
            sections,
            system,
            file=path,
            prefix=os.path.abspath(prefix) if prefix else os.path.dirname(path),
            pid_override=os.path.abspath(pid_override) if pid_override else None,
        )
    finally:
        forget_shared()
    if config is None:
        raise ConfigError([*report.errors(), *foreign_files(report)])
    return config, sections


def find_control(path: str, *, prefix: str | None = None, environ: Mapping[str, str], is_root: bool) -> str:
    """Find the control socket of the daemon that runs with this main file, even if the file has errors now.

    Raises:
        ConfigError: the file cannot be read at all, or its `control` is wrong.
    """
    path = os.path.abspath(path)
    report = Diagnostics()
    sections = Sections(SourceLocation(0, 0, path), environ, report)
    if not os.path.exists(path) and path == DEFAULT_FILE:
        return default_control(path, environ=environ, is_root=is_root)
    _Files(sections, follow=False).read_main(path)
    if sections.incomplete or not sections.global_.is_valid("control"):
        raise ConfigError(report.errors())
    setting = sections.global_.settings.get("control")
    if setting is None or not setting.text:
        return default_control(path, environ=environ, is_root=is_root)
    return os.path.join(os.path.abspath(prefix) if prefix else os.path.dirname(path), setting.text)


def find_pools(path: str, *, environ: Mapping[str, str]) -> list[str]:
    """Name the pools of this main file, as far as its files can be read; whether they are right is not looked at."""
    path = os.path.abspath(path)
    sections = Sections(SourceLocation(0, 0, path), environ, Diagnostics())
    _Files(sections).read_main(path)
    return list(sections.pools)


class Logs(NamedTuple):
    """The error log ("": not set), access and slow logs by pool (None: none), why there may be others, syslog.ident."""

    error: str
    access: dict[str, str | None]
    slow: dict[str, str | None]
    complaints: list[str]
    ident: str


def find_logs(path: str, *, prefix: str | None = None, environ: Mapping[str, str]) -> Logs:
    """Find the logs without checking anything else: whoever may read them may look, also at another machine's."""
    path = os.path.abspath(path)
    report = Diagnostics()
    sections = Sections(SourceLocation(0, 0, path), environ, report)
    _Files(sections).read_main(path)
    base = os.path.abspath(prefix) if prefix else os.path.dirname(path)
    found: dict[str, dict[str, str | None]] = {"access.log": {}, "slowlog": {}}
    is_whole = not sections.incomplete
    for pool in sections.pools.values():
        for name, paths in found.items():
            own, log = (pool.settings[one].text if one in pool.settings else "" for one in ("prefix", name))
            paths[pool.name] = os.path.join(base, own, log) if log else None
        is_whole = is_whole and pool.is_valid("prefix", "slowlog") and pool.is_valid("access.log")
    general = sections.global_.settings
    error, ident = (general[name].text if name in general else "" for name in ("error_log", "syslog.ident"))
    error = os.path.join(base, error) if error not in ("", "syslog") else error
    return Logs(error, found["access.log"], found["slowlog"], [] if is_whole else report.errors(), ident or "pyfpm")


class Statement(NamedTuple):
    """A section head (value None) or `name = value`, the value still in its quotes."""

    line: int
    name: str
    value: str | None


class _Files:
    """Reads files into sections, following includes."""

    def __init__(self, sections: Sections, *, follow: bool = True) -> None:
        self._sections = sections
        self._report = sections.report
        self._follow = follow
        self._count = 0
        self._open: list[str] = []
        """Real paths of the files being read, the outermost first."""

    def read_main(self, path: str) -> None:
        self._read(path, self._sections.global_, None)

    def _read(self, path: str, section: Section, included_at: SourceLocation | None) -> None:
        """Read one file; lines before its first section head belong to `section`, which includes it."""
        location = SourceLocation(self._count, 0, path)
        self._count += 1
        text = self._text(location, section, included_at or location)
        if text is None:
            self._sections.incomplete = True
            return
        numbered = number_lines(text)
        if not included_at and not any(numbered.lines) and not numbered.complaints:
            self._report.error(location, "global", "", "the file is empty. See pyfpm.conf(5) for what to write")
        self._open.append(os.path.realpath(path))
        heads = [(0, section.name)]
        for statement in self._statements(numbered.lines, location):
            if self._report.is_full:
                self._sections.incomplete = True
                break
            here = location._replace(line=statement.line)
            if statement.value is None:
                section = self._sections.open(statement.name, here)
                heads.append((statement.line, section.name))
            elif statement.name.lower() == directives.INCLUDE:
                self._include(section, statement.value, here)
            else:
                self._sections.assign(section, statement.name, read_value(statement.value), here)
        self._open.pop()
        self._sections.incomplete |= len(numbered.complaints) > COMPLAINTS_MAX
        for line, complaint in numbered.complaints:
            name = [name for start, name in heads if start <= line][-1]
            self._report.error(location._replace(line=line), name, "", complaint)

    def _statements(self, lines: list[str], location: SourceLocation) -> Iterator[Statement]:
        try:
            tree = ConfigObj(lines, interpolation=False, list_values=False, raise_errors=True)
        except ConfigObjError as error:
            # number_lines removes what ConfigObj rejects; if it misses something, ConfigObj's message has the line.
            line = getattr(error, "line_number", 0) or 0
            self._report.error(location._replace(line=line), "global", "", f"{error.args[0].rstrip('.')}")
            return
        yield from _entries(tree, tree.scalars)
        for numbered in tree.sections:
            yield Statement(*read_name(numbered), None)
            yield from _entries(tree[numbered], tree[numbered].scalars)

    def _include(self, section: Section, value: str, location: SourceLocation) -> None:
        if not self._follow:
            return
        text, literal = read_value(value)
        pattern = text if literal else self._sections.expanded(section, directives.INCLUDE, text, location)
        if pattern is None:
            return
        if not pattern:
            self._complain(section, location, "there is no path. Write include = pools.d/*.conf, or remove the line")
            return
        pattern = os.path.join(os.path.dirname(location.file), pattern)
        matches = sorted(match for match in glob.glob(pattern) if not os.path.isdir(match))
        if not matches:
            self._report.notice(
                location, section.name, directives.INCLUDE, f"Nothing matches the include pattern '{pattern}'"
            )
        for match in matches:
            self._include_one(section, match, location)

    def _include_one(self, section: Section, path: str, location: SourceLocation) -> None:
        if os.path.realpath(path) in self._open:
            self._complain(section, location, f"{path} would include itself. Exclude it from the pattern")
        elif len(self._open) >= NESTING_MAX:
            self._complain(
                section,
                location,
                f"failed to include {path}, files are nested more than {NESTING_MAX} levels deep. Include it from a "
                "file at a higher level",
            )
        elif self._count >= FILES_MAX:
            if self._count == FILES_MAX:
                self._complain(section, location, f"there are more than {FILES_MAX} files. Is the pattern too broad?")
                self._count += 1
        else:
            self._read(path, section, location)

    def _complain(self, section: Section, location: SourceLocation, sentence: str) -> None:
        self._sections.incomplete = True
        self._report.error(location, section.name, directives.INCLUDE, sentence)

    def _text(self, file: SourceLocation, section: Section, location: SourceLocation) -> str | None:
        """Read the text of a file; if that fails, report an error at `location` and return None."""
        path = file.file
        try:
            data = read_regular(path)
        except OSError as error:
            self._report.error(
                location, section.name, "", f"failed to open configuration file '{path}': {error.strerror}"
            )
            return None
        if len(data) > FILE_MAX:
            self._report.error(
                location,
                section.name,
                "",
                f"'{path}' is larger than {FILE_MAX // 1048576} MiB. Is it a configuration file?",
            )
            return None
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            self._report.error(
                file._replace(line=line), section.name, "", "the file is not UTF-8 text. Save it as UTF-8"
            )
            return None


def _entries(tree: Any, names: list[str]) -> Iterator[Statement]:
    for numbered in names:
        yield Statement(*read_name(numbered), tree[numbered])
