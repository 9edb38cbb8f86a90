"""Rules between directives, and those that look at users and directories: each with the sentence it ends in."""

from __future__ import annotations

import grp
import os
from pathlib import Path

import pytest

from fpm.config.dump import dump
from fpm.config.model import AbstractAddress, Identity
from fpm.master.pool.specs import worker_settings
from fpm.protocol.messages import ApplySettings, pack
from fpm.protocol.wire import MESSAGE_MAX
from fpm.scoreboard.reading import SLOTS_MAX
from tests.support.configuration import Files, section

DYNAMIC = {"pm": "dynamic", "pm__max_children": "5", "pm__min_spare_servers": "1", "pm__max_spare_servers": "3"}


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_numbers_of_workers(files: Files) -> None:
    dynamic = files.pool(section("www", **DYNAMIC))
    assert (dynamic.pm_start_servers, dynamic.pm_min_spare_servers, dynamic.pm_max_spare_servers) == (2, 1, 3)
    static = files.pool(section("www", pm="static", pm__max_children="4", pm__min_spare_servers="9"))
    assert (static.pm_start_servers, static.pm_min_spare_servers, static.pm_max_spare_servers) == (4, 0, 0)
    assert files.pool(section("www")).pm_start_servers == 0


@pytest.mark.parametrize(
    ("requests", "jitter", "expected"), [(None, None, 0), ("500", None, 50), ("5", None, 0), ("500", "7", 7)]
)
def test_jitter(files: Files, requests: str | None, jitter: str | None, expected: int) -> None:
    pool = files.pool(section("www", pm__max_requests=requests, pm__max_requests_jitter=jitter))
    assert pool.pm_max_requests_jitter == expected


