"""`make mutants`: plant each fault of mutants.toml alone in a copy of the tree; the tests named with it must notice.

    python -m tests.plant_mutants [NAME...]

An entry of mutants.toml is a `[[mutant]]` with `name`, `file`, `old` (text that occurs exactly once in the file),
`new`, `tests` (what pytest takes: files or node ids), `why` (one sentence) and, where 180 are not enough, `seconds`.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parent.parent
FILE = ROOT / "tests/mutants.toml"
SOURCE, BINARY = "fpm/_hotpath.c", "fpm/_hotpath.abi3.so"
NOT_COPIED = (".git", ".venv", ".venv-*", "__pycache__", "*.egg-info", ".*_cache", ".hypothesis", "build", "dist")
MACHINE = ROOT / ".venv/machine"
FAILED = 1
"""pytest's exit status when tests failed; higher ones say that they could not run."""
VERDICTS = {"failed": "caught", "passed": "survived"}
END_TIME = 60.0
"""Seconds for the fixtures of tests that are interrupted."""
SCRIPT = "#!{python}\nimport sys\nfrom fpm.cli.main import main\nsys.exit(main())\n"


@dataclass(frozen=True, slots=True)
class Mutant:
    """One fault."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    why: str
    seconds: float = 180.0

    def mistakes(self, tree: Path) -> list[str]:
        """What makes this entry useless in `tree`."""
        found = [f"there is no {test}" for test in self.tests if not (tree / test.partition("::")[0]).is_file()]
        if not (tree / self.file).is_file():
            return [*found, f"there is no {self.file}"]
        count = (tree / self.file).read_text().count(self.old)
        found += [f"its old text occurs {count} times in {self.file}"] if count != 1 else []
        return found + (["its new text is the old one"] if self.old == self.new else [])


def read_mutants(file: Path = FILE) -> list[Mutant]:
    """Read all entries; a key that is missing or unknown is a TypeError."""
    entries = tomllib.loads(file.read_text())["mutant"]
    return [Mutant(**{**entry, "tests": tuple(entry["tests"])}) for entry in entries]


def copy_tree(to: Path) -> None:
    """Copy the tree, with a .venv of its own: Python is executed with -P there and must find the copy's `fpm`."""
    shutil.copytree(ROOT, to, ignore=shutil.ignore_patterns(*NOT_COPIED))
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", to / ".venv"], check=True)
    binaries, original = to / ".venv/bin", Path(sysconfig.get_path("scripts"))
    # Plain lines: the .pth files beside the libraries, one of which leads to the original's fpm, are not obeyed.
    site = sysconfig.get_path("purelib", vars={"base": str(to / ".venv")})
    Path(site, "copy.pth").write_text(f"{to}\n{sysconfig.get_path('purelib')}\n")
    (binaries / "pyfpm").write_text(SCRIPT.format(python=binaries / "python"))
    (binaries / "pyfpm").chmod(0o755)
    for tool in original.iterdir():
        if not (binaries / tool.name).exists():
            (binaries / tool.name).symlink_to(tool)
    if MACHINE.exists():
        (to / ".venv" / MACHINE.name).symlink_to(MACHINE)  # it is only read
    command = [str(binaries / "python"), "-P", "-c", "import fpm; print(fpm.__file__)"]
    found = subprocess.run(command, cwd="/", env=_environ(), capture_output=True, text=True, check=True).stdout.strip()
    assert found == str(to / "fpm/__init__.py"), f"the copy imports {found}"


def _environ() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def plant(mutant: Mutant, tree: Path, number: int) -> None:
    """Change the file; its new time differs from that of every other content, for the sake of cached bytecode."""
    path = tree / mutant.file
    time = int(path.stat().st_mtime) + number
    path.write_text(path.read_text().replace(mutant.old, mutant.new))
    os.utime(path, (time, time))


