"""Fixtures for process tests; unit tests need none of them."""

from __future__ import annotations

import gc
import os
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support import commands
from tests.support.browser import Browser
from tests.support.directories import open_directories, opened_directory
from tests.support.fpm import Daemon, Start
from tests.support.holdings import count_kinds, kinds_of
from tests.support.machine import Machine, booted
from tests.support.monitors import need
from tests.support.nginx import Nginx, StartNginx
from tests.support.processes import adopt_orphans, descriptors
from tests.support.waiting import wait_until

adopt_orphans()
# With one of these the command executes itself a second time (fpm.__main__), a fifth of what a short one costs. What
# is about them sets them itself.
for name in [name for name in os.environ if name.startswith("PYTHON")]:
    del os.environ[name]
DAEMONS = pytest.StashKey[list[Daemon]]()

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


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Assert that the test has closed its own descriptors and removed its directories.

    What a daemon's master leaves is the fixture `daemon`'s business.
    """
    fds, directories = descriptors(os.getpid()), open_directories()
    kinds = kinds_of(fds)
    yield
    if count_kinds(os.getpid()) - kinds:
        gc.collect()  # what only cycles hold
        wait_until(
            lambda: not count_kinds(os.getpid()) - kinds,
            timeout=30.0,
            message=lambda: f"descriptors left open, some of {sorted(set(descriptors(os.getpid())) - set(fds))}",
        )
    assert open_directories() <= directories, "directories left behind"


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory that every user may enter."""
    with opened_directory() as made:
        yield made


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that fails shows the processes and the log of its daemons as they were."""
    report = yield
    if report.when == "call" and report.failed:
        running = [one for node in item.listchain() for one in node.stash.get(DAEMONS, [])]
        report.sections += [(f"master {one.pid}", one.describe()) for one in running]
    return report


@pytest.fixture(scope="session")
def command_server() -> Iterator[None]:
    """For all tests of one process: commands and masters need not start Python."""
    with commands.serving():
        yield


@pytest.fixture
def daemon(request: pytest.FixtureRequest, command_server: None) -> Iterator[Start]:
    """Start daemons: `daemon(pools, global_=..., environ=..., started=True)`; examined at the end."""
    yield from _daemons(request.node)


@pytest.fixture(scope="module")
def shared_daemon(request: pytest.FixtureRequest, command_server: None) -> Iterator[Start]:
    """The same for daemons of all tests of a file, each of which has a pool of its own."""
    yield from _daemons(request.node)


def _daemons(node: pytest.Item | pytest.Collector) -> Iterator[Start]:
    running = node.stash.setdefault(DAEMONS, [])

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


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """A small Debian that is running, without pyfpm, for the tests of one file."""
    with opened_directory() as made, booted(made / "nspawn.log") as running:
        yield running


def _finish(running: list[Daemon] | list[Nginx]) -> None:
    """Finish all of them, also when one finds something to complain about."""
    complaints = []
    for one in reversed(running):
        try:
            one.finish()
        except AssertionError as error:
            complaints.append(str(error))
    assert not complaints, "\n\n".join(complaints)
