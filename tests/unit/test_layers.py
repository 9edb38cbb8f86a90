"""Keeps decisions and effects apart, and every import pointing one way.

The tables say what the tree is meant to be; the tests read the sources (nothing is imported but the list of the modules
that a pool gets) and compare. Imports for type checkers alone (`if TYPE_CHECKING:`) bind nothing together and are not
looked at, but for the direction between packages.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from fpm.pool.bundle import pool_module_names

ROOT = Path(__file__).parents[2]

WORLD = frozenset(
    [
        "asyncio",
        "click",
        "configobj",
        "ctypes",
        "fcntl",
        "flup",
        "gc",
        "glob",
        "grp",
        "logging",
        "mmap",
        "multiprocessing",
        "os",
        "pathlib",
        "psutil",
        "ptrace",
        "pwd",
        "resource",
        "rich",
        "select",
        "selectors",
        "shutil",
        "signal",
        "socket",
        "_socket",
        "_thread",
        "subprocess",
        "syslog",
        "tempfile",
        "threading",
        "time",
        "waitress",
    ]
)
"""The world is reached by these: pure modules import none of them, not even by way of another module of ours."""
ONLY_NAMES = frozenset({"signal.Signals", "flup.server", "threading.Lock"})
"""Exceptions: names and tables that touch nothing."""

PURE = [
    "fpm",
    "fpm.cli",
    "fpm.cli.columns",
    "fpm.cli.slow_rows",
    "fpm.cli.status_rows",
    "fpm.cli.top_figures",
    "fpm.client",
    "fpm.client.failures",
    "fpm.client.params",
    "fpm.client.response",
    "fpm.client.target",
    "fpm.config",
    "fpm.config.build",
    "fpm.config.check",
    "fpm.config.check_application",
    "fpm.config.check_identity",
    "fpm.config.check_paths",
    "fpm.config.directives",
    "fpm.config.draft",
    "fpm.config.given_values",
    "fpm.config.machine",
    "fpm.config.manual_text",
    "fpm.config.model",
    "fpm.config.reach",
    "fpm.config.read",
    "fpm.config.sample",
    "fpm.config.source",
    "fpm.config.tables.*",
    "fpm.config.values",
    "fpm.config.variables",
    "fpm.errors",
    "fpm.fastcgi.*",
    "fpm.flup_server",
    "fpm.flup_server.program",
    "fpm.library",
    "fpm.log",
    "fpm.log.access",
    "fpm.log.escape",
    "fpm.log.lines",
    "fpm.log.times",
    "fpm.manager",
    "fpm.manager.absent",
    "fpm.manager.events",
    "fpm.manager.reloading",
    "fpm.master",
    "fpm.master.lifecycle",
    "fpm.master.listening",
    "fpm.master.loop",
    "fpm.master.loop.share",
    "fpm.master.pool",
    "fpm.master.pool.allowance",
    "fpm.master.pool.deadlines",
    "fpm.master.pool.certificate",
    "fpm.master.pool.last_words",
    "fpm.master.pool.process_manager",
    "fpm.master.pool.record",
    "fpm.master.pool.restarts",
    "fpm.master.pool.specs",
    "fpm.master.pool.undone",
    "fpm.master.processes",
    "fpm.master.processes.core_dumps",
    "fpm.master.processes.exits",
    "fpm.master.processes.oom_reports",
    "fpm.master.reload",
    "fpm.master.reload.plan",
    "fpm.master.status",
    "fpm.master.tracing",
    "fpm.master.tracing.account",
    "fpm.master.tracing.queue",
    "fpm.master.upgrade",
    "fpm.pool",
    "fpm.pool.calibration",
    "fpm.pool.calibration.code",
    "fpm.pool.calibration.objects",
    "fpm.pool.calibration.search",
    "fpm.pool.spec",
    "fpm.scoreboard",
    "fpm.scoreboard.header",
    "fpm.scoreboard.layout",
    "fpm.scoreboard.snapshot",
    "fpm.scoreboard.stages",
    "fpm.slowlog.*",
    "fpm.stack.*",
    "fpm.status.*",
    "fpm.status_server",
    "fpm.status_server.site",
    "fpm.system",
    "fpm.tracer",
    "fpm.tracer.credentials",
    "fpm.tracer.doing",
    "fpm.tracer.messages",
    "fpm.tracer.rehearsal",
    "fpm.unwind.*",
    "fpm.wsgi.*",
]
"""Decisions and formats. Every other module has effects, and a test holds it to that: so it is one or the other."""

MAY_IMPORT = {
    "fpm": "fpm.library fpm.cli.main fpm.flup_server fpm.manager",
    "fpm.cli": "fpm fpm.client fpm.config fpm.errors fpm.log fpm.master fpm.slowlog fpm.stack fpm.status fpm.system",
    "fpm.client": "fpm.errors fpm.config.model fpm.status",
    "fpm.config": "fpm.errors fpm.log.access",
    "fpm.errors": "",
    "fpm.fastcgi": "fpm.errors",
    "fpm.flup_server": "fpm.errors fpm.library fpm.manager fpm.wsgi",
    "fpm.library": "",
    "fpm.log": "fpm.errors",
    "fpm.manager": "fpm.client fpm.config fpm.errors fpm.library fpm.log fpm.master fpm.status fpm.system",
    "fpm.master": "fpm fpm.config.dump fpm.config.model fpm.errors fpm.log fpm.pool fpm.scoreboard fpm.slowlog "
    "fpm.stack fpm.status fpm.status_server fpm.status_server.site fpm.system fpm.tracer fpm.tracer.messages "
    "fpm.tracer.credentials fpm.tracer.rights",
    "fpm.pool": "fpm fpm.errors fpm.fastcgi fpm.library fpm.log fpm.scoreboard fpm.stack fpm.status fpm.system "
    "fpm.wsgi",
    "fpm.scoreboard": "",
    "fpm.slowlog": "fpm.log fpm.stack",
    "fpm.stack": "",
    "fpm.status": "fpm.log fpm.scoreboard",
    "fpm.status_server": "fpm.errors fpm.fastcgi fpm.pool.spec fpm.status fpm.system fpm.wsgi",
    "fpm.system": "fpm.errors fpm.scoreboard.snapshot",
    "fpm.tracer": "fpm.errors fpm.pool.spec fpm.stack fpm.system fpm.unwind",
    "fpm.unwind": "fpm.stack",
    "fpm.wsgi": "fpm.errors fpm.fastcgi",
}
"""Which of our packages a package may import, beside itself; the ways of DESIGN.md run in one direction each."""

THIRD_PARTY = {
    "click": "fpm.cli",
    "configobj": "fpm.config.load",
    "flup": "fpm.client",
    "psutil": "fpm.master",
    "ptrace": "fpm.tracer",
    "rich": "fpm.cli",
    "waitress": "fpm.cli.serve",
}
"""Where each dependency may be imported, and nowhere else."""

LATE = {
    ("fpm.pool.ptracer", "ctypes"),  # where Yama wants it, in the template
    ("fpm.system.proctitle", "ctypes"),  # where /proc is missing, at the first title, which the template sets
    ("fpm.pool.calibration.child", "fpm.pool.calibration.calibrate"),  # in the child forked for it: half a megabyte
    ("fpm.pool.calibration.own", "ctypes"),  # the same; the pool's Python may lack it
    ("fpm.pool.boot", "fpm.pool.launch"),  # boot makes the bundle importable, so nothing of it before
    ("fpm.pool.boot", "fpm.pool.template"),
}
"""What a pool's process may import in a function: everything else must be there before the fork and the chroot."""

