"""The Tab key, in real shells: the scripts that `pyfpm setup` installs, found by each shell in its own way."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.interpreter import pyfpm_command
from tests.support.terminal import ESCAPES, Terminal
from tests.support.waiting import wait_until

PYFPM = pyfpm_command()
LOADER = "/usr/share/bash-completion/bash_completion"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A machine that has been set up, and a configuration with two pools, one of which has a mistake."""
    root = tmp_path_factory.mktemp("tree")
    subprocess.run([PYFPM, "setup", "--root", root], check=True, capture_output=True, timeout=60)
    (root / "pools.d").mkdir()
    (root / "a.conf").write_text("include = pools.d/*.conf\n")
    (root / "pools.d" / "shop.conf").write_text("[shop]\nmistake\n")
    (root / "pools.d" / "blog.conf").write_text("[blog]\napp = blog:app\n")
    return root


@pytest.fixture
def environ(tree: Path) -> dict[str, str]:
    """Variables with which a shell finds `pyfpm`, and its completions below the tree."""
    path = f"{Path(PYFPM).parent}:{os.environ['PATH']}"
    return {"PATH": path, "HOME": str(tree), "XDG_DATA_DIRS": f"{tree}/usr/local/share:/usr/share", "PS1": "% "}


def shell_of(name: str) -> str:
    shell = shutil.which(name)
    if shell is None:
        pytest.skip(f"there is no {name} (Debian: apt-get install {name})")
    return shell


@pytest.fixture
def terminal(request: pytest.FixtureRequest, tree: Path, environ: dict[str, str]) -> Iterator[Terminal]:
    """An interactive bash or zsh, as of somebody without any settings."""
    shell = shell_of(request.param)
    if request.param == "bash" and not Path(LOADER).exists():
        pytest.skip("there is no bash-completion (Debian: apt-get install bash-completion)")
    flags = {"bash": ["--norc", "-i"], "zsh": ["-f", "-i"]}[request.param]
    begin = {
        "bash": f". {LOADER}; bind 'set bell-style none'",
        "zsh": f"fpath=({tree}/usr/local/share/zsh/site-functions $fpath); autoload -U compinit; compinit -u -D",
    }[request.param]
    with closing(Terminal([shell, *flags], columns=200, environ=environ)) as terminal:
        terminal.type(f"cd {tree}; {begin}; echo $((40+2))\n")
        wait_for(terminal, "42")
        yield terminal


def wait_for(terminal: Terminal, words: str, *, start: int = 0) -> None:
    """Wait until something is shown after the first `start` bytes."""
    wait_until(
        lambda: words in ESCAPES.sub("", terminal.read()[start:].decode()),
        timeout=60.0,
        message=f"no {words!r} in {terminal.received[start:]!r}",
    )


@pytest.mark.parametrize("terminal", ["bash", "zsh"], indirect=True)
def test_the_tab_key_completes_commands_options_and_pools(terminal: Terminal) -> None:
    for typed, completed in (
        ("pyfpm relo\t", "pyfpm reload "),
        ("--ch\t", "--changed "),
        ("-c a.c\t", "-c a.conf "),
        ("sh\t", "shop "),
        ("\x15pyfpm config -c a.conf blog access.l\t", "access.log "),
    ):
        start = len(terminal.read())
        terminal.type(typed)
        wait_for(terminal, completed, start=start)


def test_fish_completes_too(tree: Path, environ: dict[str, str]) -> None:
    fish = shell_of("fish")
    typed = ["pyfpm -c a.conf status ", "pyfpm relo", "pyfpm reload --ch"]
    command = "\n".join(f"complete --do-complete '{line}'; echo ." for line in typed)
    run = subprocess.run([fish, "-c", command], cwd=tree, env=environ, capture_output=True, text=True, timeout=60)
    assert run.stderr == ""
    pools, commands, options = (part.split() for part in run.stdout.removesuffix(".\n").split(".\n"))
    assert sorted(pools) == ["blog", "shop"]
    assert commands[:2] == ["reload", "Check"], "with a short description"
    assert options[0] == "--changed"
