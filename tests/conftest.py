"""Fixtures for process tests; unit tests need none of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

import pytest
from hypothesis import HealthCheck, settings

from tests.support.browser import Browser
from tests.support.fpm import Daemon, Start
from tests.support.monitors import need
from tests.support.nginx import Nginx, StartNginx
from tests.support.processes import adopt_orphans

adopt_orphans()

# How long an example takes says how busy the machine is, not whether it is right.
settings.register_profile("shared machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`@pytest.mark.root`: the test needs the rights of root, the reason for the only skips of the suite."""
    if os.geteuid() == 0:
        return
    for item in items:
        if item.get_closest_marker("root"):
            item.add_marker(pytest.mark.skip(reason="needs root: it changes users"))


@pytest.fixture
def daemon() -> Iterator[Start]:
    """Start daemons: `daemon(pools, global_=..., environ=..., started=True)`; examined at the end."""
    running: list[Daemon] = []

    def make(
        pools: Mapping[str, Mapping[str, object]],
        *,
        global_: Mapping[str, object] | None = None,
        environ: Mapping[str, str] | None = None,
        started: bool = True,
    ) -> Daemon:
        made = Daemon(pools, global_=global_)
        running.append(made)
        return made.start(environ=environ) if started else made

    yield make
    _finish(running)


@pytest.fixture
def nginx() -> Iterator[StartNginx]:
    """Start web servers: `nginx(server_block_inside, http=...)`."""
    running: list[Nginx] = []

    def make(server: str, *, http: str = "") -> Nginx:
        running.append(Nginx(server, http=http))
        return running[-1]

    yield make
    _finish(running)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    made = Browser(need("chromium"))
    yield made
    made.close()


def _finish(running: list[Daemon] | list[Nginx]) -> None:
    """Finish all of them, also when one finds something to complain about."""
    complaints = []
    for one in reversed(running):
        try:
            one.finish()
        except AssertionError as error:
            complaints.append(str(error))
    assert not complaints, "\n\n".join(complaints)
