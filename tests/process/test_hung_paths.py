"""A pool whose directory lies on a file system that does not answer: the master does, and its other pools change."""

from __future__ import annotations

import pytest

from tests.support.fpm import Start
from tests.support.hung import hung
from tests.support.pools import facts
from tests.support.waiting import hold_for

pytestmark = pytest.mark.root


def test_a_dead_file_system_holds_up_its_own_pool(daemon: Start) -> None:
    fpm = daemon({"www": {}, "good": {}}, started=False)
    site = fpm.directory / "site"
    site.mkdir(mode=0o755)
    fpm.configure({"www": {"chdir": site, "pythonpath": fpm.apps}, "good": {}})
    fpm.expect_log(r"does not answer", r"pool www is left as it is", r"\[pool www\]")
    fpm.start()
    generations = {name: facts(fpm, name)["generation"] for name in ("www", "good")}
    with hung(site):
        done = fpm.cli("reload", "good", timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        fpm.wait_log(f"the file system of {site} does not answer")
        fpm.cli("reload", "--no-wait", timeout=60)
        hold_for(lambda: fpm.get("good").status == fpm.get("www").status == 200, 1.0)
        assert facts(fpm, "good")["generation"] > generations["good"]
        assert facts(fpm, "www")["generation"] == generations["www"]
    done = fpm.cli("reload", "www", timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert facts(fpm, "www")["generation"] > generations["www"]