@pytest.mark.parametrize(
    ("changes", "directive", "part"),
    [
        ({"pm": None}, "pm", "the process manager is missing (static, dynamic or ondemand)"),
        ({"pm__max_children": None}, "pm.max_children", "pm.max_children must be a positive value"),
        ({"listen": None}, "listen", "no listen address have been defined!"),
        ({"listen": ""}, "listen", "no listen address have been defined!"),
        ({"app": None}, "app", "no application has been defined"),
        ({**DYNAMIC, "pm__min_spare_servers": None}, "pm.min_spare_servers", "must be a positive value"),
        (
            {**DYNAMIC, "pm__min_spare_servers": "0"},
            "pm.min_spare_servers",
            "pm.min_spare_servers(0) must be a positive",
        ),
        ({**DYNAMIC, "pm__max_spare_servers": None}, "pm.max_spare_servers", "must be a positive value"),
        (
            {**DYNAMIC, "pm__max_spare_servers": "6"},
            "pm.max_spare_servers",
            "cannot be greater than pm.max_children(5)",
        ),
        (
            {**DYNAMIC, "pm__min_spare_servers": "6"},
            "pm.min_spare_servers",
            "cannot be greater than pm.max_children(5)",
        ),
        (
            {**DYNAMIC, "pm__min_spare_servers": "4"},
            "pm.max_spare_servers",
            "pm.max_spare_servers(3) must not be less than pm.min_spare_servers(4)",
        ),
        (
            {**DYNAMIC, "pm__start_servers": "4"},
            "pm.start_servers",
            "pm.start_servers(4) must not be less than pm.min_spare_servers(1) and not greater",
        ),
        (
            {"pm__max_memory": "1G", "pm__max_memory_hard": "512M"},
            "pm.max_memory_hard",
            "pm.max_memory_hard(536870912) must be greater than pm.max_memory(1073741824)",
        ),
        (
            {"pm__memory_soft": "4G", "pm__memory_hard": "4G"},
            "pm.memory_hard",
            "pm.memory_hard(4294967296) must be greater than pm.memory_soft(4294967296)",
        ),
        ({"pm__max_spawn_rate": "0"}, "pm.max_spawn_rate", "from 1"),
        ({"pm__process_idle_timeout": "0"}, "pm.process_idle_timeout", "(0s) must be greater than 0s"),
        ({"ping__response": '""'}, "ping.response", "is not long enough"),
        ({"ping__path": "/x", "pm__status_path": "/x"}, "ping.path", "is also pm.status_path"),
        ({"access__format": "%Z"}, "access.format", "wrong format for access.format '%Z'"),
        ({"access__format": "%{x"}, "access.format", "missing closing embrace"),
        ({"request_slowlog_timeout": "5"}, "request_slowlog_timeout", "'slowlog' must be specified"),
        (
            {"slowlog": "x.log", "request_slowlog_timeout": "5s", "request_terminate_timeout": "2s"},
            "request_slowlog_timeout",
            "'request_slowlog_timeout' (5) can't be greater than 'request_terminate_timeout' (2)",
        ),
        ({"request_slowlog_trace_depth": "0"}, "request_slowlog_trace_depth", "from 1"),
        ({"process__priority": "-20"}, "process.priority", "from -19 to 20"),
        ({"network": "moon"}, "network", "expected host, none, netns:NAME or veth"),
        ({"rootfs": "nowhere"}, "rootfs", "is not the absolute path of a directory"),
        ({"chdir": "relative"}, "chdir", "must start with a '/'"),
        ({"chdir": "/nowhere/at/all"}, "chdir", "does not exist or is not a directory"),
        ({"prefix": "nowhere"}, "prefix", "does not exist or is not a directory"),
        ({"access__log": "nowhere/a.log"}, "access.log", "the directory 'nowhere' does not exist"),
        ({"access__log": "/"}, "access.log", "'/' is a directory"),
        ({"slowlog": "nowhere/a.log"}, "slowlog", "does not exist"),
        ({"listen": "nowhere/a.sock"}, "listen", "the directory 'nowhere' does not exist"),
        ({"listen": "/tmp/" + "x" * 103}, "listen", "(found length: 108, maximal length: 107)"),
        ({"listen": "/tmp/" + "é" * 52}, "listen", "(found length: 109, maximal length: 107)"),
        ({"events.mechanism": "epoll"}, "events.mechanism", "always uses epoll"),
        ({"listen.setfib": "1"}, "listen.setfib", "no meaning on Linux"),
        ({"php_admin_value[memory_limit]": "1"}, "php_admin_value", "no meaning for Python"),
        ({"security.limit_extensions": "py"}, "security.limit_extensions", "with their dot, as in .py .wsgi"),
        ({"listen.allowed_clients": "web.example.org"}, "listen.allowed_clients", "Host names are not resolved"),
        ({"listen": "@"}, "listen", "1 to 107 bytes after the '@', found 0"),
        ({"listen": "@" + "x" * 108}, "listen", "1 to 107 bytes after the '@', found 108"),
        ({"listen": "unix:@www"}, "listen", "write the path alone, '@www'"),
        ({"log_level": "debug"}, "log_level", "is a global directive"),
        ({"pm.max_childern": "1"}, "pm.max_childern", "Did you mean 'pm.max_children'?"),
        ({"usr": "1"}, "usr", "Did you mean 'user'?"),
        ({"env[A": "1"}, "env[a", "the ']' is missing. Write env[NAME] = value"),
        ({"includ": "x"}, "includ", "Did you mean 'include'?"),
        ({"user[x]": "1"}, "user", "takes no key"),
        ({"env": "1"}, "env", "You must provide a key"),
        ({"env[]": "1"}, "env", "You must provide a key"),
        ({"access.suppress_path[x]": "/x"}, "access.suppress_path", "takes no key"),
        ({"access.suppress_path[]": "x"}, "access.suppress_path", "must start with a '/'"),
    ],
)
def test_pool_refused(files: Files, changes: dict[str, str | None], directive: str, part: str) -> None:
    (complaint,) = files.complaints(section("www", **changes))
    where, said = complaint.split(": ", 1)
    assert where.startswith("main.conf:")
    assert said.startswith(f"[www] {directive}: ")
    assert part in said


