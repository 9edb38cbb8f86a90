"""The script tests/apps/board.fcgi, as it was written for flup and with the one import changed."""

from __future__ import annotations

from pathlib import Path

from tests.support.fpm import APPS
from tests.support.interpreter import pool_python

FLUP = "from flup.server.fcgi_fork import WSGIServer"
OURS = "from fpm import WSGIServer"


def write_script(directory: Path, *, line: str = OURS, name: str = "board.fcgi", guard: bool = True) -> Path:
    """Put the script into a directory, executable, with `line` as its import.

    Args:
        guard: false leaves `if __name__ == "__main__"` away, as many scripts do.
    """
    text = (APPS / "board.fcgi").read_text()
    assert FLUP in text
    text = text.replace(FLUP, line).replace("#!/usr/bin/env python3", f"#!{pool_python()}")
    if not guard:
        text = text.replace('if __name__ == "__main__":', "if True:")
    script = directory / name
    script.write_text(text)
    script.chmod(0o755)
    return script
