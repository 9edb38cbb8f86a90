"""An installation of pyfpm of its own, whose files a test changes while it runs: what an upgrade finds."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "fpm"
NEW_DIRECTIVE = """        Directive("{name}", "integer", "3", "Of the next version."),
        Directive(
            "{before}","""
NEW_DIRECTIVES = (("manager", "pm.max_requests", "pm.surplus"), ("global_directives", "systemd_interval", "more"))
NEW_FIELDS = (
    ("config/model.py", "    pm_max_requests: int\n", "    pm_surplus: int\n"),
    ("config/model.py", "    systemd_interval: float\n", "    more: int\n"),
    ("protocol/spec.py", "    request_statistics: bool = True\n", "    pm_surplus: int = 3\n"),
    ("protocol/spec.py", "    umask: int | None = None\n", "    surplus: int = 3\n"),
    ("protocol/messages.py", "    hold: bool\n", "    surplus: int = 3\n"),
)
NEW_NUMBER = (
    "scoreboard/response_numbers.py",
    "    def take_statistics(",
    '    surplus: int = number(COUNT, key="surplus")\n\n    def take_statistics(',
)


class Installation:
    """A copy of the package in a directory that no interpreter knows; give `wrapper` to Daemon.start."""

    def __init__(self, directory: Path) -> None:
        self.package = directory / "fpm"
        self._copy()
        place = f"sys.path.insert(0, {str(directory)!r})"
        program = f"import sys; {place}; del sys.argv[0]; from fpm.__main__ import main; main()"
        # A changed file is executed even if it changes twice within a second.
        self.wrapper = [sys.executable, "-B", "-c", program]

    def _copy(self) -> None:
        shutil.copytree(PACKAGE, self.package, ignore=shutil.ignore_patterns("__pycache__"))

    def install_present(self) -> None:
        """Install the version that is tested."""
        shutil.rmtree(self.package)
        self._copy()

    def change(self, file: str, before: str, after: str) -> None:
        """Replace a text that there is once in a file."""
        path = self.package / file
        text = path.read_text()
        assert text.count(before) == 1, f"{file} has {text.count(before)} times {before!r}"
        path.write_text(text.replace(before, after))

    def install_next(self) -> None:
        """Install what the next version may be: with directives, settings, a number, fields of messages more."""
        for file, before, name in NEW_DIRECTIVES:
            new = NEW_DIRECTIVE.format(name=name, before=before)
            self.change(f"config/tables/{file}.py", f'        Directive(\n            "{before}",', new)
        for file, before, added in NEW_FIELDS:
            self.change(file, before, before + added)
        self.change(*NEW_NUMBER)