REMOVED = frozenset(
    [
        "aifc",
        "asynchat",
        "asyncore",
        "audioop",
        "cgi",
        "cgitb",
        "chunk",
        "crypt",
        "distutils",
        "imghdr",
        "imp",
        "lib2to3",
        "mailcap",
        "msilib",
        "nis",
        "nntplib",
        "ossaudiodev",
        "pipes",
        "smtpd",
        "sndhdr",
        "spwd",
        "sunau",
        "telnetlib",
        "uu",
        "xdrlib",
    ]
)
"""In the standard library of 3.11, but not of 3.13."""


@dataclass(frozen=True)
class Import:
    """One imported thing: `name` is a module, or a module's attribute after `from`."""

    name: str
    is_late: bool
    """In a function."""
    is_typing: bool

    def is_of(self, package: str) -> bool:
        return self.name == package or self.name.startswith(package + ".")


def read_imports(node: ast.AST, is_late: bool = False, is_typing: bool = False) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, is_late, is_typing) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert not child.level, "relative imports hide where they go"
            yield from (Import(f"{child.module}.{alias.name}", is_late, is_typing) for alias in child.names)
        else:
            in_function = is_late or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            for_types = is_typing or (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test))
            yield from read_imports(child, in_function, for_types)


@cache
def trees() -> dict[str, ast.Module]:
    found = {}
    for path in sorted((ROOT / "fpm").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text(), str(path))
    return found