@pytest.mark.parametrize(
    ("line", "directive", "part"),
    [
        ("events.mechanism = kqueue", "events.mechanism", "always uses epoll"),
        ("pm = static", "pm", "is a pool directive"),
        ("env[A] = 1", "env", "is a pool directive"),
        ("pid = nowhere/pid", "pid", "the directory 'nowhere' does not exist"),
        ("error_log = /", "error_log", "is a directory"),
        ("control = " + "x" * 108, "control", "too long for a Unix socket"),
        ("syslog.ident = $pool", "syslog.ident", "Can't use '$pool' when the pool is not defined"),
        ("log_limit = 100", "log_limit", "from 512"),
        ("process.max = -1", "process.max", "at least 0"),
        ("log_leven = debug", "log_leven", "Did you mean 'log_level'?"),
    ],
)
def test_global_refused(files: Files, line: str, directive: str, part: str) -> None:
    (complaint,) = files.complaints(f"{line}\n{section('www')}")
    assert complaint.startswith(f"main.conf:1: [global] {directive}: ")
    assert part in complaint


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("9000", "9000"),
        ("9000", "127.0.0.1:9000"),
        ("[::1]:9000", "*:9000"),
        ("127.0.0.1:9000", "localhost:9000"),
        ("0.0.0.0:9000", "10.0.0.1:9000"),
        ("[::]:9000", "[0::1]:9000"),
        ("/tmp/a.sock", "/tmp/../tmp//a.sock"),
        ("dir/a.sock", "link/a.sock"),
    ],
)
def test_one_address_for_one_pool(files: Files, first: str, second: str) -> None:
    (files.directory / "dir").mkdir()
    (files.directory / "link").symlink_to("dir")
    (complaint,) = files.complaints(section("a", listen=first) + section("b", listen=second))
    assert complaint.startswith("main.conf:8: [b] listen: unable to set listen address as it's already used in another")
    assert "pool 'a'" in complaint
    assert "main.conf:3" in complaint


def test_different_addresses(files: Files) -> None:
    addresses = ["9000", "127.0.0.1:9001", "127.0.0.2:9001", "[::1]:9001", "a.sock", "b.sock", "/tmp/a.sock"]
    text = "".join(section(f"p{index}", listen=address) for index, address in enumerate(addresses))
    assert len(files.load(text).pools) == len(addresses)


def test_root_needs_users(files: Files) -> None:
    complaints = files.complaints(
        section("a", listen="1")
        + section("b", listen="2", user="no-such-user")
        + section("c", listen="3", user="root")
        + section("d", listen="4", user="daemon", group="no-such-group")
        + section("e", listen="5", user="4000000001")
        + section("f", listen="6", user="99999999999", group="daemon"),
        is_root=True,
    )
    said = [complaint.split(" ", 1)[1] for complaint in complaints]
    assert said[0].startswith("[a] user: user has not been defined")
    assert said[1].startswith("[b] user: cannot get uid for user 'no-such-user'")
    assert said[2].startswith("[c] user: please specify user and group other than root")
    assert said[3].startswith("[d] group: cannot get gid for group 'no-such-group'")
    assert said[4].startswith("[e] group: user 4000000001 is not in the user database")
    assert said[5].startswith("[f] user: 99999999999 is too large")
    assert len(said) == 6


def test_root_pools_with_permission(files: Files) -> None:
    root = Identity(0, 0, (0,), "root", "/root")
    for user in (None, "root", "0"):
        identity = files.pool(section("www", user=user), is_root=True, allow_root=True).identity
        assert identity is not None
        assert (identity.uid, identity.gid, identity.user) == (root.uid, root.gid, root.user)
        assert 0 in identity.groups


def test_group_of_root_is_refused_as_well(files: Files) -> None:
    (complaint,) = files.complaints(section("www", user="daemon", group="root"), is_root=True)
    assert complaint.startswith("main.conf:7: [www] group: please specify user and group other than root")


@pytest.mark.parametrize(
    ("groups", "part"),
    [
        ("daemon root", "the group root may read and write files of the system"),
        ("0", "the group root may read and write files of the system"),
        ("no-such-group", "cannot get gid for group 'no-such-group'"),
        ("none daemon", "cannot get gid for group 'none'"),
    ],
)
def test_supplementary_groups_refused(files: Files, groups: str, part: str) -> None:
    (complaint,) = files.complaints(section("www", user="daemon", supplementary_groups=groups), is_root=True)
    assert "[www] supplementary_groups: " in complaint
    assert part in complaint


