"""Finds WSGI applications in the text of a Python module. Pure."""

from __future__ import annotations

import ast
import itertools
import keyword
import re
import warnings
from collections.abc import Iterator

from fpm.frozen import dataclass

NAMES = ("application", "app")
"""Callables by this name are taken, the first one that there is (mod_wsgi and Flask call theirs so)."""
FACTORIES = ("create_application", "create_app", "make_app", "make_application")
"""Functions without required parameters that return the application, in this order."""
_FRAMEWORKS = {
    "get_wsgi_application": "django",
    "Flask": "flask",
    "Bottle": "bottle",
    "default_app": "bottle",
    "make_wsgi_app": "pyramid",
}
_ASYNCHRONOUS = frozenset({"FastAPI", "Starlette", "Quart", "Litestar", "Sanic", "get_asgi_application"})
"""What these make is an ASGI application."""
_MODULES = ("django", "flask", "bottle", "falcon", "pyramid", "cherrypy")
PARTS_MAX = 5000
"""Statements that are looked at of a source that cannot be parsed as a whole."""
_START = re.compile(r"^(?!else\b|elif\b|except\b|finally\b)[^\s)\]}#]", re.MULTILINE)
_BINDING = re.compile(r"(?P<function>def\s+)?(?P<name>\w+)\s*(?(function)\(|(?::[^=\n]*)?=(?!=))")
_SETTINGS = re.compile(r"[A-Za-z_][\w.]*")


@dataclass(frozen=True, slots=True)
class Callable:
    """A WSGI application that a module has.

    Attributes:
        name: as after the colon of `app`: `application`, `app`, `create_app()`.
        framework: `django`, `flask`, `bottle`, `falcon`, `pyramid`, `cherrypy`, or "" if it is not known.
    """

    name: str
    framework: str


def find_callable(text: str) -> Callable | None:
    """Find what to serve of a module: `application`, then `app`, then a factory, then the only Flask() or Bottle().

    Args:
        text: the source. What is not Python has none.
    """
    tree = parse(text)
    if tree is None:
        return None
    values = dict(bound_names(tree))
    framework = _imported(tree)
    for name in NAMES:
        if name in values and _maker(values[name]) not in _ASYNCHRONOUS:
            return Callable(name, _framework(values[name]) or framework)
    for name in FACTORIES:
        function = values.get(name)
        if isinstance(function, ast.FunctionDef) and _needs_nothing(function):
            return Callable(f"{name}()", framework)
    made = [(name, kind) for name, value in values.items() if (kind := _framework(value))]
    return Callable(*made[0]) if len(made) == 1 else None


def find_asynchronous(text: str) -> str:
    """Return what makes the ASGI application of a module, as "FastAPI"; "" if there is none."""
    tree = parse(text)
    makers = [_maker(value) for _, value in bound_names(tree)] if tree is not None else []
    return next((maker for maker in makers if maker in _ASYNCHRONOUS), "")


def find_settings_module(text: str) -> str:
    """Return the module of Django's settings that a manage.py or a wsgi.py names; "" if it names none."""
    tree = parse(text)
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("environ.setdefault"):
            words = [word.value for word in node.args if isinstance(word, ast.Constant)]
            if len(words) == 2 and words[0] == "DJANGO_SETTINGS_MODULE":
                value = words[1]
                return value if isinstance(value, str) and _SETTINGS.fullmatch(value) else ""
    return ""


def find_assigned_text(text: str, name: str) -> str:
    """Return the string that a module assigns to a name at its top level; "" if it is no plain string."""
    tree = parse(text)
    value = dict(bound_names(tree)).get(name) if tree is not None else None
    return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else ""


def parse(text: str) -> ast.Module | None:
    """Parse a source, of one that is half-written the statements that can be read; None for what is no Python."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of escapes in the strings of others
        try:
            return ast.parse(text)
        except SyntaxError:  # of a mistake, or of a Python that is newer than ours
            return ast.Module([statement for part in _parts(text) for statement in _statements(part)], [])
        except (ValueError, RecursionError, MemoryError):  # not Python, or made to be deep
            return None


def _parts(text: str) -> list[str]:
    """Return the statements of a source at its top level, at most PARTS_MAX; the only mistake is in some of them."""
    starts = [found.start() for found in itertools.islice(_START.finditer(text), PARTS_MAX)]
    return [text[start:end] for start, end in itertools.pairwise([*starts, len(text)])]


def _statements(part: str) -> list[ast.stmt]:
    """Parse a part of a source; of a broken one only the name stays that it defines."""
    try:
        return ast.parse(part).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        found = _BINDING.match(part)
        if found is None or not found["name"].isidentifier() or keyword.iskeyword(found["name"]):
            return []
        return ast.parse(f"def {found['name']}(): ..." if found["function"] else f"{found['name']} = None").body


def bound_names(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """Yield the names of a module with what they are bound to, also within `if`, `try` and `with` at the top level."""
    for node in top_statements(tree.body):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name, node
        elif isinstance(node, ast.Assign):
            yield from ((target.id, node.value) for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            yield node.target.id, node.value
        elif isinstance(node, ast.ImportFrom):
            # A submodule may have the name as well, as in `from shop import app`: only another one's is taken.
            yield from ((alias.asname or alias.name, node) for alias in node.names)


def top_statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements of a module, also those within `if`, `try` and `with`."""
    for node in body:
        if isinstance(node, ast.If):
            if ast.unparse(node.test) not in ("__name__ == '__main__'", "TYPE_CHECKING"):
                yield from top_statements([*node.body, *node.orelse])
        elif isinstance(node, ast.Try):
            yield from top_statements([*node.body, *node.orelse, *node.finalbody])
        elif isinstance(node, ast.With):
            yield from top_statements(node.body)
        else:
            yield node


def _framework(value: ast.AST) -> str:
    """Tell by the call that makes a value what it is."""
    if isinstance(value, ast.Call) and ast.unparse(value.func) in ("falcon.App", "falcon.API"):
        return "falcon"
    return _FRAMEWORKS.get(_maker(value), "")


def _maker(value: ast.AST) -> str:
    """Return the last name of what makes a value by a call, as "Flask" for flask.Flask(...)."""
    return ast.unparse(value.func).rpartition(".")[2] if isinstance(value, ast.Call) else ""


def _imported(tree: ast.Module) -> str:
    """Return the framework that a module imports; "" if there is none, or more than one."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    known = found.intersection(_MODULES)
    return known.pop() if len(known) == 1 else ""


def _needs_nothing(function: ast.FunctionDef) -> bool:
    parameters = function.args
    required = len(parameters.posonlyargs) + len(parameters.args) - len(parameters.defaults)
    return required == 0 and all(default is not None for default in parameters.kw_defaults)
