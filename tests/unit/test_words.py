"""The English that users read is today's: documents, manual pages, help and messages have none of these words."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.markdown import DOCUMENTS, TOP, tokens

BANNED = {
    r"\bprov(e|es|ed|ing)\b|\bproofs?\b": "check, verify, show",
    r"\bin hand\b": "current, in-flight, running",
    r"\bwithout end\b|\bfor ?ever\b": "no limit, never stops",
    r"\bblanks?\b": "spaces",
    r"\b(process|processes|workers?|master|template|child|children|daemon|tracer) (ha[sd] |have |is |are )?ended\b": (
        "exited, was terminated"
    ),
    r"\b(is|are) to be (?!completed)": "must, should",
    r"\b(is|are) ended\b": "is terminated",
    r"\bwhoever\b": "anybody who, those who",
    r"\bone's own\b": "your own",
    r"\b(he|his|him|himself)\b": "they, the client, the administrator",
    r"\bthe log (tells|has it)\b|\bis told (in|of)\b|\bstands in the\b": "is logged, the log shows",
    r"\bas ever\b": "as usual",
    r"\bwithout a word\b": "silently",
    r"\bfor want of\b": "for lack of",
    r"\bstands there\b": "is in it",
    r"\bthrown away\b": "discarded",
    r"\bfrom its start on\b": "from the start",
    r"\bupper (and|or) lower case\b": "case-insensitive",
    r"\bunasked\b": "unexpectedly",
    r"\bso many\b": "this many, at most N",
    r"\bmend(s|ed|ing)?\b": "fix, correct",
    r"\banew\b": "again, newly",
    r"\bought to\b": "should",
    r"\bof late\b": "recently",
    r"\bshall\b": "must, should",
    r"\bmost (worker|processes|requests) (that|at)\b": "maximum number of",
}
"""Patterns, and what to write instead."""
CASELESS = re.compile("|".join(f"(?P<p{number}>{pattern})" for number, pattern in enumerate(BANNED)), re.IGNORECASE)
SPOKEN = [
    *sorted((TOP / "fpm" / "cli").glob("*.py")),
    *sorted((TOP / "fpm" / "config").rglob("*.py")),
    *sorted((TOP / "fpm" / "event_text").glob("*.py")),
    *sorted((TOP / "fpm" / "doctor").glob("*.py")),
    *sorted((TOP / "fpm" / "convert").glob("*.py")),
    *sorted((TOP / "fpm" / "init").glob("*.py")),
    *sorted((TOP / "fpm" / "setup").glob("*.py")),
]
"""Modules whose strings users read; docstrings are read by who works on them, but for those of commands."""


def of_document(path: Path) -> Iterator[tuple[int, str]]:
    """(line, text) of the prose of a document: no code, no names of files."""
    for token in tokens(path):
        if token.type == "inline":
            text = "".join(one.content if one.type == "text" else " " for one in token.children or [])
            yield (token.map[0] + 1 if token.map else 0), text


def of_module(path: Path) -> Iterator[tuple[int, str]]:
    """(line, text) of a module's strings, and the docstrings of its commands."""
    tree = ast.parse(path.read_text())
    documents = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            documents.add(id(node.value))
        if isinstance(node, ast.FunctionDef) and any("command" in ast.unparse(one) for one in node.decorator_list):
            documents -= {id(node.body[0].value)} if isinstance(node.body[0], ast.Expr) else set()
            yield node.lineno, ast.get_docstring(node) or ""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents:
            yield node.lineno, re.sub(r"`[^`]*`", "", node.value)


def complaints(path: Path, texts: Iterator[tuple[int, str]]) -> list[str]:
    found = []
    for line, text in texts:
        for match in CASELESS.finditer(text):
            better = list(BANNED.values())[int((match.lastgroup or "p0")[1:])]
            around = " ".join(text[max(0, match.start() - 40) : match.end() + 30].split())
            found.append(f"{path.relative_to(TOP)}:{line}: {match[0]!r} ({better}): ... {around} ...")
    return found


@pytest.mark.parametrize("path", [*DOCUMENTS, TOP / "CHANGELOG.md"], ids=lambda path: path.name)
def test_documents(path: Path) -> None:
    assert not complaints(path, of_document(path))


@pytest.mark.parametrize("path", sorted((TOP / "man").glob("*.[0-9]")), ids=lambda path: path.name)
def test_manual_pages(path: Path) -> None:
    lines = enumerate((re.sub(r"\\fB.*?\\fR", "", line) for line in path.read_text().splitlines()), 1)
    assert not complaints(
        path, ((number, line) for number, line in lines if not line.startswith(('.\\"', ".Ic", ".Dl")))
    )


@pytest.mark.parametrize("path", SPOKEN, ids=lambda path: str(path.relative_to(TOP)))
def test_messages_and_help(path: Path) -> None:
    assert not complaints(path, of_module(path))
