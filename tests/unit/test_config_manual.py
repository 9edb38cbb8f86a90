"""What is made from the table of directives agrees with it: the page, the samples, the dump, the values."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from fpm.config import directives
from fpm.config.dump import dump
from fpm.config.manual import manual
from fpm.config.model import GlobalConfig, PoolConfig
from fpm.config.reference import reference
from fpm.config.sample import EXAMPLES, main_sample, pool_sample
from fpm.config.source import number_lines
from fpm.config.tables.entry import Directive
from fpm.config.typed import typed_module
from fpm.config.values import parse_value
from fpm.convert.guide import guide
from fpm.convert.php_fpm_options import NOT_FOR_PYTHON
from tests.support.configuration import Files, section

SOURCES = Path(__file__).resolve().parents[2]
POOL = directives.POOL_DIRECTIVES
GLOBAL = directives.GLOBAL_DIRECTIVES

OF_PHP_FPM = """
include pid error_log syslog.ident syslog.facility log_buffering log_level log_limit emergency_restart_threshold
emergency_restart_interval process_control_timeout process.max process.priority daemonize rlimit_files
rlimit_core events.mechanism systemd_interval prefix user group listen listen.backlog listen.owner listen.group
listen.mode listen.acl_users listen.acl_groups listen.allowed_clients listen.setfib process.dumpable pm
pm.max_children pm.start_servers pm.min_spare_servers pm.max_spare_servers pm.max_spawn_rate
pm.process_idle_timeout pm.max_requests pm.status_path pm.status_listen ping.path ping.response access.log
access.format access.suppress_path slowlog request_slowlog_timeout request_slowlog_trace_depth
request_terminate_timeout request_terminate_timeout_track_finished catch_workers_output decorate_workers_output
chroot chdir clear_env env security.limit_extensions apparmor_hat php_value php_flag php_admin_value
php_admin_flag
"""


@pytest.mark.parametrize("name", OF_PHP_FPM.split())
def test_every_directive_of_php_fpm_is_known_or_refused_with_a_reason(name: str) -> None:
    assert name in POOL or name in GLOBAL or name in NOT_FOR_PYTHON or name == directives.INCLUDE


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("man/pyfpm.conf.5", manual()),
        ("docs/directives.md", reference()),
        ("pools.d/www.conf", pool_sample()),
        ("contrib/pyfpm.conf", main_sample()),
        ("docs/coming-from.md", guide()),
        ("fpm/manager/directive_types.py", typed_module()),
    ],
)
def test_committed_files_are_made_from_the_table(name: str, text: str) -> None:
    made = "Run python -m fpm.config.manual, and commit what it writes"
    assert (SOURCES / name).read_text() == text, made


def test_every_value_has_a_directive_and_every_directive_a_value() -> None:
    made = {"name", "where", "identity", "file", "prefix"}
    settled = {"user", "group", "venv", "prefix"}
    for table, model in ((POOL, PoolConfig), (GLOBAL, GlobalConfig)):
        attributes = {known.attribute for known in table.values()}
        fields = {field.name for field in dataclasses.fields(model)}
        assert fields - attributes <= made
        assert attributes - fields <= settled


@pytest.mark.parametrize("known", [*POOL.values(), *GLOBAL.values()], ids=lambda known: known.name)
def test_help_is_in_sentences(known: Directive) -> None:
    for text in (known.help, known.differs):
        assert not text or (text.endswith(".") and text.count("`") % 2 == 0)
        assert "  " not in text
    assert known.default_note.count("`") % 2 == 0


def test_the_dump_shows_every_directive_once(tmp_path: Path) -> None:
    text = section("www", listen__owner="daemon", startup_timeout="500ms", rlimit_core="unlimited", pythonpath="/a:/b")
    lines = dump(Files(tmp_path).load(text + "env[A] = 1\nenv[B] = x y\naccess.suppress_path[] = /ping\n"))
    start = lines.index("[www]")
    assert lines[0] == "[global]"
    assert (lines[start - 1], lines[-1]) == ("", "")
    shown = [line.split(" = ")[0] for line in lines[start + 1 : -1]]
    assert [name.partition("[")[0].strip() for name in shown if name != "\tenv[B]"] == list(POOL)
    assert [line.split(" = ")[0].strip() for line in lines[1 : start - 1]] == list(GLOBAL)
    for line in (
        "\tlisten = 9000",
        "\tlisten.owner = daemon",
        "\tlisten.mode = 0660",
        "\tstartup_timeout = 500ms",
        "\tpm.process_idle_timeout = 10s",
        "\trlimit_core = unlimited",
        "\tpythonpath = /a:/b",
        "\tenv[B] = x y",
        "\taccess.suppress_path[] = /ping",
        "\tclear_env = yes",
        "\tscript_name = auto",
        "\tpm.status_allow = 127.0.0.0/8 ::1/128",
        "\tuser = undefined",
    ):
        assert line in lines


def test_the_samples_run_as_they_are(tmp_path: Path) -> None:
    files = Files(tmp_path)
    files.environ = {"XDG_RUNTIME_DIR": str(tmp_path)}
    (tmp_path / "pyfpm").mkdir()
    # For others than root /run/pyfpm is not theirs to write to.
    files.write("pools.d/www.conf", pool_sample().replace("/run/pyfpm/", f"{tmp_path}/pyfpm/"))
    (pool,) = files.load(main_sample()).pools
    assert (pool.name, pool.pm, pool.pm_max_children) == ("www", "dynamic", 5)


@pytest.mark.parametrize(("name", "text"), EXAMPLES.items())
def test_the_examples_in_the_samples_are_values(name: str, text: str) -> None:
    known = POOL.get(name) or GLOBAL[name]
    assert parse_value(known, text.replace("$pool", "www")) is not None


def test_every_line_of_the_samples_is_read_as_a_setting() -> None:
    for sample, table in ((pool_sample(), POOL), (main_sample(), GLOBAL)):
        lines = [line.lstrip(";") for line in sample.splitlines() if not line.startswith("; ")]
        numbered = number_lines("\n".join(lines))
        assert numbered.complaints == []
        names = [line.split(":", 1)[1].split(" = ")[0].split("[")[0] for line in numbered.lines if " = " in line]
        assert [name for name in names if name != directives.INCLUDE] == list(table)
