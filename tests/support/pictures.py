"""The pictures of the documents, of a real daemon: `python -m tests.support.pictures` writes docs/pictures (as root).

It takes a quarter of an hour, which is seen in the charts.
"""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

from tests.support.directories import opened_directory
from tests.support.guide import HERE, NAMESPACES
from tests.support.markdown import TOP

PICTURES = TOP / "docs" / "pictures"
SIZE_MAX = 150_000
PAGES = {"status": ("", "1160,700"), "pool": ("pool/shop", "1160,1000")}
"""What is photographed: the page, and the size of the window."""
SCRIPT = """
FORCE_COLOR=1 COLUMNS=104 pyfpm top --once >/tmp/top
base64 -w0 /tmp/top
photograph() { # PAGE SIZE
    chromium --headless --no-sandbox --disable-gpu --run-all-compositor-stages-before-draw --hide-scrollbars \
        --window-size="$2" --user-data-dir=/tmp/profile --screenshot=/tmp/page.png \
        "http://127.0.0.1:9001/$1" >/dev/null 2>&1
    echo
    base64 -w0 /tmp/page.png
}
"""
END = """
kill $(jobs -rp) 2>/dev/null
"""
PATIENCE = 1800
"""Seconds."""


def take() -> list[bytes]:
    """What `pyfpm top` prints, with its colours, and PAGES as PNG."""
    shots = "".join(f'photograph "{page}" {size}\n' for page, size in PAGES.values())
    with opened_directory() as directory:
        (directory / "page.sh").write_text(SCRIPT + shots + END)
        command = ["bash", str(HERE / "world.sh"), str(TOP), str(HERE / "pictures.sh"), str(directory / "page.sh")]
        done = subprocess.run([*NAMESPACES, *command], capture_output=True, timeout=PATIENCE, check=False, cwd="/")
    sys.stderr.write(done.stderr.decode())
    return [base64.b64decode(part) for part in done.stdout.split()[: 1 + len(PAGES)]]


def draw_terminal(printed: str) -> str:
    """The lines as a picture of a terminal."""
    with Path(os.devnull).open("w") as nowhere:
        console = Console(record=True, width=104, file=nowhere, force_terminal=True, color_system="truecolor")
        console.print(Text.from_ansi(f"$ pyfpm top\n\n{printed}"))
        drawn = console.export_svg(title="pyfpm top")
    return re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL)  # nothing is loaded from elsewhere


def main() -> None:
    """Take them."""
    printed, *pages = take()
    PICTURES.mkdir(exist_ok=True)
    shot = [(f"{name}.png", page) for name, page in zip(PAGES, pages, strict=True)]
    for name, content in [("top.svg", draw_terminal(printed.decode()).encode()), *shot]:
        assert len(content) < SIZE_MAX, f"{name} has {len(content)} bytes"
        (PICTURES / name).write_bytes(content)


if __name__ == "__main__":
    main()
