"""What a pool may read and write besides what `landlock` names: found by its interpreter, application and settings."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fpm.config.model import PoolConfig
from fpm.kernel.landlock import Rule, system_rules
from fpm.launcher.landlock import implied_rules
from fpm.master.pool.specs import template_spec, worker_settings
from fpm.protocol.spec import TemplateSpec
from tests.support.configuration import Files, section


def make_spec(top: Path, **settings: str) -> TemplateSpec:
    """The specification of a pool with these directives."""
    return specify(Files(top).pool(section("www", **settings)))


def specify(config: PoolConfig) -> TemplateSpec:
    worker = worker_settings(config, log_limit=0, slots=1)
    limits = (256, 256)
    return template_spec(
        config, generation=1, worker=worker, original_rlimit_files=limits, priority=None, inherited={}, now=0.0
    )


def implied(top: Path, **settings: str) -> list[Rule]:
    """What is allowed to such a pool beyond what every pool may, and beyond its interpreter."""
    plain = implied_rules(make_spec(top))
    return [rule for rule in implied_rules(make_spec(top, **settings)) if rule not in plain]


def test_what_belongs_to_the_application(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    site = str(tmp_path / "site")
    assert implied(tmp_path, chdir=site, pythonpath="src:/opt/lib") == [
        Rule("read", f"{site}/src"),
        Rule("read", "/opt/lib"),
        Rule("read", site),
    ]
    (tmp_path / "site" / "app.py").write_text("")
    assert implied(tmp_path, app=f"{site}/app.py:application") == [Rule("read", site)]
    assert implied(tmp_path, app=f"script:{site}/app.py --one 'two three'") == [Rule("read", site)]
    assert implied(tmp_path, app="script:-m site --one") == []
    assert implied(tmp_path, app="package.module:make()") == []


def test_what_its_environment_says(tmp_path: Path) -> None:
    text = f"{section('www')}env[TMPDIR] = {tmp_path}\nenv[PYTHONPATH] = /opt/a::relative:/opt/b\n"
    found = implied_rules(specify(Files(tmp_path).pool(text)))
    assert found[-1] == Rule("write", str(tmp_path))
    assert {Rule("read", "/opt/a"), Rule("read", "/opt/b")} <= set(found)
    assert Rule("read", "relative") not in found


@pytest.mark.parametrize("root", ["/", "//", "/.", "/srv/.."])
def test_the_root_as_a_whole_is_never_implied(tmp_path: Path, root: str) -> None:
    found = implied(tmp_path, chdir=root, pythonpath=root)
    assert [rule for rule in found if os.path.realpath(rule.path) == "/"] == []


def test_an_environment_leads_to_the_python_of_which_it_was_made(tmp_path: Path) -> None:
    (tmp_path / "v" / "bin").mkdir(parents=True)
    (tmp_path / "v" / "bin" / "python").write_text("a copy")
    (tmp_path / "v" / "pyvenv.cfg").write_text("include-system-site-packages = false\nhome = /opt/py/bin\n")
    found = implied_rules(make_spec(tmp_path, venv=str(tmp_path / "v")))
    assert [rule for rule in found if rule not in system_rules()] == [
        Rule("read", str(tmp_path / "v")),
        Rule("read", "/opt/py"),
    ]
