"""Who embeds the manager and checks types is told of a wrong directive before the program runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).parent.parent.parent
LIBRARY = [f"fpm/manager/{name}.py" for name in ("__init__", "configuration", "directive_types")]
PROGRAM = """\
from pathlib import Path
from fpm.manager import Pool, PoolDirectives, Settings

right: PoolDirectives = {"pm_max_children": 4, "request_terminate_timeout": "90s", "env": {"A": "1"}}
Pool("a", app="m:app", listen="a.sock", **right)
Pool("a", app="m:app", listen="a.sock", pm="static", chdir=Path("/srv"), listen_mode=0o660, user=None)
Settings(process_control_timeout=5, log_level="debug")
Pool("a", app="m:app", listen="a.sock", pm_maxchildren=4)  # expect: Unexpected keyword argument "pm_maxchildren"
Pool("a", app="m:app", listen="a.sock", pm_max_children="many")  # expect: has incompatible type "str"
Pool("a", app="m:app", listen="a.sock", pm="sometimes")  # expect: has incompatible type "Literal['sometimes']"
Pool("a", listen="a.sock")  # expect: Missing named argument "app"
Settings(control="/x")  # expect: Unexpected keyword argument "control"
wrong: PoolDirectives = {"workers": 4}  # expect: Extra key "workers"
"""


def test_a_type_checker_sees_wrong_directives(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    # Without what the library imports, of which no type stands in a signature: a tenth of the time.
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=skip", "--config-file="]
    done = subprocess.run(
        [*command, "--cache-dir", str(tmp_path / "cache"), *LIBRARY, str(program)],
        cwd=TOP,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    errors = re.findall(r"^.*program\.py:(\d+): error: (.*)$", done.stdout, re.MULTILINE)
    found = {int(line): text for line, text in errors}
    expected = {
        number: line.partition("# expect: ")[2]
        for number, line in enumerate(PROGRAM.splitlines(), 1)
        if "# expect: " in line
    }
    assert found.keys() == expected.keys(), done.stdout + done.stderr
    for number, text in expected.items():
        assert text in found[number], number