def test_supplementary_groups(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    bin_gid = grp.getgrnam("bin").gr_gid
    monkeypatch.setattr(os, "getgrouplist", lambda user, gid: [gid, 4])
    assert set(files.pool(section("www", user="daemon"), is_root=True).identity.groups) == {1, 4}
    for groups, expected in (("none", {1}), ("bin", {1, bin_gid}), ("1", {1}), ("", {1, 4})):
        pool = files.pool(section("www", user="daemon", supplementary_groups=groups), is_root=True)
        assert pool.identity is not None
        assert set(pool.identity.groups) == expected, groups
    allowed = files.pool(section("www", user="daemon", supplementary_groups="root"), is_root=True, allow_root=True)
    assert allowed.identity is not None
    assert set(allowed.identity.groups) == {0, 1}


def test_cpus_that_are_not_online(files: Files) -> None:
    (complaint,) = files.complaints(section("www", cpu_affinity="0,8191"))
    assert "[www] cpu_affinity: CPU 8191 is not online; this machine has 0" in complaint


def test_users_are_ignored_for_others_than_root(files: Files) -> None:
    text = section("a", listen="1", user="no-such-user", group="x") + section("b", listen="2", user="y")
    assert [pool.identity for pool in files.load(text).pools] == [None, None]
    assert files.notices(text) == [
        "main.conf:6: [a] user: 'user' directive is ignored when pyfpm is not running as root. (also in 1 more place)",
        "main.conf:7: [a] group: 'group' directive is ignored when pyfpm is not running as root.",
    ]


def test_owner_of_a_socket(files: Files) -> None:
    pool = files.pool(
        section("www", listen="a.sock", listen__owner="daemon", listen__group="0", listen__mode="0600"),
    )
    assert (pool.listen_owner, pool.listen_group, pool.listen_mode) == (1, 0, 0o600)
    complaints = files.complaints(
        section("www", listen__owner="nobody-here", listen__group="no-group", listen__acl_users="daemon, nobody-here")
    )
    assert [complaint.split(": ")[1] for complaint in complaints] == [
        "[www] listen.owner", "[www] listen.group", "[www] listen.acl_users",
    ]  # fmt: skip


def test_a_socket_that_only_root_can_use_is_mentioned(files: Files) -> None:
    text = section("www", listen="a.sock", user="root")
    (notice,) = files.notices(text, is_root=True, allow_root=True)
    assert notice.startswith("main.conf:3: [www] listen: only root can connect to this socket. Set listen.owner")
    for more in ("listen.group = daemon\n", "listen.mode = 0666\n", "listen.acl_users = daemon\n"):
        assert files.notices(text + more, is_root=True, allow_root=True) == []


def test_allowed_clients_of_a_unix_socket_are_mentioned(files: Files) -> None:
    (notice,) = files.notices(section("www", listen="a.sock", listen__allowed_clients="127.0.0.1"))
    assert "is ignored for a Unix socket" in notice


def test_an_access_control_list_has_numbers_and_takes_the_place_of_owner_and_group(files: Files) -> None:
    lists = {"listen__acl_users": "daemon, 65534 daemon", "listen__acl_groups": "root"}
    text = section("www", listen="a.sock", listen__owner="daemon", listen__group="daemon", **lists)
    pool = files.pool(text)
    assert (pool.listen_acl_users, pool.listen_acl_groups) == ((1, 65534), (0,))
    lines = dump(files.load(text))
    assert "\tlisten.acl_users = daemon nobody" in lines
    assert "\tlisten.acl_groups = root" in lines
    assert files.notices(text) == [
        "main.conf:6: [www] listen.owner: is ignored, as listen.acl_users is set. Add the name to listen.acl_users "
        "instead.",
        "main.conf:7: [www] listen.group: is ignored, as listen.acl_users is set. Add the name to listen.acl_groups "
        "instead.",
    ]


def test_an_abstract_socket_is_for_everybody_and_for_one_pool(files: Files) -> None:
    text = section("www", listen="@pyfpm-$pool", listen__mode="0600", listen__allowed_clients="127.0.0.1")
    assert files.pool(text).listen == AbstractAddress("pyfpm-www")
    open_to_all, mode, clients = sorted(files.notices(text))
    assert "every process in this network namespace can connect to @pyfpm-www" in open_to_all
    assert "listen.mode: is ignored for an abstract socket, which has no file" in mode
    assert "is ignored for an abstract Unix socket" in clients
    (complaint,) = files.complaints(section("a", listen="@one") + section("b", listen="@one"))
    assert "already used in another pool 'a' (@one, main.conf:3)" in complaint


def test_extensions_of_the_application(files: Files) -> None:
    for name in ("app.py", "app.fcgi"):
        files.write(name, "")
    script = f"script:{files.directory}/app.fcgi"
    for app, allowed in (("app.py:a", ".php .py"), (script, ".fcgi"), (script, "")):
        assert files.notices(section("www", app=app, **{"security.limit_extensions": allowed})) == []
    (notice,) = files.notices(section("www", **{"security.limit_extensions": ".php"}))
    assert "has no effect: app = wsgiref.simple_server:demo_app names a module, no file" in notice
    (complaint,) = files.complaints(section("www", app=script, **{"security.limit_extensions": ".php .phar"}))
    assert "lists only extensions of PHP's files, as from a configuration of PHP-FPM. Add .fcgi, or remove" in complaint
    (complaint,) = files.complaints(section("www", app="app.py:a", **{"security.limit_extensions": ".wsgi"}))
    assert "does not allow the file of the application, app.py. Add .py, or remove the line" in complaint


@pytest.mark.parametrize("name", ["control", "pid"])
def test_a_path_is_one_thing_only(files: Files, name: str) -> None:
    (complaint,) = files.complaints(f"{name} = ./www.sock\n" + section("www", listen="www.sock"))
    sentence = f"unable to set listen address as it's already used in [global] for {name} (www.sock, main.conf:1)"
    assert complaint.startswith(f"main.conf:4: [www] listen: {sentence}")
    (complaint,) = files.complaints("pid = www.sock\ncontrol = www.sock\n" + section("www", listen="1"))
    assert "[global] pid: unable to set pid as it's already used in [global] for control" in complaint


def test_an_interval_of_what_is_off_is_mentioned(files: Files) -> None:
    text = section("www", listen="a.sock", request_slowlog_interval="1s")
    (notice,) = [one for one in files.notices(text) if "yet in this version" not in one]
    assert notice.startswith(
        "main.conf:6: [www] request_slowlog_interval: has no effect without request_slowlog_timeout"
    )


def test_half_of_the_emergency_restart_is_mentioned(files: Files) -> None:
    (notice,) = files.notices("emergency_restart_threshold = 3\n" + section("www"))
    assert notice.startswith(
        "main.conf:1: [global] emergency_restart_threshold: has no effect without emergency_restart"
    )


def test_the_runtime_directory_need_not_exist(files: Files) -> None:
    files.environ = {"XDG_RUNTIME_DIR": str(files.directory)}
    pool = files.pool(section("www", listen=f"{files.directory}/pyfpm/www.sock"))
    assert str(pool.listen) == f"{files.directory}/pyfpm/www.sock"


def test_special_files_as_logs(files: Files) -> None:
    config = files.load("error_log = /dev/stderr\n" + section("www", access__log="/dev/null"))
    assert (config.global_.error_log, config.pools[0].access_log) == ("/dev/stderr", "/dev/null")
    assert files.load("error_log = syslog\n" + section("www")).global_.error_log == "syslog"


def test_what_a_worker_is_told_fits_into_a_message(files: Files) -> None:
    networks = " ".join(f"10.{number // 256}.{number % 256}.0/24" for number in range(4000))
    (complaint,) = files.complaints(section("www", pm__status_allow=networks))
    assert "pm.status_allow: " in complaint
    assert "at most 60000 can be sent to a worker" in complaint
    pool = files.pool(section("www", pm__status_allow=networks[:45_000].rpartition(" ")[0]))
    settings = worker_settings(pool, log_limit=1 << 20, slots=SLOTS_MAX)
    assert len(pack(ApplySettings(settings))) < MESSAGE_MAX


def test_a_directive_with_two_names(files: Files) -> None:
    assert files.pool(section("www", rlimit_nproc="7")).rlimit_processes == 7
