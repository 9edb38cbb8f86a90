"""The doctor's judgements over facts that are given, and what it reads of nginx and systemd."""

from __future__ import annotations

import math
import shlex
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm.config.model import Config, PoolConfig, UnixAddress
from fpm.config.permissions import PathComponent
from fpm.doctor import capacity, interpreter, nginx, service, socket_access, stack_advice
from fpm.doctor.capacity import Machine, Memory
from fpm.doctor.findings import Finding, as_values, has_problem, in_order, read_finding
from fpm.doctor.interpreter import VenvFacts
from fpm.doctor.nginx_text import parse, read_dump, read_time, split_files
from fpm.doctor.request import Request, Source, pack_request, read_request
from fpm.doctor.shell import Shell, write_file
from fpm.doctor.socket_access import SocketFacts, WebUser
from fpm.doctor.trial_config import cannot_be_tried, narrow
from fpm.paths.access_lists import pack_list, unpack_list
from tests.support.configuration import Files, section

SHELL = Shell("pyfpm -c /etc/pyfpm/pyfpm.conf")
WEB = WebUser("www-data", 33, "www-data", (33,), "of the test")
MIB = 1 << 20


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
def pool(files: Files) -> PoolConfig:
    return replace(files.pool(section("www", listen="www.sock")), name="www")


def directory(path: str, mode: int = 0o755, uid: int = 0, gid: int = 0) -> PathComponent:
    return PathComponent(path, stat.S_IFDIR | mode, uid, gid, False)


def socket_facts(*way: PathComponent, own: tuple[int, int] = (0, 0), lists: bool = True) -> SocketFacts:
    return SocketFacts(way or (directory("/"),), None, own, lists, False, {0: "root", 7: "lp"}, {0: "root"})


# ---------------------------------------------------------------- findings


def test_findings_go_through_json_and_problems_come_first() -> None:
    one = Finding("socket", "warning", "text", "www", ("a = b",), ("run it",), "f:1", "quoted")
    assert read_finding(as_values(one)) == one
    problem = Finding("import", "problem", "x")
    assert in_order([one, problem]) == [problem, one]
    assert has_problem([one, problem])
    assert not has_problem([one])


def test_a_request_goes_through_an_argument() -> None:
    request = Request(Source("/f", None, True), ("a", "b"), WEB, Shell("pyfpm", True))
    assert read_request(pack_request(request)) == request
    assert read_request(pack_request(replace(request, web=None))).web is None


def test_commands_are_quoted() -> None:
    assert write_file("/etc/x y/z", "a b") == "mkdir -p '/etc/x y' && printf '%s\\n' 'a b' > '/etc/x y/z'"
    assert SHELL.let_search("/srv/$(id)", "web", owner="lp", has_lists=True) == (
        "runuser -u lp -- chmod o+x '/srv/$(id)'"
    )
    assert Shell("pyfpm", True).let_search("/s", "web", owner="", has_lists=True) == "setfacl -m u:web:x /s"
    assert Shell("pyfpm", True).let_search("/s", "web", owner="", has_lists=False) == "chmod o+x /s"


# ---------------------------------------------------------------- the socket

NAMES = st.dictionaries(st.integers(1, 5), st.just(6), max_size=3)


@given(mode=st.integers(0, 0o777), users=NAMES, groups=NAMES, uid=st.integers(1, 6), gid=st.integers(1, 6))
def test_a_list_says_the_same_when_it_is_packed(
    mode: int, users: dict[int, int], groups: dict[int, int], uid: int, gid: int
) -> None:
    found = unpack_list(pack_list(mode, users, groups))
    assert found is not None
    assert (found.owner, found.group, found.other) == (mode >> 6, mode >> 3 & 7, mode & 7)
    assert (found.users, found.groups) == (users, groups)
    # acl(5), "ACCESS CHECK ALGORITHM", with the owner 1:1.
    if uid == 1:
        expected = bool(mode & 0o200)
    elif uid in users:
        expected = True
    elif gid == 1 or gid in groups:
        expected = gid in groups or (gid == 1 and bool(mode & 0o020))
    else:
        expected = bool(mode & 0o002)
    assert found.permits((1, 1), uid, [gid], 2) == expected


@pytest.mark.parametrize("value", [b"", b"\1\0\0\0", b"\2\0\0\0", b"\2\0\0\0abc", pack_list(0o660, (), ())[:-8]])
def test_what_is_no_list_is_not_read(value: bytes) -> None:
    assert unpack_list(value) is None


