"""A late answer explains itself."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.hostile.witness import Witness
from tests.support.waiting import wait_until

pytestmark = pytest.mark.root
LATE = """
def deaf():
    while True:
        sum(range(1000))
deaf()
"""


def test_a_late_answer_explains_itself() -> None:
    with subprocess.Popen([sys.executable, "-c", LATE]) as process:
        witness = Witness(process.pid)
        with witness.question():
            wait_until(lambda: witness.looks)
        with witness.question():
            pass
        process.kill()
        witness.close()
    assert " R " in witness.account
    assert "deaf <string>:" in witness.account
    assert "had a processor for 0.000 s" not in witness.account
