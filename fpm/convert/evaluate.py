"""Evaluates the settings of a Python file as data: literals, arithmetic, paths; nothing is executed. Pure."""

from __future__ import annotations

import ast
import operator
import posixpath
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fpm.convert.given import Given

NUMBER_MAX = 10**12
LENGTH_MAX = 10_000
_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_CORES = frozenset({"multiprocessing.cpu_count", "os.cpu_count", "cpu_count", "psutil.cpu_count", "mp.cpu_count"})
_ENVIRON = frozenset({"os.environ.get", "os.getenv", "environ.get", "getenv"})


class _Path(str):
    """A pathlib.Path, as far as settings use one: `/` and `.parent`."""

    __slots__ = ()


def _path(*parts: str) -> _Path:
    return _Path(posixpath.normpath(posixpath.join(*parts)))


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "int": int,
    "float": float,
    "str": str,
    "max": max,
    "min": min,
    "bool": bool,
    "Path": _path,
    "pathlib.Path": _path,
}
_PATHS: dict[str, Callable[..., str]] = {
    "join": posixpath.join,
    "dirname": posixpath.dirname,
    "basename": posixpath.basename,
    "normpath": posixpath.normpath,
    "abspath": posixpath.normpath,
    "realpath": posixpath.normpath,
}
"""Functions of os.path, for absolute paths."""
_FUNCTIONS |= {f"{module}{name}": function for name, function in _PATHS.items() for module in ("os.path.", "path.", "")}


class NotData(Exception):
    """Only running the file can tell."""