def test_every_closed_directory_is_named_with_its_owner(pool: PoolConfig) -> None:
    way = (directory("/"), directory("/srv", 0o750), directory("/srv/a", 0o700, uid=7))
    first, second = socket_access.judge(pool, socket_facts(*way), WEB, SHELL)
    assert "cannot pass /srv, on the way to the socket: /srv has mode 0750" in first.text
    assert first.commands == ("chmod o+x /srv",)
    assert second.commands == ("runuser -u lp -- chmod o+x /srv/a",)


def test_a_missing_directory_is_made_but_not_the_one_of_pyfpm(pool: PoolConfig) -> None:
    facts = socket_facts(directory("/"), PathComponent("/srv", 0, 0, 0, False))
    (found,) = socket_access.judge(pool, facts, WEB, SHELL)
    assert found.commands == ("install -d -m 0755 /srv",)
    assert socket_access.judge(replace(pool, listen_mode=0o666), replace(facts, is_made=True), WEB, SHELL) == []
    (found,) = socket_access.judge(pool, replace(facts, own=(7, 7)), WEB, SHELL)
    assert found.level == "note"


@pytest.mark.parametrize(
    ("own", "lists", "changes", "lines"),
    [
        ((0, 0), True, {}, ("listen.group = www-data",)),
        ((0, 0), True, {"listen_mode": 0o600}, ("listen.group = www-data", "listen.mode = 0660")),
        ((7, 7), True, {}, ("listen.acl_users = www-data",)),
        ((7, 7), False, {}, ("listen.mode = 0666",)),
        ((0, 0), True, {"listen_acl_users": (7,)}, ("listen.acl_users = 7 www-data",)),
        ((0, 0), True, {"listen_acl_users": (33,)}, None),
        ((0, 0), True, {"listen_acl_groups": (33,)}, None),
        ((0, 0), True, {"listen_group": 33}, None),
        ((0, 0), True, {"listen_owner": 33}, None),
        ((0, 0), True, {"listen_mode": 0o666}, None),
    ],
)
def test_what_lets_the_web_server_connect(
    pool: PoolConfig,
    own: tuple[int, int],
    lists: bool,
    changes: dict[str, object],
    lines: tuple[str, ...] | None,
) -> None:
    changed = replace(pool, **changes)  # type: ignore[arg-type]
    found = socket_access.judge(changed, socket_facts(own=own, lists=lists), WEB, SHELL)
    assert [one.lines for one in found] == ([] if lines is None else [lines])


def test_other_sockets_and_an_unknown_user(pool: PoolConfig, files: Files) -> None:
    assert socket_access.judge(pool, socket_facts(), None, SHELL)[0].level == "note"
    assert socket_access.judge(files.pool(section("www", listen="9000")), None, WEB, SHELL) == []
    (found,) = socket_access.judge(files.pool(section("www", listen="@www")), None, WEB, SHELL)
    assert found.level == "note"
    assert "nginx cannot connect to it, HAProxy can where it knows abnsz@www" in found.text


def test_selinux_is_mentioned_where_it_decides() -> None:
    assert socket_access.hint_of_selinux(False) == []
    (found,) = socket_access.hint_of_selinux(True)
    assert found.level == "note"


# ---------------------------------------------------------------- the virtual environment

VENV = VenvFacts(
    "/srv/venv",
    {"home": "/usr/bin", "version": "3.11.2"},
    True,
    "",
    (3, 11),
    ((3, 11),),
    "",
    "/usr/bin/python3.11",
    "",
)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ""),
        ({"lost": "/usr/bin/python3.9", "version": None}, "its bin/python leads to /usr/bin/python3.9"),
        ({"has_home": False}, "there is no /usr/bin, its `home`"),
        ({"version": (3, 12)}, "has packages for Python 3.11, but its bin/python is 3.12 now"),
        ({"version": (3, 12), "libraries": ()}, "was made for Python 3.11, but its bin/python is 3.12 now"),
        ({"version": (3, 12), "libraries": ((3, 11), (3, 12)), "settings": {}}, ""),
        ({"version": None}, ""),
    ],
)
def test_an_environment_and_its_python(pool: PoolConfig, changes: dict[str, object], said: str) -> None:
    found = interpreter.judge(pool, replace(VENV, **changes))  # type: ignore[arg-type]
    assert [said in one.text for one in found] == ([True] if said else [])
    if found:
        assert found[0].commands == ("/usr/bin/python3.11 -m venv --clear /srv/venv",)


