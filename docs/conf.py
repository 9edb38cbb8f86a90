"""How Sphinx makes a site of the Markdown pages beside this file: `make docs`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pygments.lexers.special import TextLexer

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "pyfpm"
author = "the pyfpm authors"
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["conf.py"]
html_theme = "furo"
html_title = "pyfpm"
html_copy_source = False
html_show_sourcelink = False
myst_heading_anchors = 4  # as on the repository's host, so a link works on both
nitpicky = True
PLAIN = ("mermaid", "caddy", "haproxy", "logrotate")
"""Languages of blocks for which Pygments has no colours."""
OUTSIDE = re.compile(r"\[([^]]+)\]\(\.\./([^)#]+)[^)]*\)")
LINK = re.compile(r"^- \[[^]]+\]\(([\w-]+)\.md\)", re.MULTILINE)


def name_files(_: Sphinx, page: str, source: list[str]) -> None:
    """Name files that are not pages of the site; only on the repository's host do links lead to them."""
    source[0] = OUTSIDE.sub(r"\1 (`\2`)", source[0])


def add_contents(_: Sphinx, page: str, source: list[str]) -> None:
    """Give the site its contents: the sections of index.md and the pages that each of them links to."""
    if page != "index":
        return
    for section in source[0].split("\n## ")[1:]:
        title, _, body = section.partition("\n")
        pages = "\n".join(LINK.findall(body))
        source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {title}\n\n{pages}\n```\n"


def setup(app: Sphinx) -> None:
    """Register what this configuration adds to Sphinx."""
    app.connect("source-read", name_files)
    app.connect("source-read", add_contents)
    for language in PLAIN:
        app.add_lexer(language, TextLexer)