@cache
def imports() -> dict[str, list[Import]]:
    return {name: list(read_imports(tree)) for name, tree in trees().items()}


def module_of(name: str) -> str | None:
    """The module of ours that an imported name is, or is in."""
    return name if name in trees() else name.rpartition(".")[0] if name.rpartition(".")[0] in trees() else None


def is_pure(module: str) -> bool:
    packages = [entry.removesuffix(".*") for entry in PURE if entry.endswith(".*")]
    return module in PURE or any(module == package or module.startswith(package + ".") for package in packages)


def ways_to_the_world(module: str) -> list[str]:
    """What a module imports that is, or has, effects."""
    found = []
    for one in imports()[module]:
        ours = module_of(one.name)
        if one.is_typing or one.name in ONLY_NAMES or any(one.is_of(name) for name in ONLY_NAMES):
            continue
        if one.name.partition(".")[0] in WORLD or (ours is not None and not is_pure(ours)):
            found.append(one.name)
    return found


def packages() -> list[str]:
    return sorted(MAY_IMPORT, key=len, reverse=True)


def package_of(module: str) -> str:
    return next(package for package in packages() if module == package or module.startswith(package + "."))


@pytest.mark.parametrize("module", sorted(trees()))
def test_a_module_is_pure_or_has_effects(module: str) -> None:
    ways = ways_to_the_world(module)
    if is_pure(module):
        assert not ways, f"{module} decides, so it must not import {', '.join(ways)}"
    else:
        assert ways, f"{module} has no effects: say so in PURE"


def test_the_table_of_pure_modules_is_true() -> None:
    missing = [entry for entry in PURE if entry.removesuffix(".*") not in trees()]
    assert not missing, f"PURE names modules that are not there: {missing}"


@pytest.mark.parametrize("module", sorted(trees()))
def test_imports_go_one_way(module: str) -> None:
    package = package_of(module)
    allowed = MAY_IMPORT[package].split()
    for one in imports()[module]:
        ours = module_of(one.name)
        if ours is None or (package != "fpm" and package_of(ours) == package):
            continue
        ok = any(ours == name or (name != "fpm" and one.is_of(name)) for name in allowed)
        assert ok, f"{module} imports {one.name}, but {package} may import only: {', '.join(allowed) or 'nothing'}"


@pytest.mark.parametrize("module", sorted(trees()))
def test_dependencies_stay_where_they_belong(module: str) -> None:
    for one in imports()[module]:
        top = one.name.partition(".")[0]
        if one.is_typing or top == "fpm" or top in sys.stdlib_module_names:
            assert top not in REMOVED, f"{module} imports {top}, which Python 3.13 does not have"
            continue
        place = THIRD_PARTY.get(top)
        assert place is not None, f"{module} imports {top}, which is no dependency"
        assert Import(module, False, False).is_of(place), f"{module} imports {top}, which only {place} may"


@pytest.mark.parametrize("module", sorted(pool_module_names()))
def test_a_pool_needs_the_standard_library_only(module: str) -> None:
    for one in imports()[module]:
        if one.is_typing:
            continue
        top = one.name.partition(".")[0]
        if top == "fpm":
            assert module_of(one.name) in pool_module_names(), f"{module} imports {one.name}: add it to the bundle"
        else:
            assert top in sys.stdlib_module_names, f"{module} imports {top}, which a pool does not have"
        late_ok = not one.is_late or (module, one.name) in LATE
        assert late_ok, f"{module} imports {one.name} in a function: too late after a fork or a chroot"


@pytest.mark.parametrize("module", sorted(name for name in trees() if not name.startswith("fpm.cli")))
def test_only_the_command_line_prints(module: str) -> None:
    calls = [node for node in ast.walk(trees()[module]) if isinstance(node, ast.Call)]
    printed = [node.lineno for node in calls if isinstance(node.func, ast.Name) and node.func.id == "print"]
    assert not printed, f"{module} prints in lines {printed}"


def test_no_import_comes_round_to_itself() -> None:
    needs = {
        name: {module_of(one.name) for one in found if not one.is_typing and not one.is_late} - {None, name}
        for name, found in imports().items()
    }
    while needs:
        free = {name for name, wanted in needs.items() if not wanted & needs.keys()}
        assert free, f"these import each other: {sorted(needs)}"
        needs = {name: wanted for name, wanted in needs.items() if name not in free}
