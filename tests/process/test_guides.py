"""The commands of the documents are typed as they are, page by page, and do what the page says."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

import pytest

from tests.support.guide import NAMESPACES, commands, complain, run_pages
from tests.support.markdown import DOCUMENTS, TOP, blocks
from tests.support.waiting import side_by_side

SCENES = {
    "docs/tour.md": "tour.sh",
    "docs/coming-from.md": "other_servers.sh",
    "docs/quick-start-django.md": "empty.sh",
    "docs/quick-start-flask.md": "installed.sh",
    "docs/deploying.md": "releases.sh",
    "docs/doctor.md": "troubled.sh",
}
"""What is there before a page's first command."""
OTHERS = [
    path
    for path in DOCUMENTS
    if str(path.relative_to(TOP)) not in SCENES
    and any(commands(block) and not block.not_run for block in blocks(path) if block.language == "console")
]
"""They show commands for a daemon that has two pools, and change nothing: two machines side by side serve them all."""


@cache
def why_no_world() -> str:
    """Why this machine has no room for another one; '' if it has."""
    command = [
        *NAMESPACES,
        "bash",
        str(Path(TOP) / "tests/support/guides/world.sh"),
        str(TOP),
        "/dev/null",
        "/dev/null",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd="/")
    return "" if done.returncode == 0 else done.stderr


@pytest.fixture
def has_world() -> None:
    if reason := why_no_world():
        pytest.skip(f"no mounts, namespaces or overlays here: {reason}")


@pytest.mark.root
@pytest.mark.usefixtures("has_world")
@pytest.mark.parametrize("page", SCENES)
def test_the_commands_of_a_page(page: str) -> None:
    complaints = [line for outcome in run_pages([TOP / page], SCENES[page]) for line in complain(outcome)]
    assert not complaints, "\n\n".join(complaints)


@pytest.mark.root
@pytest.mark.usefixtures("has_world")
def test_the_commands_of_all_other_pages() -> None:
    complaints: list[str] = []

    def type_them(pages: list[Path]) -> None:
        complaints.extend(line for outcome in run_pages(pages, "shop.sh", writes=False) for line in complain(outcome))

    side_by_side(lambda: type_them(OTHERS[::2]), lambda: type_them(OTHERS[1::2]))
    assert not complaints, "\n\n".join(complaints)
