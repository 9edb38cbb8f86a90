"""What would be written to /proc for AppArmor and SELinux: kernels that have either are not where tests run.

So this shows the bytes and the file, not that a profile is in force.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from fpm.launcher.label import prepare_labels
from fpm.launcher.step import step
from fpm.master.pool.specs import template_spec, worker_settings
from fpm.protocol.spec import TemplateSpec
from tests.support.configuration import Files, section


@pytest.fixture
def spec(tmp_path: Path) -> TemplateSpec:
    config = Files(tmp_path).pool(section("www"))
    return template_spec(
        config,
        generation=1,
        worker=worker_settings(config, log_limit=0, slots=1),
        original_rlimit_files=(256, 256),
        priority=None,
        inherited={},
        now=0.0,
    )


def make_proc(top: Path) -> None:
    for name in ("exec", "apparmor/exec"):
        path = top / "self" / "attr" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def test_profile_and_context_are_asked_for(tmp_path: Path, spec: TemplateSpec) -> None:
    make_proc(tmp_path)
    both = replace(spec, apparmor_profile="pyfpm-shop//&x", selinux_context="system_u:system_r:httpd_t:s0")
    for name, action in prepare_labels(both, str(tmp_path)):
        step(name, action)
    # aa_change_onexec(2) and setexeccon(3) of their libraries write the same.
    assert (tmp_path / "self/attr/apparmor/exec").read_bytes() == b"exec pyfpm-shop//&x"
    assert (tmp_path / "self/attr/exec").read_bytes() == b"system_u:system_r:httpd_t:s0\0"


def test_proc_is_opened_before_the_jail(tmp_path: Path, spec: TemplateSpec) -> None:
    make_proc(tmp_path / "proc")
    ((name, action),) = prepare_labels(replace(spec, apparmor_profile="shop"), str(tmp_path / "proc"))
    (tmp_path / "proc").rename(tmp_path / "out of sight")
    step(name, action)
    assert (tmp_path / "out of sight/self/attr/apparmor/exec").read_bytes() == b"exec shop"


def test_a_kernel_that_refuses_is_a_step_with_a_name(spec: TemplateSpec) -> None:
    assert prepare_labels(spec) == []
    if os.path.exists("/proc/self/attr/apparmor"):
        pytest.skip("this kernel has AppArmor")
    ((name, action),) = prepare_labels(replace(spec, apparmor_profile="shop"))
    with pytest.raises(OSError, match="apparmor_profile = shop"):
        step(name, action)
