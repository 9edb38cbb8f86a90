"""What two versions of pyfpm make of one text: what may differ in an upgrade, and what is said of the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from fpm.config.dump import dump
from fpm.config.model import Config
from fpm.config.other_version import Given, Reading, read_dump
from fpm.config.other_version import find_differences as find
from tests.support.configuration import Files, section


@pytest.fixture
def config(tmp_path: Path) -> Config:
    text = section("www", **{"env[A]": "b = c", "env[B]": "[d]", "mount[]": "tmpfs none /x"})
    return Files(tmp_path).load(text + section("shop", listen="9001"))


def without(lines: Sequence[str], *names: str) -> list[str]:
    """What a version shows that does not know these directives."""
    return [line for line in lines if line.strip().partition(" ")[0] not in names]


def among(lines: Sequence[str], section: str, line: str) -> list[str]:
    """The same with a line more in a section."""
    at = lines.index(section) + 1
    return [*lines[:at], f"\t{line}", *lines[at:]]


def given(config: Config) -> Given:
    return {name: sorted(names) for name, names in config.given.items()}


def find_differences(lines: Sequence[str], of_running: Given | None, config: Config) -> list[str]:
    return find(Reading(lines, of_running), Reading(dump(config), given(config)))


def test_the_same_is_the_same(config: Config) -> None:
    assert find_differences(dump(config), given(config), config) == []
    assert find_differences(dump(config), None, config) == []


def test_what_is_shown_is_read(config: Config) -> None:
    shown = read_dump(dump(config))
    assert list(shown) == ["global", "www", "shop"]
    assert shown["www"]["env"] == "[A] = b = c, [B] = [d]"
    assert shown["shop"]["env"] == "undefined"
    assert shown["shop"]["listen"] == "9001"


def test_what_the_text_sets_is_known(config: Config) -> None:
    assert config.given["global"] == frozenset()
    assert config.given["www"] == {"app", "listen", "pm", "pm.max_children", "env", "mount"}


def test_a_directive_that_only_this_version_knows(config: Config) -> None:
    """It has its default; what a former version ignores, such as a variable PYFPM_*, sets it only now."""
    former = without(dump(config), "pm.max_memory", "status_history", "pm.max_children")
    assert find_differences(former, None, replace(config, given={})) == []
    assert find_differences(former, None, config) == [
        "[www] [shop] pm.max_children is 5, and the running version does not know it: set it after the upgrade"
    ]


def test_a_directive_that_only_the_running_version_knows(config: Config) -> None:
    """It may not have been set, as far as that version says it: what it did would be lost in silence."""
    running = among(dump(config), "[www]", "pm.surplus = 7")
    lost = (
        "[www] pm.surplus is 7 in the running version, and this one does not know it: remove it, and run `pyfpm reload`"
    )
    assert find_differences(running, given(config), config) == []
    assert find_differences(running, {**given(config), "www": ["pm.surplus"]}, config) == [lost]
    assert find_differences(running, None, config) == [lost]


def test_a_directive_with_another_value(config: Config) -> None:
    lines = [line.replace("pm.max_children = 5", "pm.max_children = 6") for line in dump(config)]
    assert find_differences(lines, given(config), config) == [
        "[www] [shop] pm.max_children is 6 in the running version, and 5 in this one: set it as it is in the running "
        "version, and run `pyfpm reload` before the upgrade"
    ]


def test_variables_are_not_told(config: Config) -> None:
    """They may be passwords, and the sentence goes to the log."""
    (said,) = find_differences([line.replace("b = c", "secret") for line in dump(config)], given(config), config)
    assert said.startswith("[www] env has other values: ")
    assert "secret" not in said


def test_other_pools(config: Config) -> None:
    lines = [line.replace("[shop]", "[store]") for line in dump(config)]
    assert find_differences(lines, given(config), config) == [
        "[shop] only this version has this section",
        "[store] only the running version has this section",
    ]