class _Reader:
    def __init__(self, cores: int, path: str) -> None:
        self._cores = cores
        self.names: dict[str, Any] = {"__file__": path}
        self.notes: list[str] = []
        """What has been assumed for the present value."""

    def value(self, node: ast.expr) -> Any:
        """Evaluate an expression.

        Raises:
            NotData: it is more than data.
        """
        found: Any
        if isinstance(node, ast.Constant):
            found = node.value
        elif isinstance(node, ast.List | ast.Tuple):
            found = [self.value(one) for one in node.elts]
        elif isinstance(node, ast.Dict):
            if any(key is None for key in node.keys):
                raise NotData
            found = {
                self.value(key): self.value(one)
                for key, one in zip(node.keys, node.values, strict=True)
                if key is not None
            }
        elif isinstance(node, ast.Name) and node.id in self.names:
            found = self.names[node.id]
        elif isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
            found = self._operation(_OPERATORS[type(node.op)], self.value(node.left), self.value(node.right))
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            found = self._operation(operator.sub, 0, self.value(node.operand))
        elif isinstance(node, ast.JoinedStr):
            found = "".join(self._part(one) for one in node.values)
        elif isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or):
            found = next((one for one in map(self.value, node.values) if one), None)
        elif isinstance(node, ast.Call):
            found = self._call(node)
        elif isinstance(node, ast.Attribute) and node.attr == "parent":
            found = _path(posixpath.dirname(self._path(node.value)))
        else:
            raise NotData
        return self._bounded(found)

    def _part(self, node: ast.expr) -> str:
        if isinstance(node, ast.FormattedValue) and node.format_spec is None and node.conversion == -1:
            return str(self.value(node.value))
        return str(self.value(node))

    def _path(self, node: ast.expr) -> _Path:
        found = self.value(node)
        if not isinstance(found, _Path):
            raise NotData
        return found

    def _operation(self, how: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
        if isinstance(left, _Path) and isinstance(right, str) and how is operator.truediv:
            return _path(left, right)
        # Small operands keep the result small: neither 'x' * 10**9 nor a format with a width is worked out.
        if isinstance(left, str) and not (how is operator.add and isinstance(right, str)):
            raise NotData
        if isinstance(right, str) and not isinstance(left, str):
            raise NotData
        if isinstance(left, list | dict) and how is not operator.add:
            raise NotData
        try:
            return how(left, right)
        except (TypeError, ArithmeticError):
            raise NotData from None

    def _call(self, node: ast.Call) -> Any:
        name = ast.unparse(node.func)
        if node.keywords:
            raise NotData
        if name in _CORES and not node.args:
            self.notes.append(f"this machine has {self._cores} CPUs")
            return self._cores
        arguments = [self.value(one) for one in node.args]
        if isinstance(node.func, ast.Attribute) and node.func.attr in ("resolve", "absolute") and not arguments:
            return self._path(node.func.value)
        if name in _ENVIRON and arguments:
            self.notes.append(f"the environment variable {arguments[0]} may say otherwise")
            return arguments[1] if len(arguments) > 1 else None
        if name in _FUNCTIONS and arguments:
            try:
                return _FUNCTIONS[name](*arguments)
            except (TypeError, ValueError, OverflowError):
                raise NotData from None
        raise NotData

    def _bounded(self, found: Any) -> Any:
        if isinstance(found, int | float) and not -NUMBER_MAX <= found <= NUMBER_MAX:
            raise NotData
        if isinstance(found, str | list | dict) and len(found) > LENGTH_MAX:
            raise NotData
        if isinstance(found, bytes | complex):
            raise NotData
        return found


_RUN = "only running the file tells its value: pyfpm convert --execute"
_CONDITION = "it is set under a condition: pyfpm convert --execute"


def read_settings(text: str, path: str, cores: int, is_setting: Callable[[str], bool]) -> list[Given]:
    """Return what a configuration file in Python sets.

    Args:
        path: absolute, of the file: what __file__ stands for.
        cores: what multiprocessing.cpu_count() stands for.
        is_setting: tells of a name whether it is a setting; others are variables of the file.

    Raises:
        SyntaxError: it is not Python.
        RecursionError: its expressions are nested too deeply.
    """
    reader = _Reader(cores, path)
    found: list[Given] = []
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if is_setting(node.name):
                found.append(Given(node.lineno, node.name, f"def {node.name}(...)"))
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            found += _assigned(reader, node)
        else:
            found += [Given(line, name, "...", _CONDITION) for line, name in _nested(node) if is_setting(name)]
            for _, name in _nested(node):
                reader.names.pop(name, None)
    return found


def _assigned(reader: _Reader, node: ast.Assign | ast.AnnAssign | ast.AugAssign) -> Iterator[Given]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    if node.value is None:
        return
    reader.notes = []
    try:
        value, reason = reader.value(node.value), ""
        if isinstance(node, ast.AugAssign):
            old = reader.names.get(node.target.id) if isinstance(node.target, ast.Name) else None
            how = _OPERATORS.get(type(node.op))
            if old is None or how is None:
                raise NotData
            value = how(old, value)
    except (NotData, TypeError, ArithmeticError):
        value, reason = ast.unparse(node.value), _RUN
    note = "; ".join(dict.fromkeys(reader.notes))
    for target in targets:
        for name, one in _pairs(target, value):
            if reason or not name.isidentifier():
                reader.names.pop(name, None)
                yield Given(node.lineno, name, one, _RUN)
            else:
                reader.names[name] = one
                yield Given(node.lineno, name, _plain(one), "", note)


def _pairs(target: ast.expr, value: Any) -> list[tuple[str, Any]]:
    """Return the names of a target with their values; of anything but names the source."""
    names = target.elts if isinstance(target, ast.Tuple) else [target]
    values = value if isinstance(target, ast.Tuple) and isinstance(value, list) else [value]
    if len(names) == len(values) and all(isinstance(name, ast.Name) for name in names):
        return [(ast.unparse(name), one) for name, one in zip(names, values, strict=True)]
    return [(ast.unparse(target), value)]


def _plain(value: Any) -> Any:
    """Return a value with paths as texts."""
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, _Path) else value


def _nested(node: ast.AST) -> Iterator[tuple[int, str]]:
    """Name what is assigned or defined in a statement."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
            yield inner.lineno, inner.id
        elif isinstance(inner, ast.FunctionDef) and inner is not node:
            yield inner.lineno, inner.name


def from_values(values: Mapping[str, Any]) -> list[Given]:
    """Return the settings that running a file has given."""
    return [Given(0, name, value) for name, value in values.items()]
