"""The tests of workers are run on both hot paths: compiled, and plain Python, which is the reference."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fpm.worker import hot_path
from tests.support import worker_process

BOTH = ("test_worker_", "test_interrupt", "test_last_word")
"""Names of files whose tests start workers."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.module.__name__.rpartition(".")[2].startswith(BOTH):
        metafunc.fixturenames.append("served_by")
        metafunc.parametrize("served_by", ["compiled", "python"], indirect=True, scope="module")


@pytest.fixture(scope="module")
def served_by(request: pytest.FixtureRequest) -> Iterator[str]:
    """Have the workers that the tests start serve with this hot path, unless they say otherwise.

    A worker for all tests of a file is one for each hot path: its fixture asks for this one.
    """
    module, reason = hot_path.load()
    if request.param == "compiled" and module is None:
        pytest.skip(f"the hot path is not compiled here: {reason}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker_process, "HOTPATH", request.param == "compiled")
        yield request.param
