"""Files, sections and includes: what is read, in which order, and what is said when it cannot be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fpm.config.load import FILE_MAX, find_control, load
from fpm.config.local_system import DEFAULT_FILE, default_control
from fpm.config.model import TcpAddress, UnixAddress
from fpm.errors import EXIT_CONFIG, ConfigError
from tests.support.configuration import Files, section


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_a_whole_configuration(files: Files) -> None:
    files.environ = {"PORT": "9001", "TOKEN": "secret"}
    files.write("pools.d/b.conf", section("shop", listen="127.0.0.1:${PORT}", pm="static", pm__max_children="3"))
    files.write("pools.d/a.conf", section("www", listen="$pool.sock") + "env[TOKEN] = $TOKEN\nenv[NAME] = $pool\n")
    config = files.load("log_level = debug\n[global]\nlog_limit = 2K\ninclude = pools.d/*.conf\nprocess.max = 9\n")
    assert (config.global_.log_level, config.global_.log_limit, config.global_.process_max) == ("debug", 2048, 9)
    assert config.global_.process_control_timeout == 30.0
    www, shop = config.pools
    assert (www.name, www.listen) == ("www", UnixAddress(str(files.directory / "www.sock")))
    assert www.env == (("TOKEN", "secret"), ("NAME", "www"))
    assert www.where == f"{files.directory}/pools.d/a.conf:1"
    assert (shop.listen, shop.pm, shop.pm_max_children) == (TcpAddress("127.0.0.1", 9001), "static", 3)
    assert www.catch_workers_output
    assert config.notices == ()


def test_a_section_goes_on_and_the_last_value_counts(files: Files) -> None:
    text = section("www") + "[other]\n" + section("x", listen="1")[4:] + "[WWW]\nPM.Max_Children = 7\nListen = 2\n"
    config = files.load(text + "[GLOBAL]\nLOG_LEVEL = error\n")
    assert [pool.name for pool in config.pools] == ["www", "other"]
    assert config.pools[0].pm_max_children == 7
    assert config.pools[0].listen == TcpAddress("", 2)
    assert config.global_.log_level == "error"
    (notice,) = [one for one in config.notices if "the section stands" in one]
    assert "main.conf:11: [www] the section stands at line 1 already; what is set twice counts as here." in notice


def test_two_files_with_one_pool(files: Files) -> None:
    files.write("pools.d/shop.conf", section("shop"))
    files.write("pools.d/shop2.conf", "\n" + section("Shop", listen="2"))
    assert files.complaints("include = pools.d/*.conf\n") == [
        "pools.d/shop2.conf:2: [shop] this pool is described at pools.d/shop.conf:1 already. Give one of the two "
        "another name."
    ]


def test_keys_of_arrays_differ_by_case(files: Files) -> None:
    pool = files.pool(section("www") + "env[a] = 1\nenv[A] = 2\nENV[a] = 3\nenv[e] =\n")
    assert pool.env == (("a", "3"), ("A", "2"), ("e", ""))


def test_single_quotes_keep_variables(files: Files) -> None:
    pool = files.pool(section("www") + "env[a] = '$pool'\nenv[b] = '${NOPE}'\nenv[c] = '$HOME'\n")
    assert dict(pool.env) == {"a": "$pool", "b": "${NOPE}", "c": "$HOME"}


@pytest.mark.parametrize(("written", "value"), [("$NOPE", ""), ("${NOPE}", ""), ("a-${NOPE}-b", "a--b")])
def test_a_variable_that_is_not_set_is_empty_and_said(files: Files, written: str, value: str) -> None:
    text = section("www") + f"env[X] = {written}\n"
    assert files.pool(text).env == (("X", value),)
    assert files.notices(text) == [
        "main.conf:6: [www] env: NOPE is not set in the environment of pyfpm, so it is empty in X."
    ]


def test_variables_that_no_process_can_have(files: Files) -> None:
    text = section("www") + 'env["E"] = 1\nenv[A B] = 1\nenv[BIG] = ' + "v" * 131_068
    first, second, third = files.complaints(text)
    sentence = "is no name of a variable. Write env[NAME] = value, without quotes or spaces in NAME."
    assert (first, second) == (
        f"main.conf:6: [www] env: '\"E\"' {sentence}",
        f"main.conf:7: [www] env: 'A B' {sentence}",
    )
    assert third.startswith("main.conf:8: [www] env: BIG has 131073 bytes, and the kernel takes at most 131072")
    files.environ = {"BIG": "v" * 131_066}
    assert len(files.pool(section("www") + "env[BIG] = $BIG\nenv[A-B.c] = ${NOPE:-x}\n").env) == 2
    files.environ = {"BIG": "v" * 131_000}
    many = "".join(f"env[BIG{number}] = $BIG\n" for number in range(12))
    (complaint,) = files.complaints(section("www") + many)
    assert "[www] env: the variables have 1572074 bytes together, and at most 1500000 are sure to work" in complaint


def test_an_include_inside_of_a_section_belongs_to_it(files: Files) -> None:
    files.write("common/limits.inc", "pm.max_requests = 100\n[global]\nlog_limit = 4K\n")
    config = files.load(section("www") + "include = common/*.inc\npm.max_requests_jitter = 3\n")
    assert (config.pools[0].pm_max_requests, config.pools[0].pm_max_requests_jitter) == (100, 3)
    assert config.global_.log_limit == 4096


def test_includes_are_relative_to_their_own_file_and_alphabetical(files: Files) -> None:
    files.write("a/main.inc", "include = b/*.conf\n")
    for name in ("20-b", "10-a", "30-c"):
        files.write(f"a/b/{name}.conf", section(name[3:], listen=name[:2]))
    assert [pool.name for pool in files.load("include = a/main.inc\n").pools] == ["a", "b", "c"]


def test_directories_are_left_out_of_a_pattern(files: Files) -> None:
    files.write("pools.d/www.conf", section("www"))
    files.write("pools.d/old.conf/x", "nonsense")
    assert len(files.load("include = pools.d/*.conf\n").pools) == 1


def test_a_pattern_without_a_match_is_a_notice(files: Files) -> None:
    (notice,) = files.notices(section("www") + "include = none.d/*.conf\n")
    assert notice == "main.conf:6: [www] include: Nothing matches the include pattern 'none.d/*.conf'."


def test_nesting(files: Files) -> None:
    for depth in range(1, 5):
        files.write(f"{depth}.conf", f"include = {depth + 1}.conf\n")
    files.write("5.conf", section("www"))
    assert len(files.load("include = 2.conf\n").pools) == 1
    (complaint, *_) = files.complaints("include = 1.conf\n")
    assert complaint.startswith(
        "4.conf:1: [global] include: failed to include 5.conf, files are nested more than 5 levels deep"
    )


def test_a_file_cannot_include_itself(files: Files) -> None:
    files.write("other.conf", "include = main.conf\n")
    complaints = files.complaints("include = *.conf\n" + section("www"))
    assert [complaint.split(". ")[0] for complaint in complaints] == [
        "main.conf:1: [global] include: main.conf would include itself",
        "other.conf:1: [global] include: main.conf would include itself",
    ]


def test_an_include_without_a_path(files: Files) -> None:
    (complaint,) = files.complaints("include =\n" + section("www"))
    assert complaint.startswith("main.conf:1: [global] include: there is no path.")


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "the file is empty"),
        (b"\n; only a comment\n", "the file is empty"),
        (b"a = \xff\n", "main.conf:1: [global] the file is not UTF-8 text"),
        (b"[www]\n\n# \xe9\n", "main.conf:3: [global] the file is not UTF-8 text"),
        (b"; " + b"x" * FILE_MAX, "is larger than 1 MiB"),
        (b"[www]\nuser = a\x00b\n", "main.conf:2: [www] the control character \\x00"),
        (b"[global]\nlog_level = debug\n", "No pool defined. at least one pool section must be specified"),
    ],
    ids=["empty", "comment", "not utf-8", "not utf-8 in line 3", "huge", "nul", "no pool"],
)
def test_a_file_that_cannot_be(files: Files, content: bytes, part: str) -> None:
    files.write("main.conf", content)
    assert any(part in complaint for complaint in files.complaints())


def test_what_is_no_file(files: Files) -> None:
    path = str(files.directory / "main.conf")
    assert files.complaints() == [
        "main.conf: [global] failed to open configuration file 'main.conf': No such file or directory."
    ]
    os.mkfifo(path)
    assert "it is not a regular file" in files.complaints()[0]
    os.unlink(path)
    os.mkdir(path)
    assert "it is a directory" in files.complaints()[0]


def test_an_included_file_that_cannot_be_read_is_told_at_its_include(files: Files) -> None:
    os.symlink("nowhere", files.directory / "dangling.conf")
    files.write("bad.conf", b"[www]\n\xff\n")
    complaints = files.complaints("\ninclude = *ng.conf\ninclude = bad.conf\n")
    assert complaints[0].startswith("main.conf:2: [global] failed to open configuration file 'dangling.conf'")
    assert complaints[1].startswith("bad.conf:2: [global] the file is not UTF-8")
    assert len(complaints) == 2


def test_all_complaints_of_all_files_come_in_order(files: Files) -> None:
    files.write("b.conf", section("b", listen="0") + "foo = 1\n")
    files.write("a.conf", section("a", pm="none", app=None))
    complaints = files.complaints("log_level = loud\ninclude = [ab].conf\njust text\n[global\n")
    assert [complaint.partition(": ")[0] for complaint in complaints] == [
        "main.conf:1",
        "main.conf:3",
        "main.conf:4",
        "a.conf:1",
        "a.conf:3",
        "b.conf:3",
        "b.conf:6",
    ]


def test_one_complaint_for_one_mistake(files: Files) -> None:
    assert len(files.complaints(section("www", pm="dynamic", pm__max_children="x"))) == 3  # two are missing as well
    assert len(files.complaints(section("www", listen="${NOPE}"))) == 1
    assert len(files.complaints(section("bad name"))) == 1


def test_a_file_that_is_none_of_ours_ends_soon(files: Files) -> None:
    complaints = files.complaints("word\n" * 100_000)
    assert len(complaints) == 101
    assert complaints[-1] == "main.conf:100: [global] there are more such lines. Is this a configuration file?"
    complaints = files.complaints("word = 1\n" * 20_000)
    assert len(complaints) == 1001
    assert "there are more than 1000 mistakes" in complaints[-1]


def test_the_exit_status_is_that_of_php_fpm(files: Files) -> None:
    with pytest.raises(ConfigError) as caught:
        files.load("")
    assert caught.value.exit_status == EXIT_CONFIG == 78


def test_reading_leaves_no_trace(files: Files) -> None:
    files.load(
        f"pid = pid\nerror_log = log\ncontrol = control\n{section('www', listen='www.sock')}access.log = access\n"
    )
    assert os.listdir(files.directory) == ["main.conf"]


def test_paths_of_options(files: Files) -> None:
    (files.directory / "base").mkdir()
    path = files.write("main.conf", "pid = ignored\n" + section("www", listen="a.sock"))
    config = load(str(path), prefix=str(files.directory / "base"), environ={}, is_root=False, pid_override="/dev/null")
    assert config.global_.prefix == f"{files.directory}/base"
    assert config.global_.pid == "/dev/null"
    assert str(config.pools[0].listen) == f"{files.directory}/base/a.sock"


def test_control_socket_of_each_file() -> None:
    environ = {"XDG_RUNTIME_DIR": "/run/user/7"}
    assert default_control(DEFAULT_FILE, environ={}, is_root=True) == "/run/pyfpm/control.sock"
    assert default_control(DEFAULT_FILE, environ=environ, is_root=False) == "/run/user/7/pyfpm/control.sock"
    assert default_control(DEFAULT_FILE, environ={}, is_root=False) == f"/tmp/pyfpm-{os.getuid()}/control.sock"
    first, second = (default_control(f"/srv/{name}/my site.conf", environ={}, is_root=True) for name in "ab")
    assert first != second
    assert first.startswith("/run/pyfpm/control-my_site-")
    assert len(default_control(f"/srv/{'x' * 4000}.conf", environ={}, is_root=True)) < 107


def test_find_control_needs_no_sound_file(files: Files) -> None:
    path = str(files.write("main.conf", "control = my.sock\ninclude = pools.d/*.conf\nnonsense\n"))
    assert find_control(path, environ={}, is_root=True) == f"{files.directory}/my.sock"
    files.write("main.conf", "nonsense\n")
    assert find_control(path, environ={}, is_root=True) == default_control(path, environ={}, is_root=True)
    with pytest.raises(ConfigError):
        find_control(f"{path}.not", environ={}, is_root=True)


def test_control_stays_in_the_main_file(files: Files) -> None:
    files.write("more.conf", "[global]\ncontrol = x.sock\n")
    (complaint,) = files.complaints("include = more.conf\n" + section("www"))
    assert complaint == "more.conf:2: [global] control: can only be set in the main file. Move the line to main.conf."


FRAGMENTS = st.lists(
    st.one_of(
        st.sampled_from([
            "[global]", "[www]", "[x", "include = *.conf", "include = main.conf", "pm = dynamic", "pm = static",
            "pm.max_children = 3", "pm.min_spare_servers = 2", "listen = 9000", "listen = /x/y.sock", "app = a:b",
            "user = daemon", "env[A] = $B", "env[] = 1", "env = 1", "user[x] = 1", "chroot = $prefix/x", "chdir = /",
            "access.suppress_path[] = /a", "access.suppress_path[a] = /a", "access.format = %", "control = x",
            "python = bin/python", "venv = v", "pythonpath = a:b::", "slowlog = a", "request_slowlog_timeout = 1",
            "${A} = ${A}", "listen.owner = nobody-here", "listen.acl_users = a, b", "network = moon", "rootfs = /",
        ]),
        st.text(alphabet="ab[]=\"';#$ {}.\n\t\x00", max_size=20),
    ),
    max_size=12,
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(FRAGMENTS, st.booleans())
def test_whatever_stands_in_a_file_it_is_a_configuration_or_a_list_of_complaints(
    files: Files, fragments: list[str], is_root: bool
) -> None:
    try:
        files.load("\n".join(fragments), is_root=is_root)
    except ConfigError as error:
        complaints = error.complaints
    else:
        return
    assert complaints
    assert all(complaint.startswith(str(files.directory)) for complaint in complaints)
    assert all("\n" not in complaint for complaint in complaints)
