"""Links of the documents lead somewhere, and their code blocks are what they say. Those with commands are run by
tests/process/test_guides.py."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import textwrap
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from fpm.config import directives
from fpm.errors import ConfigError
from tests.support.configuration import Files
from tests.support.markdown import DOCUMENTS, TOP, Block, blocks, headings, links

LANGUAGES = {
    "apache", "caddy", "console", "dockerfile", "haproxy", "ini", "json", "lighttpd", "logrotate", "mermaid", "nginx",
    "python", "sh", "systemd", "text", "toml", "yaml",
}  # fmt: skip
NAMES = [str(path.relative_to(TOP)) for path in DOCUMENTS]


def in_language(*languages: str) -> list[object]:
    return [
        pytest.param(block, id=f"{path.name}:{block.line}")
        for path in DOCUMENTS
        for block in blocks(path)
        if block.language in languages
    ]


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    document, broken = TOP / name, []
    for link in links(document):
        parts = urlsplit(link)
        if parts.scheme:
            well_formed = parts.scheme in ("https", "http") and "." in parts.netloc and " " not in link
            broken += [] if well_formed else [link]
            continue
        target = (document.parent / parts.path).resolve() if parts.path else document
        anchored = not parts.fragment or (target.suffix == ".md" and parts.fragment in headings(target))
        broken += [] if target.exists() and target.is_relative_to(TOP) and anchored else [link]
    assert not broken


@pytest.mark.parametrize("name", NAMES)
def test_every_block_says_what_it_is(name: str) -> None:
    odd = [f"line {block.line}: {block.language!r}" for block in blocks(TOP / name) if block.language not in LANGUAGES]
    assert not odd, f"a fence with one of {sorted(LANGUAGES)} is wanted"


@pytest.mark.parametrize("block", in_language("python"))
def test_python_in_documents_compiles(block: Block) -> None:
    ast.parse(textwrap.dedent(re.sub(r"^(>>> |\.\.\. )", "", block.text, flags=re.MULTILINE)))


@pytest.mark.parametrize("block", in_language("sh"))
def test_shell_in_documents_parses(block: Block) -> None:
    done = subprocess.run(["sh", "-n"], input=block.text, text=True, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def parse_json_lines(text: str) -> list[object]:
    """One value in a line, as a log has them; or one in several lines."""
    try:
        return [json.loads(line) for line in text.splitlines()]
    except json.JSONDecodeError:
        return [json.loads(text)]


@pytest.mark.parametrize("block", in_language("yaml", "json", "toml"))
def test_data_in_documents_parses(block: Block) -> None:
    parse = {"yaml": lambda text: list(yaml.safe_load_all(text)), "json": parse_json_lines, "toml": tomllib.loads}
    assert parse[block.language](block.text)


def test_what_is_not_run_has_a_reason() -> None:
    """The markers are those that the runner reads: one that is written otherwise would hide nothing."""
    for document in DOCUMENTS:
        marked = sum(1 for block in blocks(document) if block.not_run)
        assert marked == len(re.findall(r"^\s*<!--\s*not run", Path(document).read_text(), re.MULTILINE)), document.name


def test_the_index_has_every_page() -> None:
    listed = {link for link in links(TOP / "docs" / "index.md") if link.endswith(".md")}
    assert listed == {path.name for path in DOCUMENTS if path.parent == TOP / "docs"} - {"index.md"}


TOLERATED = re.compile(
    r"does not exist|there is no|no such (user|group)|cannot get [ug]id|is missing"
    r"|ha(s|ve) (not )?been (defined|specified)|It is mandatory|which this root does not have"
)
"""Complaints about this machine, which is not the one that a page speaks of, and about what a part leaves out."""
POOL_HEAD = "[shop]\nlisten = /run/pyfpm/shop.sock\napp = wsgiref.simple_server:demo_app\npm.max_children = 50\n"


@pytest.mark.parametrize("block", in_language("ini"))
def test_configuration_in_documents_is_sound(block: Block, tmp_path: Path) -> None:
    """A part of a section is completed; what only this machine lacks is not the page's mistake."""
    given = {line.partition(" =")[0].strip() for line in block.text.splitlines()}
    if any(line.startswith("[") for line in block.text.splitlines()):
        text = block.text
    elif given and all(directives.find("global", name) and not directives.find("pool", name) for name in given if name):
        text = f"[global]\n{block.text}"
    else:
        head = [line for line in POOL_HEAD.splitlines() if line.partition(" =")[0] not in given]
        text = "\n".join([*head, *([] if "pm" in given else ["pm = ondemand"]), block.text])
    try:
        has_pool = re.search(r"^\[(?!global)", text, re.MULTILINE)
        whole = text if has_pool else f"{text}\n{POOL_HEAD}pm = ondemand\n"
        Files(tmp_path).load(whole, is_root=True)
    except ConfigError as error:
        wrong = [complaint for complaint in error.complaints if not TOLERATED.search(complaint)]
        assert not wrong, f"{text}\n{wrong}"
