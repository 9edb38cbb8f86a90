"""The documents as the tests see them: their code blocks, headings and links, read by the parser that rich brings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

TOP = Path(__file__).parents[2]
DOCUMENTS = [TOP / "README.md", TOP / "CONTRIBUTING.md", TOP / "SECURITY.md", *sorted((TOP / "docs").glob("*.md"))]
NOT_RUN = re.compile(r"<!-- not run: (?P<reason>.+?) -->", re.DOTALL)
FILE = re.compile(r"^(?:#|;|//) (?P<appends>at the end of )?(?P<path>/?[\w.-]+(?:/[\w.-]+)*\.\w+|/etc/[\w/.-]+)$")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its lines, the line of the document where it begins, why it is not run ('')."""

    language: str
    text: str
    line: int
    not_run: str

    @property
    def path(self) -> str:
        """The file that this block is, by the comment in its first line; '' if it is none."""
        found = FILE.match(self.text.partition("\n")[0])
        return found["path"] if found else ""

    @property
    def appends(self) -> bool:
        """Whether it is added to the end of that file."""
        found = FILE.match(self.text.partition("\n")[0])
        return bool(found and found["appends"])


def tokens(document: Path) -> list[Token]:
    """The document's tokens, with tables."""
    return _parse(document.read_text())


@cache
def _parse(text: str) -> list[Token]:
    """Parse a text once for all tests of a process: half of what their collection took."""
    return MarkdownIt("commonmark").enable("table").parse(text)


def blocks(document: Path) -> list[Block]:
    """The code blocks of a document, in its order; an indented one has the language 'indented'."""
    found, reason = [], ""
    for token in tokens(document):
        if token.type in ("fence", "code_block"):
            language = token.info.strip() if token.type == "fence" else "indented"
            found.append(Block(language, token.content, token.map[0] + 1 if token.map else 0, reason))
        marker = NOT_RUN.fullmatch(token.content.strip()) if token.type == "html_block" else None
        if token.type != "list_item_open":
            reason = " ".join(marker["reason"].split()) if marker else ""
    return found


def headings(document: Path) -> list[str]:
    """The anchors of its headings, as GitHub and Sphinx make them."""
    found: list[str] = []
    sequence = tokens(document)
    for opening, inline in pairwise(sequence):
        if opening.type == "heading_open":
            text = "".join(child.content for child in inline.children or [] if child.type in ("text", "code_inline"))
            slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            found.append(slug if slug not in found else f"{slug}-{found.count(slug)}")
    return found


def links(document: Path) -> Iterator[str]:
    """Where its links and pictures lead."""
    for token in tokens(document):
        for child in token.children or []:
            target = child.attrGet("href") or child.attrGet("src")
            if isinstance(target, str):
                yield target
