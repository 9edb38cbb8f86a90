"""The house as CONTRIBUTING.md and docs/architecture.md describe it: tree, sizes, references."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

TOP = Path(__file__).parent.parent.parent
FUNCTION_MAX = 40
FILE_MAX = 300
ATTRIBUTES_MAX = 12
METHODS_MAX = 20
FILES = sorted((TOP / "fpm").rglob("*.py"))
DOCUMENTS = [TOP / "README.md", TOP / "CONTRIBUTING.md", *sorted((TOP / "docs").glob("*.md"))]
NAME = re.compile(r"(?<![\w/.(-])fpm(?:\.[a-z_][a-z_0-9]*)+")
MARKDOWN = re.compile(r"(?<![\w/.-])[\w/-]+\.md\b")
PATH = re.compile(r"(?<![\w/.-])(?:fpm|tests|docs|man|contrib|bench|examples|pools\.d)/[\w./-]*\w")


def short(path: Path) -> str:
    return str(path.relative_to(TOP))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def test_a_file_can_be_read_in_one_go() -> None:
    sizes = {short(path): len(path.read_text().splitlines()) for path in FILES}
    assert not {name: size for name, size in sizes.items() if size > FILE_MAX}


def test_a_function_fits_on_a_screen() -> None:
    large = []
    for path in FILES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                size = (node.end_lineno or 0) - node.lineno + 1
                large += [f"{short(path)}:{node.lineno} {node.name}: {size} lines"] if size > FUNCTION_MAX else []
    assert not large


def attributes_of(node: ast.ClassDef) -> set[str]:
    """Those of the class body and those that its methods set."""
    found = {one.target.id for one in node.body if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)}
    for inner in ast.walk(node):
        if isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store) and ast.unparse(inner.value) == "self":
            found.add(inner.attr)
    return found


def is_record(node: ast.ClassDef) -> bool:
    """Values alone have as many fields as there are values."""
    return any("dataclass" in ast.unparse(one) for one in node.decorator_list) or any(
        ast.unparse(base) in ("NamedTuple", "Protocol", "TypedDict") for base in node.bases
    )


def test_a_large_class_says_why() -> None:
    for path in FILES:
        for node in [one for one in ast.walk(tree_of(path)) if isinstance(one, ast.ClassDef)]:
            count, methods = len(attributes_of(node)), sum(isinstance(one, ast.FunctionDef) for one in node.body)
            is_large = methods > METHODS_MAX or (count > ATTRIBUTES_MAX and not is_record(node))
            reason = re.search(r"\b(more|many)\s+(attributes|methods)\b", ast.get_docstring(node) or "")
            assert reason or not is_large, f"{short(path)} {node.name}: {count} attributes, {methods} methods"


def test_the_tree_names_every_folder() -> None:
    text = (TOP / "CONTRIBUTING.md").read_text()
    named = set(re.findall(r"^(fpm/[a-z_]+)/ ", text, re.MULTILINE))
    assert named == {short(path) for path in (TOP / "fpm").iterdir() if (path / "__init__.py").exists()}


def test_the_tree_of_the_master_names_every_folder() -> None:
    text = (TOP / "docs" / "architecture.md").read_text()
    named = set(re.findall(r"`(fpm/master/[a-z_]+)/`", text))
    assert named >= {short(path) for path in (TOP / "fpm" / "master").iterdir() if (path / "__init__.py").exists()}


def references() -> Iterator[tuple[str, str]]:
    """(document or module, what it refers to): modules by their dotted names, files by their paths."""
    for path in [*FILES, *DOCUMENTS]:
        text = path.read_text()
        yield from ((short(path), name) for name in [*NAME.findall(text), *MARKDOWN.findall(text)])
        if path.suffix == ".md" and path.name != "CHANGELOG.md":
            yield from ((short(path), name) for name in PATH.findall(text))


@cache
def exists(reference: str) -> bool:
    """A file of the repository; a module; or a name in a module, or in the package `fpm` itself."""
    if "/" in reference or reference.endswith(".md"):
        return (TOP / reference).exists() or (TOP / "docs" / reference).exists()
    parts = reference.split(".")
    for count in range(len(parts), 0, -1):
        base = TOP.joinpath(*parts[:count])
        source = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
        source = source if source.exists() else base.with_suffix(".c")
        if source.exists():
            rest = parts[count:]
            return not rest or re.search(rf"\b{rest[0]}\b", source.read_text()) is not None
    return False


def test_what_is_referred_to_exists() -> None:
    missing = [f"{where} refers to {name}" for where, name in sorted(set(references())) if not exists(name)]
    assert not missing


def test_documents_are_finished() -> None:
    """No line is a name that something else was to be put in for."""
    left = {short(path): re.findall(r"^[A-Z]+_[A-Z_]+$", path.read_text(), re.MULTILINE) for path in DOCUMENTS}
    assert not {name: lines for name, lines in left.items() if lines}


def test_the_tests_that_documents_name_exist() -> None:
    texts: dict[str, str] = {}
    for path in (TOP / "tests").rglob("test_*.py"):
        texts[path.name] = texts.get(path.name, "") + path.read_text()
    missing = []
    for path in [*DOCUMENTS, TOP / "SECURITY.md"]:
        for file, test in re.findall(r"`(?:tests/\w+/)?(test_\w+\.py)(?:::(test_\w+))?`", path.read_text()):
            if file not in texts or (test and f"def {test}(" not in texts[file]):
                missing.append((short(path), file, test))
    assert not missing