def test_packages_come_back_from_a_list_as_the_owner(pool: PoolConfig) -> None:
    facts = replace(VENV, has_home=False, owner="lp", requirements="/srv/requirements.txt")
    assert interpreter.judge(pool, facts)[0].commands == (
        "runuser -u lp -- /usr/bin/python3.11 -m venv --clear /srv/venv",
        "runuser -u lp -- /srv/venv/bin/pip install -r /srv/requirements.txt",
    )


def test_settings_of_an_environment() -> None:
    assert interpreter.read_settings("Home = /usr/bin\nversion=3.11\nnonsense\n") == {
        "home": "/usr/bin",
        "version": "3.11",
    }


# ---------------------------------------------------------------- numbers

MACHINE = Machine(1024 * MIB, None, "", 4096, 65536, "of the test", "")


def test_memory_of_one_pool(pool: PoolConfig) -> None:
    full = replace(pool, pm_max_children=20)
    memory = Memory(50 * MIB, 20 * MIB, "measured")
    (found,) = capacity.judge_memory(full, memory, MACHINE, SHELL)
    assert found.lines == ("pm.max_children = 18",)
    assert "takes about 1020 MiB (50.0 MiB for each worker" in found.text
    assert capacity.judge_memory(replace(pool, pm_max_children=18), memory, MACHINE, SHELL) == []
    limited = replace(MACHINE, limit=100 * MIB, limit_name="the control group /x (memory.max)")
    (found,) = capacity.judge_memory(full, memory, limited, SHELL)
    assert "there are 100 MiB of the control group /x (memory.max)" in found.text
    (found,) = capacity.judge_memory(full, Memory(200 * MIB, 0, "measured"), limited, SHELL)
    assert "Not even one worker fits" in found.text
    assert capacity.judge_memory(full, None, MACHINE, SHELL) == []


def test_fewer_workers_take_the_spare_ones_along(pool: PoolConfig) -> None:
    numbers = {"pm_max_children": 20, "pm_start_servers": 10, "pm_min_spare_servers": 2, "pm_max_spare_servers": 15}
    dynamic = replace(pool, pm="dynamic", **numbers)  # type: ignore[arg-type]
    (found,) = capacity.judge_memory(dynamic, Memory(100 * MIB, 0, "measured"), MACHINE, SHELL)
    assert found.lines == ("pm.max_children = 9", "pm.max_spare_servers = 9", "pm.start_servers = 9")


def test_memory_of_all_pools(files: Files) -> None:
    config = files.load(section("a", listen="1") + section("b", listen="2"))
    half = Memory(100 * MIB, 0, "measured")  # five workers each
    (found,) = capacity.judge_all_memory(config, {"a": half, "b": half}, MACHINE)
    assert found.level == "warning"
    assert "if all 2 pools have pm.max_children workers, they take about 1000 MiB" in found.text
    assert capacity.judge_all_memory(config, {"a": half}, MACHINE) == []


def test_the_backlog(pool: PoolConfig) -> None:
    assert capacity.judge_backlog(pool, MACHINE, SHELL) == []
    assert capacity.judge_backlog(replace(pool, listen_backlog=4096), MACHINE, SHELL) == []
    (found,) = capacity.judge_backlog(replace(pool, listen_backlog=4097), MACHINE, SHELL)
    assert found.commands[0] == "sysctl -w net.core.somaxconn=4097"
    assert found.commands[-1] == "pyfpm -c /etc/pyfpm/pyfpm.conf reload www"


def descriptors(config: Config, limit: int, **changes: object) -> list[Finding]:
    return capacity.judge_descriptors(config, replace(MACHINE, descriptors=limit, **changes))  # type: ignore[arg-type]


def test_descriptors_of_the_master(files: Files) -> None:
    config = files.load(section("a", listen="1") + section("b", listen="2"))  # 64 + 2 + 5 * 10
    assert descriptors(config, 116) == []
    (found,) = descriptors(config, 115)
    assert found.commands == ("ulimit -n 116",)
    (found,) = descriptors(config, 115, unit="web.service")
    assert "LimitNOFILE=116" in found.commands[0]
    assert found.commands[1:] == ("systemctl daemon-reload", "systemctl restart web.service")
    fewer = replace(config, global_=replace(config.global_, process_max=4))
    assert descriptors(fewer, 86) == []
    assert len(descriptors(fewer, 85)) == 1


