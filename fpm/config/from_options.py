"""Checks a configuration that options and variables give, by the rules that apply to files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace

from fpm.config.build import build
from fpm.config.local_system import DEFAULT_FILE, LocalSystem
from fpm.config.model import Config
from fpm.config.options_values import APP, DEFAULTS, NAME, POOL, Given, merge, read_variables, speak_of_options
from fpm.config.read import Sections
from fpm.config.section import Diagnostics, SourceLocation
from fpm.config.values import forget_shared
from fpm.errors import ConfigError

ORIGIN = "options"
"""Stands for the file name in messages about what nothing gives."""

UNKNOWN = "no directive has this name, so it is ignored. pyfpm.conf(5) lists them all"


def load_options(
    options: Sequence[Given],
    *,
    name: str | None,
    environ: Mapping[str, str],
    prefix: str,
    allow_root: bool,
    pid_override: str | None = None,
) -> Config:
    """Check the values and build a configuration with one pool from them; an option has precedence over a variable.

    Args:
        options: from the command line.
        name: of the pool; None: that of PYFPM_NAME, or `app`.
        environ: with PYFPM_* variables.
        prefix: absolute; relative paths start there, and the application is there unless `chdir` is given.
        pid_override: the path of `-g`.

    Raises:
        ConfigError: lists every error, one line each: `--listen: [app] listen: sentence`.
    """
    report = Diagnostics()
    sections = Sections(start := SourceLocation(0, 0, ORIGIN), environ, report)
    variables, unknown = read_variables(environ)
    for variable in unknown:
        report.notice(SourceLocation(0, 0, variable), "global", "", UNKNOWN)
    pool = sections.open(name or environ.get(NAME) or POOL, start._replace(file="--name" if name else ORIGIN))
    defaults = [Given("pool", directive, text, ORIGIN) for directive, text in {"chdir": prefix, **DEFAULTS}.items()]
    for value in merge(defaults, variables, options):
        section = sections.global_ if value.scope == "global" else pool
        sections.assign(section, value.name, (value.text, True), start._replace(file=value.origin))
    try:
        system = LocalSystem(environ=environ, is_root=os.geteuid() == 0, allow_root=allow_root)
        # As with the default file, the commands find the daemon without being told where.
        config = build(sections, system, file=DEFAULT_FILE, prefix=prefix, pid_override=pid_override)
    finally:
        forget_shared()
    if config is None:
        raise ConfigError([speak_of_options(complaint) for complaint in report.errors()])
    return replace(config, global_=replace(config.global_, file=config.pools[0].app))


def is_wanted(environ: Mapping[str, str]) -> bool:
    """Tell whether the variables describe a pool."""
    return bool(environ.get(APP))
