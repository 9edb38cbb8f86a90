"""A short turn of `make fuzz`: the hot path with address and undefined-behaviour sanitizers."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.fuzz import sanitized

COUNTS = re.compile(r"(\d+) inputs, (\d+) read here .* (\d+) requests served, .* 0 of 2 processes failed")


def test_what_nobody_sends_does_no_harm() -> None:
    missing = sanitized.find_missing()
    if missing:
        pytest.skip(missing)
    command = [sys.executable, "-m", "tests.fuzz", "--count", "40000", "--serve", "2000", "--seconds", "5"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    found = COUNTS.search(run.stdout)
    assert found, run.stdout
    inputs, ours, served = map(int, found.groups())
    assert inputs > ours > inputs // 4
    assert served