def test_descriptors_of_a_worker(pool: PoolConfig) -> None:
    limited = replace(pool, rlimit_files=50)
    assert capacity.judge_worker_descriptors(limited, 18, SHELL) == []
    (found,) = capacity.judge_worker_descriptors(limited, 19, SHELL)
    assert "leaves an application 31 descriptors" in found.text
    assert capacity.judge_worker_descriptors(pool, 19, SHELL) == []


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1min 30s", 90.0), ("1h 5min", 3900.0), ("500ms", 0.5), ("infinity", math.inf), ("45s", 45.0), ("", None)],
)
def test_times_of_systemd(text: str, seconds: float | None) -> None:
    assert service.read_span(text) == seconds


def test_the_stop_of_systemd(files: Files) -> None:
    config = files.load(section("a", listen="1"))  # process_control_timeout is 30 s
    assert service.judge(config, "pyfpm.service", {"TimeoutStopUSec": "35s"}) == []
    assert service.judge(config, "pyfpm.service", {"TimeoutStopUSec": "infinity"}) == []
    (found,) = service.judge(config, "pyfpm.service", {"TimeoutStopUSec": "34s"})
    assert found.commands[0].endswith(
        "printf '%s\\n' '[Service]' TimeoutStopSec=40 > /etc/systemd/system/pyfpm.service.d/stop.conf"
    )
    assert service.judge(config, "", {}) == []


def test_what_lets_stacks_be_read(pool: PoolConfig) -> None:
    assert stack_advice.judge(pool, "", "") == []
    (found,) = stack_advice.judge(pool, "kernel.yama.ptrace_scope = 2 wants CAP_SYS_PTRACE; set it to 0", "x.service")
    assert found.commands == ("sysctl -w kernel.yama.ptrace_scope=1",)
    (found,) = stack_advice.judge(pool, "the tracer runs without CAP_SYS_PTRACE", "x.service")
    assert "AmbientCapabilities=CAP_SYS_PTRACE" in found.commands[0]
    assert found.level == "warning"


# ---------------------------------------------------------------- nginx

NGINX = """nginx: the configuration file /etc/nginx/nginx.conf syntax is ok
# configuration file /etc/nginx/nginx.conf:
user web "web group"; # a comment; with { marks }
http {
    fastcgi_read_timeout 2m;
    include conf.d/*.conf;
    upstream app { server unix:/run/pyfpm/up.sock weight=2; server 127.0.0.1:9000; }
    server { location ~ "^/(a|b){1,2}$" { include fastcgi_params; fastcgi_pass app; } }
}
# configuration file /etc/nginx/conf.d/site.conf:
server {
    include fastcgi_params;

    location / {
        fastcgi_pass unix:/run/pyfpm/www.sock;
        fastcgi_read_timeout 1m30s;
    }
    location /b { fastcgi_param ONLY 'x y'; fastcgi_pass unix:/run/pyfpm/b.sock; }
    location /v { fastcgi_pass $somewhere; }
}
# configuration file /etc/nginx/fastcgi_params:
fastcgi_param QUERY_STRING $query_string;
fastcgi_param REQUEST_METHOD "${request_method}";
fastcgi_param SERVER_PROTOCOL $server_protocol;
fastcgi_param REQUEST_URI $request_uri;
"""


def test_what_nginx_prints_is_read() -> None:
    assert list(split_files(NGINX)) == [
        "/etc/nginx/nginx.conf", "/etc/nginx/conf.d/site.conf", "/etc/nginx/fastcgi_params",
    ]  # fmt: skip
    dump = read_dump(NGINX)
    assert dump.user == ("web", "web group")
    www, b, variable, app = dump.passes
    assert (www.targets, www.file, www.line) == (("/run/pyfpm/www.sock",), "/etc/nginx/conf.d/site.conf", 5)
    assert (www.read_timeout, www.params) == (
        90.0,
        {"QUERY_STRING", "REQUEST_METHOD", "SERVER_PROTOCOL", "REQUEST_URI"},
    )
    assert (b.params, b.read_timeout) == ({"ONLY"}, 120.0)
    assert variable.written == "$somewhere"
    assert app.targets == ("/run/pyfpm/up.sock", "127.0.0.1:9000")
    assert "REQUEST_METHOD" in app.params


