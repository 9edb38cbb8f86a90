"""A configuration from options and PYFPM_* variables: their names, what takes precedence, what a mistake says."""

from __future__ import annotations

import os
from pathlib import Path

import click
import pytest

from fpm.cli.options import Options
from fpm.cli.without_file import choose_source
from fpm.config.directives import DIRECTIVES
from fpm.config.from_options import load_options
from fpm.config.model import Config
from fpm.config.options_values import OWN_OPTIONS, Given, control_variable, read_settings, read_variables
from fpm.errors import ConfigError

APP = "wsgiref.simple_server:demo_app"
BASE = {"PYFPM_APP": APP, "PYFPM_LISTEN": "127.0.0.1:9000"}
AS_ROOT = {"PYFPM_USER": "root"} if os.geteuid() == 0 else {}
"""For others a user is a notice."""


def load(directory: Path, variables: dict[str, str], *settings: str, name: str | None = None) -> Config:
    environ = {"HOME": "/", "XDG_RUNTIME_DIR": str(directory), **variables}
    given = list(read_settings(settings))
    return load_options(given, name=name, environ=environ, prefix=str(directory), allow_root=True)


def complaints(directory: Path, variables: dict[str, str], *settings: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(directory, variables, *settings)
    return [line for line in caught.value.complaints if "] user:" not in line]  # where root runs the tests


def test_variables_make_a_pool(tmp_path: Path) -> None:
    variables = {
        "PYFPM_NAME": "shop",
        "PYFPM_PM_MAX_CHILDREN": "7",
        "PYFPM_REQUEST_TERMINATE_TIMEOUT": "5s",
        "PYFPM_STATUS_LISTEN": "9001",
        "PYFPM_GLOBAL_RLIMIT_FILES": "512",
        "PYFPM_RLIMIT_FILES": "256",
        "PYFPM_ACCESS_SUPPRESS_PATH": "/a /b",
        "PYFPM_PORT_80_TCP": "tcp://10.0.0.1:80",
        "PYFPM_SERVICE_HOST": "10.0.0.1",
    }
    config = load(tmp_path, BASE | AS_ROOT | variables)
    (pool,) = config.pools
    assert (pool.name, pool.app, pool.pm_max_children, pool.chdir) == ("shop", APP, 7, str(tmp_path))
    assert (pool.pm, pool.clear_env, pool.request_terminate_timeout) == ("static", False, 5.0)
    assert (pool.rlimit_files, config.global_.rlimit_files) == (256, 512)
    assert list(pool.access_suppress_path) == ["/a", "/b"]
    assert config.global_.status_listen is not None
    assert config.notices == ()


def test_an_option_precedes_a_variable_and_a_variable_a_default(tmp_path: Path) -> None:
    variables = BASE | {"PYFPM_USER": "root", "PYFPM_PM_MAX_CHILDREN": "7", "PYFPM_PM_MAX_REQUESTS": "9"}
    settings = ("pm.max_children=3", "global.rlimit_files=99", "env[A]= $b=c", "process_control_timeout = 3s")
    config = load(tmp_path, variables, *settings, name="web")
    (pool,) = config.pools
    assert (pool.name, pool.pm_max_children, pool.pm_max_requests, dict(pool.env)) == ("web", 3, 9, {"A": "$b=c"})
    assert (config.global_.rlimit_files, config.global_.process_control_timeout) == (99, 3.0)


def test_mistakes_name_the_option_or_the_variable(tmp_path: Path) -> None:
    lines = complaints(tmp_path, BASE | {"PYFPM_PM_MAX_CHILDREN": "x", "PYFPM_LISTEN": "9000x"}, "pm.max_chidren=1")
    assert len(lines) == 3
    assert any(line.startswith("PYFPM_PM_MAX_CHILDREN: [app] pm.max_children: ") for line in lines)
    assert any(line.startswith("PYFPM_LISTEN: [app] listen: '9000x' is not") for line in lines)
    assert any(line.startswith("--set pm.max_chidren: [app] pm.max_chidren: unknown") for line in lines)
    assert not any(".conf:" in line for line in lines)


def test_what_is_missing_is_asked_for_as_an_option(tmp_path: Path) -> None:
    (line,) = complaints(tmp_path, {"PYFPM_APP": APP})
    assert line.startswith("options: [app] listen: ")
    assert "Give --listen /run/pyfpm/NAME.sock" in line


def test_an_unknown_variable_is_named_and_ignored(tmp_path: Path) -> None:
    config = load(tmp_path, BASE | {"PYFPM_PM_MAX_CHIDREN": "1"} | AS_ROOT)
    (notice,) = config.notices
    assert notice.startswith("PYFPM_PM_MAX_CHIDREN: [global] no directive has this name, so it is ignored")


def test_every_directive_has_a_variable_of_its_own() -> None:
    """But for NAME[KEY]: an environment that is given by the environment would be odd."""
    for scope, head in (("pool", "PYFPM_"), ("global", "PYFPM_GLOBAL_")):
        for directive in DIRECTIVES[scope].values():  # type: ignore[index]
            variable = head + directive.attribute.upper()
            expected = directive.name + ("[]" if directive.array == "list" else "")
            if directive.array != "key":
                assert read_variables({variable: "x"}) == ([Given(scope, expected, "x", variable)], [])  # type: ignore[arg-type]


def test_the_control_socket_is_found_by_commands_beside_the_daemon() -> None:
    assert control_variable({"PYFPM_APP": "a:b", "PYFPM_CONTROL": "/a"}) == "/a"
    assert control_variable({"PYFPM_CONTROL": "/a"}) == ""  # there is no daemon by variables


@pytest.mark.parametrize("setting", ["", "pm", "=x"])
def test_a_setting_without_a_name_or_a_value_is_refused(setting: str) -> None:
    with pytest.raises(ValueError, match=f"^{setting}$"):
        list(read_settings([setting]))


VALUES = {"settings": (), "name": None, **dict.fromkeys(name.replace(".", "_") for name in OWN_OPTIONS)}


def test_a_file_and_options_exclude_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("PYFPM_APP", "PYFPM_LISTEN"):
        monkeypatch.delenv(variable, raising=False)
    named = Options(file=str(tmp_path / "x"), has_file=True)
    assert choose_source(named, VALUES) is named
    with pytest.raises(click.UsageError, match="-c FILE and --app exclude each other"):
        choose_source(named, {**VALUES, "app": APP})
    with pytest.raises(click.UsageError, match="--set needs an application"):
        choose_source(Options(), {**VALUES, "settings": ("a=b",)})
    with pytest.raises(click.UsageError, match="'a' is not NAME=VALUE"):
        choose_source(Options(), {**VALUES, "app": APP, "settings": ("a",)})
    with pytest.raises(ConfigError, match=r"there is no such file. `pyfpm setup` prepares a machine"):
        choose_source(Options(file=str(tmp_path / "x")), VALUES)
    monkeypatch.setenv("PYFPM_APP", APP)
    assert choose_source(named, VALUES) is named
    source = choose_source(Options(prefix="/srv"), {**VALUES, "listen": "9000", "settings": ("a=b",), "name": "n"})
    assert [*source.arguments(), "resume", *source.command_arguments()] == [
        *("-p", "/srv", "resume", "--listen=9000", "--name=n", "--set=a=b")
    ]
