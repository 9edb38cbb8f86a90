"""Computes the strings and paths that a Python source spells, without executing it. Pure."""

from __future__ import annotations

import ast
import posixpath
from collections.abc import Mapping

DEPTH_MAX = 30
"""Steps from one name to the next."""


def text_of(expression: ast.expr | None, names: Mapping[str, ast.expr], file: str, depth: int = 0) -> str | None:
    """Compute a string or a path, as BASE_DIR / "static" with BASE_DIR = Path(__file__).resolve().parent.parent.

    Args:
        names: what the module assigns.
        file: the absolute path of the module, for __file__.

    Returns:
        None if the value is something else, or depends on more than that.
    """
    if depth > DEPTH_MAX or expression is None:
        return None
    if isinstance(expression, ast.Constant):
        return expression.value if isinstance(expression.value, str) else None
    if isinstance(expression, ast.Name):
        return file if expression.id == "__file__" else text_of(names.get(expression.id), names, file, depth + 1)
    if isinstance(expression, ast.Attribute) and expression.attr == "parent":
        inner = text_of(expression.value, names, file, depth + 1)
        return None if inner is None else posixpath.dirname(inner)
    if isinstance(expression, ast.BinOp) and isinstance(expression.op, ast.Div):
        left, right = (text_of(one, names, file, depth + 1) for one in (expression.left, expression.right))
        return None if left is None or right is None else posixpath.join(left, right)
    return _call(expression, names, file, depth + 1) if isinstance(expression, ast.Call) else None


def _call(call: ast.Call, names: Mapping[str, ast.expr], file: str, depth: int) -> str | None:
    """Compute what the functions of os.path and the methods of pathlib.Path return."""
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    arguments = list(call.args)
    if name in ("resolve", "absolute", "joinpath", "as_posix") and isinstance(function, ast.Attribute):
        arguments.insert(0, function.value)
    texts = [text for one in arguments if (text := text_of(one, names, file, depth)) is not None]
    if not texts or len(texts) != len(arguments):
        return None
    if name in ("join", "joinpath", "Path", "PurePath"):
        return posixpath.join(*texts)
    if name in ("str", "abspath", "realpath", "normpath", "resolve", "absolute", "as_posix"):
        return texts[0]
    return posixpath.dirname(texts[0]) if name == "dirname" else None
