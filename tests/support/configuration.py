"""Configuration files for unit tests: text to Config or to complaints."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from fpm.config.build import refuse_obstacles
from fpm.config.load import load
from fpm.config.model import Config, PoolConfig
from fpm.errors import ConfigError

POOL = {"app": "wsgiref.simple_server:demo_app", "listen": "9000", "pm": "ondemand", "pm.max_children": "5"}
"""What every pool needs."""


def section(name: str, **changes: str | None) -> str:
    """A pool as text: POOL with changes; None leaves a directive out. `__` in a name stands for its `.`."""
    values: dict[str, str | None] = {**POOL, **{key.replace("__", "."): value for key, value in changes.items()}}
    lines = [f"{key} = {value}" for key, value in values.items() if value is not None]
    return "\n".join([f"[{name}]", *lines]) + "\n"


class Files:
    """A directory with configuration files, read as `root` or as the user who runs the tests."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environ: Mapping[str, str] = {}

    def write(self, name: str, text: str | bytes) -> Path:
        """Write a file, directories made as needed."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def load(self, text: str | None = None, *, is_root: bool = False, allow_root: bool = False) -> Config:
        """Load main.conf, written first if there is text."""
        if text is not None:
            self.write("main.conf", text)
        path = str(self.directory / "main.conf")
        return load(path, environ=self.environ, is_root=is_root, allow_root=allow_root)

    def pool(self, text: str, *, is_root: bool = False, allow_root: bool = False) -> PoolConfig:
        """The only pool of this text."""
        (pool,) = self.load(text, is_root=is_root, allow_root=allow_root).pools
        return pool

    def complaints(self, text: str | None = None, *, is_root: bool = False, allow_root: bool = False) -> list[str]:
        """What `test` says against main.conf, with the directory left out of it."""
        with pytest.raises(ConfigError) as caught:
            refuse_obstacles(self.load(text, is_root=is_root, allow_root=allow_root))
        return [complaint.replace(f"{self.directory}{os.sep}", "") for complaint in caught.value.complaints]

    def notices(self, text: str, *, is_root: bool = False, allow_root: bool = False) -> list[str]:
        """The notices of a sound main.conf, with the directory left out of them."""
        config = self.load(text, is_root=is_root, allow_root=allow_root)
        return [notice.replace(f"{self.directory}{os.sep}", "") for notice in config.notices]