def compile_again(tree: Path) -> bool:
    """Compile the hot path of the copy anew; False if it is compiled here, and cannot be there."""
    if not (ROOT / BINARY).exists():
        return True  # there is no compiler: its tests are skipped
    (tree / BINARY).unlink(missing_ok=True)
    build = tree.with_suffix(".build")
    command = [str(tree / ".venv/bin/python"), "setup.py", "-q", "build_ext", "--inplace", "--force"]
    places = ["--build-lib", str(build), "--build-temp", str(build)]
    subprocess.run([*command, *places], cwd=tree, env=_environ(), capture_output=True, timeout=300, check=False)
    return (tree / BINARY).exists()


def run_tests(tests: Sequence[str], tree: Path, seconds: float) -> tuple[str, str]:
    """Run tests in the copy.

    Returns:
        "passed", "failed", "skipped" (all of them), "broken" (they could not run) or "late", and what pytest printed.
    """
    report, output = tree.with_suffix(".xml"), tree.with_suffix(".txt")
    python = str(tree / ".venv/bin/python")
    command = [python, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", f"--junit-xml={report}"]
    with output.open("w") as file:
        process = subprocess.Popen([*command, *tests], cwd=tree, env=_environ(), stdout=file, stderr=file)
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            _interrupt(process)
            return "late", output.read_text()
    if status > FAILED or status < 0:
        return "broken", output.read_text()
    suite = ElementTree.parse(report).getroot()[0]
    all_skipped = suite.get("skipped") == suite.get("tests")
    return ("failed" if status == FAILED else "skipped" if all_skipped else "passed"), output.read_text()


def _interrupt(process: subprocess.Popen[bytes]) -> None:
    """As Ctrl-C: the fixtures stop what they have started."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(END_TIME)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def try_mutant(mutant: Mutant, tree: Path, number: int) -> str:
    """Plant one, run its tests, restore the file; see run_tests for what it may be."""
    is_compiled = mutant.file == SOURCE
    plant(mutant, tree, number)
    try:
        if is_compiled and not compile_again(tree):
            return "broken"
        return run_tests(mutant.tests, tree, mutant.seconds)[0]
    finally:
        shutil.copy2(ROOT / mutant.file, tree / mutant.file)
        if is_compiled and (ROOT / BINARY).exists():
            (tree / BINARY).unlink(missing_ok=True)  # it may be mapped
            shutil.copy2(ROOT / BINARY, tree / BINARY)


def try_all(mutants: Sequence[Mutant], tree: Path) -> int:
    """Try all, print the table, and return the exit status."""
    tests = sorted({test for mutant in mutants for test in mutant.tests})
    verdict, output = run_tests(tests, tree, sum(mutant.seconds for mutant in mutants))
    if verdict not in ("passed", "skipped"):
        print(output, f"without any fault the tests have {verdict}", sep="\n")
        return 1
    width = max(len(mutant.name) for mutant in mutants)
    count: Counter[str] = Counter()
    for number, mutant in enumerate(mutants, 1):
        verdict = try_mutant(mutant, tree, number)
        count[verdict] += 1
        print(f"{mutant.name:{width}}  {VERDICTS.get(verdict, verdict):10}{mutant.file}", flush=True)
    survived = len(mutants) - count["failed"] - count["skipped"]
    print(f"{count['failed']} caught, {survived} survived" + f", {count['skipped']} skipped" * bool(count["skipped"]))
    return 1 if survived else 0


def main(names: Sequence[str]) -> int:
    """Try the mutants of these names, or all; exit status 1 if one survives or its entry is out of date."""
    mutants = [mutant for mutant in read_mutants() if not names or mutant.name in names]
    unknown = set(names) - {mutant.name for mutant in mutants}
    mistakes = [f"{mutant.name}: {mistake}" for mutant in mutants for mistake in mutant.mistakes(ROOT)]
    mistakes += [f"{name}: there is no such mutant" for name in sorted(unknown)]
    if mistakes:
        print(*mistakes, sep="\n")
        return 1
    with tempfile.TemporaryDirectory(prefix="pyfpm-mutants-") as directory:
        Path(directory).chmod(0o755)  # some tests are another user's
        copy_tree(Path(directory, "tree"))
        return try_all(mutants, Path(directory, "tree"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
