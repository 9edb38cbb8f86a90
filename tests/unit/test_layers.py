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
PROGRAMS = frozenset({"cli", "doctor", "init", "manager", "flup_server", "__main__"})
"""What people start or import; they may start a master of their own."""

THIRD_PARTY = {
    "click": ("fpm.cli",),
    "configobj": ("fpm.config.load",),
    "flup": ("fpm.client",),
    "jinja2": ("fpm.init.render", "fpm.status_server"),
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
    ("fpm.launcher.launch", "fpm.launcher.env_file.EnvFileError"),  # the same
    ("fpm.launcher.launch", "fpm.launcher.env_file.add_variables"),  # the same
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
        if isinstance(child, ast.expr):
            continue  # has no statements
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, is_late, is_typing) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert not child.level, "relative imports hide where they go"
            yield from (Import(f"{child.module}.{alias.name}", is_late, is_typing) for alias in child.names)
        else:
            in_function = is_late or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
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


def test_a_module_is_pure_or_has_effects() -> None:
    packages = {name.rpartition(".")[0] for name in modules()}
    wrong = []
    for module in modules():
        ways = ways_to_the_world(module)
        if not imports()[module] or module in packages:
            continue  # names alone, or a package that hands on those of its modules
        if is_pure(module) and ways:
            wrong.append(f"{module} decides, so it must not import {', '.join(ways)}")
        elif not is_pure(module) and not ways:
            wrong.append(f'{module} has no effects: its docstring must say "Pure."')
    assert not wrong


def top_of(module: str) -> str:
    """The folder (or module) of fpm/ that a module is in."""
    return module.split(".")[1] if "." in module else "fpm"


def test_processes_share_libraries_and_the_protocol_alone() -> None:
    wrong = []
    for module, ours in ((name, need) for name, wanted in needs().items() for need in wanted):
        here, there = top_of(module), top_of(ours)
        if there == here or (here in POOL and there in POOL) or here in PROGRAMS or here == "fpm":
            continue
        if there in PROCESSES | PROGRAMS:
            wrong.append(f"{module} imports {ours}, which runs in another process")
    assert not wrong


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


def wrong_place(module: str, one: Import) -> str | None:
    """What is wrong with an import of something that is not ours, if anything."""
    top = one.name.partition(".")[0]
    if one.is_typing or top == "fpm" or top in sys.stdlib_module_names:
        return f"{module} imports {top}, which Python 3.13 does not have" if top in REMOVED else None
    places = THIRD_PARTY.get(top)
    if places is None:
        return f"{module} imports {top}, which is no dependency"
    here = Import(module, False, False)
    return None if any(map(here.is_of, places)) else f"{module} imports {top}, which only {' and '.join(places)} may"


def test_dependencies_stay_where_they_belong() -> None:
    found = [wrong_place(module, one) for module, all_of_them in imports().items() for one in all_of_them]
    assert not [one for one in found if one]


def test_a_pool_needs_the_standard_library_only() -> None:
    bundle, wrong = set(pool_module_names()), []
    packages = {name.rpartition(".")[0] for name in bundle} - {""}
    wrong += [f"add the package {name} to the bundle, of which modules are there" for name in packages - bundle]
    for module, one in ((name, found) for name in bundle for found in imports()[name] if not found.is_typing):
        top = one.name.partition(".")[0]
        if top == "fpm" and module_of(one.name) not in bundle:
            wrong.append(f"{module} imports {one.name}: add it to the bundle")
        elif top != "fpm" and top not in sys.stdlib_module_names:
            wrong.append(f"{module} imports {top}, which a pool does not have")
        if one.is_late and (module, one.name) not in LATE:
            wrong.append(f"{module} imports {one.name} in a function: too late after a fork or a chroot")
    assert not wrong


def calls(module: str) -> list[tuple[str, int]]:
    """What a module calls by a name, with or without dots, and the lines."""
    found = [node for node in ast.walk(trees()[module]) if isinstance(node, ast.Call)]
    named = [node for node in found if isinstance(node.func, ast.Name | ast.Attribute)]
    return [(ast.unparse(node.func), node.lineno) for node in named]


def test_only_the_command_line_prints() -> None:
    others = [name for name in modules() if not name.startswith("fpm.cli")]
    assert not [(name, line) for name in others for called, line in calls(name) if called == "print"]


PRINTS = r"print|(click\.)?(echo|secho)|(sys\.)?(stdout|stderr)(\.buffer)?\.write"
PRINTERS = frozenset({"fpm.cli.output", "fpm.cli.tables", "fpm.cli.top_screen"})
"""Those that know what they print to a terminal: escaped text, and cells of tables, which are escaped."""


def test_commands_print_escaped_text_only() -> None:
    commands = [name for name in modules() if name.startswith("fpm.cli.") and name not in PRINTERS]
    found = [(name, line) for name in commands for called, line in calls(name) if re.fullmatch(PRINTS, called)]
    assert not found, "use fpm.cli.output"


def test_no_import_comes_round_to_itself() -> None:
    assert_one_way(needs())


def assert_one_way(graph: Mapping[str, set[str]]) -> None:
    left = dict(graph)
    while left:
        free = {name for name, wanted in left.items() if not wanted & left.keys()}
        assert free, f"these import each other: { {name: sorted(left[name] & left.keys()) for name in sorted(left)} }"
        left = {name: wanted for name, wanted in left.items() if name not in free}
