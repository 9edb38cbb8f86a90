"""Keeps decisions and effects apart, and every import pointing one way.

The tree itself says what is meant: a folder for each process, a library for what they share, and the word "Pure." in
the docstring of a module, or of its package, that has no effects. The tests read the sources (nothing is imported but
the list of the modules that a pool gets) and compare.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from fpm.master.processes.bundle import pool_module_names

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

PROCESSES = frozenset({"master", "launcher", "template", "worker", "tracer", "status_server"})
"""Folders of fpm/ that are one process each. What they say to each other is in fpm/protocol."""
POOL = frozenset({"launcher", "template", "worker"})
"""Those that run under a pool's user, one forked or executed by the other."""
PROGRAMS = frozenset({"cli", "doctor", "manager", "flup_server", "__main__"})
"""What people start or import; they may start a master of their own."""

THIRD_PARTY = {
    "click": ("fpm.cli",),
    "configobj": ("fpm.config.load",),
    "flup": ("fpm.client",),
    "jinja2": ("fpm.status_server",),
    "markupsafe": ("fpm.status_server",),
    "psutil": ("fpm.cli", "fpm.master"),
    "ptrace": ("fpm.tracer",),
    "rich": ("fpm.cli",),
    "waitress": ("fpm.cli.serve",),
}
"""Where each dependency may be imported, and nowhere else."""

LATE = {
    ("fpm.system.prctl", "ctypes"),  # in the launcher before chroot, and in the template before the import
    ("fpm.launcher.identity", "fpm.launcher.jail.build.build_jail"),  # in the launcher before chroot
    ("fpm.launcher.jail.world", "fpm.launcher.jail.network.connect_network"),  # the same
    ("fpm.launcher.restrict", "fpm.launcher.landlock.prepare_landlock"),  # in the launcher before chroot
    ("fpm.launcher.restrict", "fpm.launcher.seccomp.prepare_filter"),  # the same
    ("fpm.kernel.system_call", "ctypes"),  # in the launcher before chroot
    ("fpm.launcher.jail.calls", "ctypes"),  # the same
    ("fpm.system.proctitle", "ctypes"),  # where /proc is missing, at the first title, which the template sets
    (
        "fpm.template.calibrator",
        "fpm.stacks.calibration.calibrate",
    ),  # in the child forked for it: half a megabyte
    ("fpm.stacks.calibration.calibrate", "ctypes"),  # the same; the pool's Python may lack it
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
def modules() -> dict[str, Path]:
    found = {}
    for path in sorted((ROOT / "fpm").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def trees() -> dict[str, ast.Module]:
    return {name: ast.parse(path.read_text(), str(path)) for name, path in modules().items()}


@cache
def imports() -> dict[str, list[Import]]:
    return {name: list(read_imports(tree)) for name, tree in trees().items()}


@cache
def module_of(name: str) -> str | None:
    """The module of ours that an imported name is, or is in."""
    return name if name in trees() else name.rpartition(".")[0] if name.rpartition(".")[0] in trees() else None


@cache
def needs() -> dict[str, set[str]]:
    """For every module the modules of ours that it imports, be it late or for types alone."""
    return {
        name: {ours for one in found if (ours := module_of(one.name)) is not None} - {name}
        for name, found in imports().items()
    }


@cache
def is_pure(module: str) -> bool:
    """Does the docstring of the module, or that of its package, say that it is pure?"""
    names = [module, module.rpartition(".")[0]]
    return any(re.search(r"\bPure\.", ast.get_docstring(trees()[name]) or "") for name in names if name in trees())


@cache
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


@pytest.mark.parametrize("module", sorted(modules()))
def test_a_module_is_pure_or_has_effects(module: str) -> None:
    ways = ways_to_the_world(module)
    if not imports()[module] or any(name.startswith(f"{module}.") for name in trees()):
        return  # names alone, or a package that hands on those of its modules
    if is_pure(module):
        assert not ways, f"{module} decides, so it must not import {', '.join(ways)}"
    else:
        assert ways, f'{module} has no effects: its docstring must say "Pure."'


def top_of(module: str) -> str:
    """The folder (or module) of fpm/ that a module is in."""
    return module.split(".")[1] if "." in module else "fpm"


@pytest.mark.parametrize("module", sorted(modules()))
def test_processes_share_libraries_and_the_protocol_alone(module: str) -> None:
    here = top_of(module)
    for ours in needs()[module]:
        there = top_of(ours)
        if there == here or (here in POOL and there in POOL) or here in PROGRAMS or here == "fpm":
            continue
        assert there not in PROCESSES | PROGRAMS, f"{module} imports {ours}, which runs in another process"


@pytest.mark.parametrize("folder", ["fpm", "fpm.master", "fpm.stacks"])
def test_no_two_folders_need_each_other(folder: str) -> None:
    depth = folder.count(".") + 2

    def room(module: str) -> str:
        return ".".join(module.split(".")[:depth])

    graph: dict[str, set[str]] = {}
    for name, wanted in needs().items():
        if name.startswith(f"{folder}."):
            inside = {room(ours) for ours in wanted if ours.startswith(f"{folder}.")}
            graph.setdefault(room(name), set()).update(inside - {room(name)})
    assert_one_way(graph)


@pytest.mark.parametrize("module", sorted(modules()))
def test_dependencies_stay_where_they_belong(module: str) -> None:
    for one in imports()[module]:
        top = one.name.partition(".")[0]
        if one.is_typing or top == "fpm" or top in sys.stdlib_module_names:
            assert top not in REMOVED, f"{module} imports {top}, which Python 3.13 does not have"
            continue
        places = THIRD_PARTY.get(top)
        assert places is not None, f"{module} imports {top}, which is no dependency"
        here = Import(module, False, False)
        assert any(map(here.is_of, places)), f"{module} imports {top}, which only {' and '.join(places)} may"


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


@pytest.mark.parametrize("module", sorted(name for name in modules() if not name.startswith("fpm.cli")))
def test_only_the_command_line_prints(module: str) -> None:
    calls = [node for node in ast.walk(trees()[module]) if isinstance(node, ast.Call)]
    printed = [node.lineno for node in calls if isinstance(node.func, ast.Name) and node.func.id == "print"]
    assert not printed, f"{module} prints in lines {printed}"


PRINTS = r"print|(click\.)?(echo|secho)|(sys\.)?(stdout|stderr)(\.buffer)?\.write"
PRINTERS = frozenset({"fpm.cli.output", "fpm.cli.tables", "fpm.cli.top_screen"})
"""Those that know what they print to a terminal: escaped text, and cells of tables, which are escaped."""


@pytest.mark.parametrize("module", sorted(name for name in modules() if name.startswith("fpm.cli.")))
def test_commands_print_escaped_text_only(module: str) -> None:
    found = [
        node.lineno
        for node in ast.walk(trees()[module])
        if isinstance(node, ast.Call) and re.fullmatch(PRINTS, ast.unparse(node.func))
    ]
    assert module in PRINTERS or not found, f"{module} prints in lines {found}: use fpm.cli.output"


def test_no_import_comes_round_to_itself() -> None:
    assert_one_way(needs())


def assert_one_way(graph: Mapping[str, set[str]]) -> None:
    left = dict(graph)
    while left:
        free = {name for name, wanted in left.items() if not wanted & left.keys()}
        assert free, f"these import each other: { {name: sorted(left[name] & left.keys()) for name in sorted(left)} }"
        left = {name: wanted for name, wanted in left.items() if name not in free}
