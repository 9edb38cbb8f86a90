"""Checks a configuration that a program gives as values, by the rules that apply to files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from fpm.config.build import build
from fpm.config.code_text import CODE, speak_of_code
from fpm.config.code_values import assign_values
from fpm.config.local_system import LocalSystem
from fpm.config.model import Config
from fpm.config.read import Sections
from fpm.config.section import Diagnostics, SourceLocation
from fpm.config.values import forget_shared
from fpm.errors import ConfigError
from fpm.frozen import dataclass


@dataclass(frozen=True, slots=True)
class ConfigValues:
    """A whole configuration as values by attribute name: `pm_max_children` is the directive pm.max_children."""

    global_: Mapping[str, Any]
    pools: Sequence[tuple[str, Mapping[str, Any]]]
    name: str
    """Name of the configuration in the title of the master process."""
    prefix: str
    """Directory in which relative paths start."""
    allow_root: bool = False


def load_values(values: ConfigValues, environ: Mapping[str, str]) -> Config:
    """Check the values and build a configuration from them.

    Raises:
        ConfigError: lists every error, one line each: `Pool('shop', pm_max_children=...): sentence`.
    """
    report = Diagnostics()
    location = SourceLocation(0, 0, CODE)
    sections = Sections(location, environ, report)
    assign_values(sections.global_, values.global_, location, report)
    for number, (name, directives) in enumerate(values.pools, 1):
        own = SourceLocation(number, 0, CODE)
        if name.lower() in sections.pools:
            report.error(own, name, "", "there are two pools with this name. Use a different name for each")
            continue
        assign_values(sections.open(name, own), directives, own, report)
    try:
        system = LocalSystem(environ=environ, is_root=os.geteuid() == 0, allow_root=values.allow_root)
        config = build(sections, system, file=CODE, prefix=values.prefix, pid_override=None)
    finally:
        forget_shared()
    if config is None:
        raise ConfigError([speak_of_code(complaint) for complaint in report.errors()])
    obstacles = {name: tuple(map(speak_of_code, lines)) for name, lines in config.obstacles.items()}
    notices = tuple(map(speak_of_code, config.notices))
    settings = replace(config.global_, file=values.name)
    return replace(config, global_=settings, obstacles=obstacles, notices=notices)
