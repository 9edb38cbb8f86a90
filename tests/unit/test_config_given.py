"""Configurations given as values: checked as files are, and a value is never more than a value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm.config.code_text import CODE, speak_of_code
from fpm.config.directives import POOL_DIRECTIVES
from fpm.config.from_code import ConfigValues, load_values
from fpm.config.model import PoolConfig
from fpm.errors import ConfigError
from fpm.manager.configuration import Pool, Settings, pack_values, unpack_values

BASE = {"app": "a:b", "listen": "127.0.0.1:9000", "pm": "ondemand", "pm_max_children": 2}


def load(values: dict[str, Any], settings: dict[str, Any] | None = None) -> PoolConfig:
    config = ConfigValues(
        settings or {"control": "/tmp/c"}, [("www", {**BASE, **values})], "test", "/tmp", allow_root=True
    )
    (pool,) = load_values(config, {}).pools
    return pool


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("pm_max_children", 7, 7),
        ("pm_max_children", "7", 7),
        ("request_terminate_timeout", 1.5, 1.5),
        ("request_terminate_timeout", 90, 90.0),
        ("request_terminate_timeout", "2m", 120.0),
        ("clear_env", False, False),
        ("catch_workers_output", True, True),
        ("listen_mode", 0o666, 0o666),
        ("umask", 0o027, 0o027),
        ("cpu_affinity", [0], (0,)),
        ("oom_score_adjust", 5, 5),
        ("listen_mode", "0600", 0o600),
        ("pythonpath", ["x", "/y"], ("/tmp/x", "/y")),
        ("access_suppress_path", ["/a", "/b"], ("/a", "/b")),
        ("env", {"A": "1", "B": "x;y\"z'$HOME ${A}"}, (("A", "1"), ("B", "x;y\"z'$HOME ${A}"))),
        ("pm_status_path", None, None),
        ("pm.max_requests", 5, 5),
    ],
)
def test_values(name: str, value: object, expected: object) -> None:
    assert getattr(load({name: value}), name.replace(".", "_")) == expected


def test_lists_in_one_line() -> None:
    assert [
        str(one) for one in load({"listen_allowed_clients": ["127.0.0.1", "10.0.0.0/8"]}).listen_allowed_clients
    ] == [
        "127.0.0.1/32",
        "10.0.0.0/8",
    ]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"pm_max_children": "many"}, "Pool('www', pm_max_children=...): "),
        ({"pm_maxchildren": 3}, "Did you mean 'pm_max_children'?"),
        ({"chdir": "/tmp\n[other]"}, "Pool('www', chdir=...): control characters"),
        ({"env": ["a"]}, "Pool('www', env=...): expected a mapping"),
        ({"env": {"A=B": "x"}}, "Pool('www', env=...): expected a name"),
        ({"access_suppress_path": "/a"}, "Pool('www', access_suppress_path=...): expected a list"),
        ({"pm_max_children": 1.5}, "Pool('www', pm_max_children=...): expected a whole number"),
        ({"request_terminate_timeout": -1.0}, "Pool('www', request_terminate_timeout=...): expected seconds"),
        ({"request_terminate_timeout": float("nan")}, "Pool('www', request_terminate_timeout=...): expected seconds"),
        ({"app": object()}, "Pool('www', app=...): expected a string"),
        (
            {"workers": 4},
            "Pool('www', workers=...): is an option of uWSGI and Gunicorn. Write pm='static' and",
        ),
        ({"harakiri": 30}, "Write request_terminate_timeout='30s'"),
        ({"log_level": "debug"}, "is a global directive, not a pool directive. Give it to Settings(...)"),
        ({"pm": "dynamic"}, "pm_min_spare_servers must be a positive value. pm='dynamic' needs it"),
        ({"env": {"A'": "x"}}, "Write env={'NAME': 'value'}, without"),
        ({"listen": "127.0.0.1:99999"}, "Pool('www', listen=...): "),
    ],
)
def test_complaints_say_where_and_what(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(values)
    assert all(complaint.startswith("Pool('www'") for complaint in refused.value.complaints)
    assert sentence in str(refused.value)


def test_only_names_of_directives_are_reworded() -> None:
    text = f"{CODE}: [a] access.log: there is no /var/access.log, set access.log = /x/pm.max. Or pm.max_children"
    assert speak_of_code(text) == (
        "Pool('a', access_log=...): there is no /var/access.log, set access_log='/x/pm.max'. Or pm_max_children"
    )
    assert speak_of_code("main.conf:3: [a] x: y") == "main.conf:3: [a] x: y"


def test_all_complaints_at_once() -> None:
    pools = [("a", {"app": "x"}), ("A", BASE), ("b", {**BASE, "pm": "sometimes"})]
    with pytest.raises(ConfigError) as refused:
        load_values(ConfigValues({"logLevel": "x"}, pools, "test", "/tmp"), {})
    text = str(refused.value)
    for part in (
        "Settings(logLevel=...): ",
        "Pool('a', app=...): ",
        "Pool('A'): there are two pools",
        "Pool('b', pm=..",
    ):
        assert part in text


@pytest.mark.parametrize("name", ["control", "pid", "error_log", "daemonize"])
def test_what_is_the_managers_own(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"^Settings\({name}=\.\.\.\): cannot be set here"):
        Settings(**{name: "x"})


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from([one.attribute for one in POOL_DIRECTIVES.values()]), ANY, max_size=4))
def test_any_values_are_a_configuration_or_complaints(values: dict[str, Any]) -> None:
    complaints = []
    try:
        load(values)
    except ConfigError as refused:
        complaints = refused.complaints
    assert all(complaint.startswith(("Pool('www'", "Settings(")) for complaint in complaints)


@given(st.text())
def test_a_value_is_no_more_than_a_value(text: str) -> None:
    try:
        pool = load({"env": {"NAME": text}})
    except ConfigError:
        assert any(ord(char) < 32 or ord(char) == 127 or 0xD800 <= ord(char) < 0xE000 for char in text)
        return
    assert pool.env == (("NAME", text),)


def packed(pool: Pool) -> bytes:
    return pack_values(ConfigValues({"log_limit": 2048}, [(pool.name, pool.directives)], "n", "/p", allow_root=True))


def test_on_its_way_to_the_master() -> None:
    pool = Pool("www", app="a:b", listen="127.0.0.1:1", pm_max_children=2, chdir=Path("/tmp"), env={"A": "é"})
    arrived = unpack_values(packed(pool))
    assert arrived.global_ == {"log_limit": 2048}
    assert arrived.pools[0][1]["chdir"] == "/tmp"
    assert arrived.pools[0][1]["env"] == {"A": "é"}
    assert (arrived.name, arrived.prefix, arrived.allow_root) == ("n", "/p", True)
    with pytest.raises(ConfigError, match="cannot be written down"):
        packed(Pool("w", app="a", listen="1", x=object()))