@given(st.text(alphabet="ab {};\"'\\#$\n", max_size=60))
def test_whatever_nginx_prints_is_read_without_an_error(text: str) -> None:
    parse(text, "f")
    read_dump(f"# configuration file /a:\n{text}\ninclude /a;")


@pytest.mark.parametrize(("text", "seconds"), [("60", 60), ("1m30s", 90), ("500ms", 0.5), ("1d", 86400), ("x", 0)])
def test_times_of_nginx(text: str, seconds: float) -> None:
    assert read_time(text) == seconds


def addressed(pool: PoolConfig, path: str, **changes: object) -> PoolConfig:
    return replace(pool, listen=UnixAddress(path), **changes)  # type: ignore[arg-type]


def judged(pool: PoolConfig) -> list[Finding]:
    return nginx.judge(pool, read_dump(NGINX), [str(pool.listen), "/run/pyfpm/b.sock"], "nginx")


def test_nginx_passes_what_the_pool_needs(pool: PoolConfig) -> None:
    assert judged(addressed(pool, "/run/pyfpm/www.sock")) == []
    assert judged(addressed(pool, "/var/run/pyfpm/www.sock")) == [], "/var/run is /run"
    assert judged(addressed(pool, "/run/pyfpm/up.sock", request_terminate_timeout=120.0)) == []
    (found,) = judged(addressed(pool, "/run/pyfpm/www.sock", request_terminate_timeout=120.0))
    assert "gives an answer 90 s (fastcgi_read_timeout), and request_terminate_timeout is 120 s" in found.text
    assert shlex.split(found.commands[0]) == [
        "sed", "-i", "5s|fastcgi_pass|fastcgi_read_timeout 125s; fastcgi_pass|", "/etc/nginx/conf.d/site.conf",
    ]  # fmt: skip
    (found,) = judged(addressed(pool, "/run/pyfpm/b.sock"))
    assert "without QUERY_STRING, REQUEST_METHOD, SERVER_PROTOCOL" in found.text


def test_a_path_that_is_almost_right_is_corrected_and_another_pools_is_not(pool: PoolConfig) -> None:
    (found,) = judged(addressed(pool, "/srv/www.sock"))
    assert "passes requests to unix:/run/pyfpm/www.sock, where no pool of this configuration listens" in found.text
    assert shlex.split(found.commands[0])[2] == "5s|unix:/run/pyfpm/www\\.sock|unix:/srv/www.sock|"
    (found,) = judged(addressed(pool, "/srv/b.sock"))
    assert (found.level, found.lines[2]) == ("note", "    fastcgi_pass unix:/srv/b.sock;")


def test_ports_are_spelled_as_nginx_does(files: Files, pool: PoolConfig) -> None:
    for listen in ("9000", "127.0.0.1:9000"):
        address = files.pool(section("www", listen=listen)).listen
        assert nginx.judge(replace(pool, listen=address), read_dump(NGINX), [], "nginx") == []
    address = files.pool(section("www", listen="[::1]:9001")).listen
    (found,) = nginx.judge(replace(pool, listen=address), read_dump(NGINX), [], "nginx")
    assert "    fastcgi_pass [::1]:9001;" in found.lines


# ---------------------------------------------------------------- the trial


def test_a_trial_shares_nothing_with_the_daemon(files: Files) -> None:
    text = section("a", listen="a.sock", access__log="a.log", pm="ondemand", startup_timeout="5m", env="") + section(
        "b"
    )
    config = files.load(text.replace("env = \n", ""))
    found = narrow(config, "a", "/tmp/d", 30.0)
    (alone,) = found.pools
    assert (str(alone.listen), alone.access_log, alone.pm, alone.startup_timeout) == (
        "/tmp/d/socket",
        None,
        "static",
        30.0,
    )
    assert (found.global_.control, found.global_.pid, found.global_.error_log) == ("/tmp/d/control", None, None)
    assert (alone.app, alone.python, alone.identity) == (config.pools[0].app, config.pools[0].python, None)


def test_what_cannot_be_started_twice(pool: PoolConfig) -> None:
    assert cannot_be_tried(pool) == ""
    assert "10.0.0.2/24" in cannot_be_tried(replace(pool, network="veth 10.0.0.2/24"))
    assert cannot_be_tried(replace(pool, mount=("overlay /a /b upperdir=/c,workdir=/d",)))
