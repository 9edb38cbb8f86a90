"""The C of the hot path: how much there is, that each function says what it does, that no compiler complains."""

from __future__ import annotations

import re
import subprocess
import sysconfig
from pathlib import Path

import pytest

from tests.fuzz import sanitized

LINES_MAX = 1500
COLUMNS_MAX = 120
FUNCTION_MAX = 40
COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
FUNCTION = re.compile(r"(?:static|__attribute__).*?(\w+)\((?!\()[^;]*\)\s*\{$")
LINES = sanitized.SOURCE.read_text().splitlines()


def functions() -> dict[int, str]:
    """The functions that are longer than a line, by the index of their first."""
    found = ((number, FUNCTION.match(line)) for number, line in enumerate(LINES))
    return {number: match[1] for number, match in found if match}


def test_there_is_not_much_of_it() -> None:
    code = COMMENT.sub("", "\n".join(LINES))
    assert len([line for line in code.splitlines() if line.strip()]) < LINES_MAX
    assert not [f"line {number}" for number, line in enumerate(LINES, 1) if len(line) > COLUMNS_MAX]


def test_a_function_says_what_it_does_and_fits_on_a_screen() -> None:
    every = functions()
    assert len(every) > 50
    assert not [name for number, name in every.items() if not LINES[number - 1].endswith("*/")]
    ends = {name: LINES.index("}", number) - number + 1 for number, name in every.items()}
    assert not {name: size for name, size in ends.items() if size > FUNCTION_MAX}


def test_it_keeps_to_the_stable_abi_and_to_its_own_memory() -> None:
    text = "\n".join(LINES)
    assert "#define Py_LIMITED_API 0x030b0000" in text
    assert not re.findall(r"\b(?:malloc|calloc|realloc|alloca|PyMem_\w+|PyObject_Malloc|strcpy|sprintf)\b", text)


def test_no_compiler_complains(directory: Path) -> None:
    missing = sanitized.find_missing_compiler()
    if missing:
        pytest.skip(missing)
    include = f"-I{sysconfig.get_path('include')}"
    flags = ["-O2", "-Wall", "-Wextra", "-Werror", "-Wshadow", "-Wvla", "-fPIC", "-c", "-o", str(directory / "it.o")]
    command = [*sanitized.find_compiler(), *flags, include, str(sanitized.SOURCE)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr
