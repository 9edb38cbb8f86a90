"""Single values: what is understood, and what is said of the rest."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm.config.addresses import parse_address
from fpm.config.directives import DIRECTIVES, GLOBAL_DIRECTIVES, POOL_DIRECTIVES
from fpm.config.invalid_value import InvalidValue
from fpm.config.model import TcpAddress, UnixAddress
from fpm.config.tables.entry import Directive
from fpm.config.values import parse_value
from fpm.config.variables import copied_variable, expand

ALL = [directive for table in DIRECTIVES.values() for directive in table.values()]


def directive(name: str) -> Directive:
    return POOL_DIRECTIVES.get(name) or GLOBAL_DIRECTIVES[name]


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("pm.max_requests", "500", 500),
        ("listen.backlog", "-1", -1),
        ("process.priority", "-19", -19),
        ("startup_timeout", "30", 30.0),
        ("startup_timeout", "30s", 30.0),
        ("startup_timeout", "5m", 300.0),
        ("startup_timeout", "1h", 3600.0),
        ("startup_timeout", "1d", 86400.0),
        ("startup_timeout", "500ms", 0.5),
        ("startup_timeout", "5M", 300.0),
        ("log_limit", "4096", 4096),
        ("log_limit", "4K", 4096),
        ("log_limit", "1m", 1 << 20),
        ("log_limit", "1MB", 1 << 20),
        ("log_limit", "1MiB", 1 << 20),
        ("clear_env", "yes", True),
        ("clear_env", "On", True),
        ("clear_env", "TRUE", True),
        ("clear_env", "1", True),
        ("clear_env", "no", False),
        ("clear_env", "off", False),
        ("clear_env", "false", False),
        ("clear_env", "none", False),
        ("clear_env", "0", False),
        ("pm", "OnDemand", "ondemand"),
        ("log_level", "warn", "warning"),
        ("syslog.facility", "LOCAL3", "local3"),
        ("preload", "off", "no"),
        ("listen.mode", "0660", 0o660),
        ("listen.mode", "666", 0o666),
        ("rlimit_core", "unlimited", -1),
        ("rlimit_core", "0", None),
        ("rlimit_core", "512M", 512 << 20),
        ("rlimit_as", "unlimited", -1),
        ("rlimit_as", "64M", 64 << 20),
        ("rlimit_fsize", "0", None),
        ("rlimit_memlock", "1", 1),
        ("cpu_affinity", "0-3,6", (0, 1, 2, 3, 6)),
        ("cpu_affinity", "6 0-1, 1", (0, 1, 6)),
        ("cpu_affinity", "8191", (8191,)),
        ("cpu_affinity", "", ()),
        ("io_priority", "Idle", "idle"),
        ("io_priority", "best-effort  7", "best-effort 7"),
        ("io_priority", "realtime 0", "realtime 0"),
        ("oom_score_adjust", "-1000", -1000),
        ("umask", "027", 0o027),
        ("cgroup", "YES", "yes"),
        ("cgroup.memory_max", "6G", 6 << 30),
        ("cgroup.cpu_max", "150%", "150000 100000"),
        ("cgroup.cpu_max", "1 %", "1000 100000"),
        ("cgroup.cpu_max", "50000 100000", "50000 100000"),
        ("cgroup.pids_max", "500", 500),
        ("cgroup.io_weight", "10000", 10000),
        ("supplementary_groups", "a, 5 c", ("a", "5", "c")),
        ("user", "www-data", "www-data"),
        ("user", "33", "33"),
        ("listen.allowed_clients", "127.0.0.1, 10.0.0.0/8", (ip_network("127.0.0.1"), ip_network("10.0.0.0/8"))),
        ("pm.status_allow", "::1 fe80::/10", (ip_network("::1"), ip_network("fe80::/10"))),
        ("pm.status_path", "/fpm/status-1.txt~", "/fpm/status-1.txt~"),
        ("app", "shop.wsgi:application", "shop.wsgi:application"),
        ("app", "shop:app.wsgi", "shop:app.wsgi"),
        ("app", "shop:make()", "shop:make()"),
        ("app", "/srv/a b/app.py:app", "/srv/a b/app.py:app"),
        ("script_name", "auto", None),
        ("script_name", "", ""),
        ("script_name", "/", ""),
        ("script_name", "/shop/", "/shop"),
    ],
)
def test_value(name: str, text: str, value: object) -> None:
    result = parse_value(directive(name), text)
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "part"),
    [
        ("pm.max_requests", "", "expected a number of at least 0"),
        ("pm.max_requests", "-", "expected a number"),
        ("pm.max_requests", "1.5", "found '1.5'"),
        ("pm.max_requests", "1_000", "found '1_000'"),
        ("pm.max_requests", "\u0663", "expected a number"),
        ("pm.max_requests", "9" * 5000, "expected a number"),
        ("pm.max_requests", "99999999999", "at least 0"),
        ("pm.max_children", "0", "from 1 to 32768"),
        ("process.priority", "21", "from -19 to 20"),
        ("startup_timeout", "", "expected a time"),
        ("startup_timeout", "5 m", "expected a time"),
        ("startup_timeout", "-5", "expected a time"),
        ("startup_timeout", "1w", "expected a time"),
        ("startup_timeout", "4000d", "longer than ten years"),
        ("log_limit", "511", "from 512"),
        ("log_limit", "64Q", "expected a size"),
        ("clear_env", "", "expected yes or no"),
        ("clear_env", "maybe", "expected yes or no, found 'maybe'"),
        ("pm", "dinamic", "static, dynamic or ondemand"),
        ("log_level", "loud", "debug, notice, warning, error or alert"),
        ("listen.mode", "888", "octal"),
        ("listen.mode", "4777", "octal"),
        ("rlimit_core", "-1", "unlimited"),
        ("rlimit_as", "1M", "must be at least 67108864 bytes, or 0 for unchanged"),
        ("cpu_affinity", "3-0", "as in 0-3,6"),
        ("cpu_affinity", "0-99999999", "as in 0-3,6"),
        ("cpu_affinity", "8192", "as in 0-3,6"),
        ("cpu_affinity", "all", "as in 0-3,6"),
        ("io_priority", "best-effort", "expected idle, best-effort 0 to 7, or realtime 0 to 7"),
        ("io_priority", "best-effort 8", "expected idle"),
        ("io_priority", "idle 3", "expected idle"),
        ("oom_score_adjust", "-1001", "from -1000 to 1000"),
        ("umask", "0888", "octal"),
        ("cgroup", "no", "expected auto or yes"),
        ("cgroup.memory_max", "4K", "must be from 1048576"),
        ("cgroup.cpu_max", "0%", "a percentage of one CPU of at least 1%"),
        ("cgroup.cpu_max", "max", "as in 150%"),
        ("cgroup.cpu_max", "50000 2000000", "the period at most 1000000"),
        ("cgroup.cpu_max", "10 100000", "each at least 1000"),
        ("cgroup.cpu_weight", "0", "from 1 to 10000"),
        ("user", "a b:c", "expected a name or a number"),
        ("listen.allowed_clients", "localhost", "Wrong IP address 'localhost'"),
        ("listen.allowed_clients", "10.0.0.1/8", "Write 10.0.0.0/8"),
        ("pm.status_path", "status", "must start with a '/'"),
        ("pm.status_path", "/", "is not long enough"),
        ("ping.path", "/p?x", "must contain only"),
        ("app", "shop", "module:callable"),
        ("app", "shop:", "module:callable"),
        ("app", ":app", "module:callable"),
        ("app", "shop:app(1)", "module:callable"),
        ("app", "srv/app:app", "module:callable"),
        ("namespaces", "mount moon", "found 'moon'"),
        ("script_name", "shop", "starts with a '/'"),
    ],
)
def test_refused(name: str, text: str, part: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        parse_value(directive(name), text)
    assert part in str(caught.value)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("9000", TcpAddress("", 9000)),
        ("*:9000", TcpAddress("", 9000)),
        ("127.0.0.1:9000", TcpAddress("127.0.0.1", 9000)),
        ("localhost:9000", TcpAddress("127.0.0.1", 9000)),
        ("[::1]:9000", TcpAddress("::1", 9000)),
        ("[0:0::1]:9000", TcpAddress("::1", 9000)),
        ("/run/a.sock", UnixAddress("/run/a.sock")),
        ("run/a.sock", UnixAddress("run/a.sock")),
        ("a.sock", UnixAddress("a.sock")),
        ("/run/a:1.sock", UnixAddress("/run/a:1.sock")),
    ],
)
def test_address(text: str, address: object) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("0", "invalid port value '0'"),
        ("65536", "invalid port value"),
        ("127.0.0.1:", "invalid port value ''"),
        ("127.0.0.1:x", "invalid port value 'x'"),
        ("::1:9000", "is not a listening address"),
        ("[127.0.0.1]:9000", "in brackets"),
        ("example.org:9000", "Host names are not resolved"),
        ("unix:/run/a.sock", "write the path alone, '/run/a.sock'"),
        ("127.0.0.1", "is not a listening address"),
        ("9" * 5000, "invalid port value"),
    ],
)
def test_address_refused(text: str, part: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        parse_address(text)
    assert part in str(caught.value)


ENVIRON = {"HOST": "h", "EMPTY": "", "TRICK": "$pool ${HOST}"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/run/$pool.sock", "/run/www.sock"),
        ("$pool-$pool", "www-www"),
        ("${HOST}", "h"),
        ("a${HOST}b", "ahb"),
        ("${EMPTY}", ""),
        ("${NOPE:-x y}", "x y"),
        ("${NOPE:-}", ""),
        ("${EMPTY:-x}", "x"),
        ("${HOST:-x}", "h"),
        ("${TRICK}", "$pool ${HOST}"),
        ("$prefix/x", "$prefix/x"),
        ("100$", "100$"),
    ],
)
def test_expand(text: str, expected: str) -> None:
    assert expand(text, pool="www", environ=ENVIRON) == expected


def test_expand_refuses() -> None:
    with pytest.raises(InvalidValue, match=r"variable NOPE is not set.*\$\{NOPE:-default\}"):
        expand("${NOPE}", pool="www", environ=ENVIRON)
    with pytest.raises(InvalidValue, match="Can't use"):
        expand("$pool", pool=None, environ=ENVIRON)
    with pytest.raises(InvalidValue, match="expected"):
        expand("${1 2}", pool=None, environ=ENVIRON)


def test_copied_variable() -> None:
    assert copied_variable("$PATH") == "PATH"
    assert copied_variable("$PATH/x") is None
    assert copied_variable("PATH") is None
    assert copied_variable("$") is None


@given(st.sampled_from(ALL), st.text(max_size=30))
def test_any_text_is_a_value_or_is_refused_in_words(known: Directive, text: str) -> None:
    assert refusal_of(known, text) != ""


def refusal_of(known: Directive, text: str) -> str | None:
    try:
        parse_value(known, text)
    except InvalidValue as refusal:
        return str(refusal)
    return None


@pytest.mark.parametrize("known", [known for known in ALL if known.default is not None], ids=lambda known: known.name)
def test_every_default_is_a_value(known: Directive) -> None:
    assert known.default is not None
    assert parse_value(known, known.default) is not None or known.kind in ("limit", "mount")
