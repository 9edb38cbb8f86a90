"""Runs the commands of a page: every block with `$ ` lines, in the page's order, in a machine of its own.

Blocks whose first line is a comment with a path are written to that file first (`; /etc/pyfpm/pools.d/shop.conf`), in
their place, or added to it (`# at the end of /srv/shop/settings.py`). A command must succeed, unless its comment says
that it fails (`# fails: ...`) or `$ echo $?` comes next. What a block shows below a command must be printed by it, in
this order; any number stands for any other, `...` for any text. A command that stays in the foreground is left running,
as in another terminal, and stopped at the end.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.directories import opened_directory
from tests.support.markdown import TOP, Block, blocks

HERE = Path(__file__).parent / "guides"
FOREGROUND = re.compile(r"^(\S*/)?pyfpm (-\S+ \S+ )*(run|serve)\b")
READY = r"ready to handle|http://|Serving"
NAMESPACES = ("unshare", "--mount", "--uts", "--pid", "--net", "--fork", "--kill-child", "--mount-proc")
EXAMPLE_PID = "4711"
"""What pages write for the pid of a worker."""
TIMEOUT = 300


@dataclass(frozen=True)
class Command:
    """One command of a page; `shown` are the lines that the page has below it."""

    text: str
    line: str
    """Of which page, as in `tour.md:17`."""
    shown: tuple[str, ...]
    may_fail: bool


@dataclass(frozen=True)
class Outcome:
    """What a command did."""

    command: Command
    status: int
    output: str


def commands(block: Block, page: str = "") -> list[Command]:
    """The commands of a console block; lines after `> ` belong to the command above."""
    found: list[Command] = []
    for number, line in enumerate(block.text.splitlines(), block.line + 1):
        place = f"{page}:{number}"
        if line.startswith("$ "):
            may_fail = re.search(r"# fails\b", line) is not None
            if found and line == "$ echo $?":
                found[-1] = Command(found[-1].text, found[-1].line, found[-1].shown, True)
            found.append(Command(line[2:], place, (), may_fail))
        elif line.startswith("> ") or line == ">":
            last = found.pop()
            found.append(Command(f"{last.text}\n{line[2:]}", last.line, (), last.may_fail))
        elif line.strip() and found:
            last = found.pop()
            found.append(Command(last.text, last.line, (*last.shown, line), last.may_fail))
    return found


def script_of(pages: Sequence[Path], *, writes: bool) -> tuple[str, list[Command]]:
    """The pages as a script of bash, and the commands that it has, in this order.

    A command that shows nothing is typed once; `writes`: blocks that are files are written.
    """
    lines: list[str] = []
    run: list[Command] = []
    for name, block in [(page.name, block) for page in pages for block in blocks(page) if not block.not_run]:
        if block.path and writes:
            arrow = ">>" if block.appends else ">"
            lines += [f"mkdir -p $(dirname {block.path})", f"cat {arrow}{block.path} <<'END-OF-FILE'"]
            lines += [block.text + "END-OF-FILE"]
        for command in commands(block, name) if block.language == "console" else []:
            if command.shown or writes or not any(_same(command, before) for before in run):
                lines += [f"printf '\\036%s\\n' {len(run)}", _typed(command), "printf '\\037%s\\n' $?"]
                run.append(command)
    return "\n".join(lines) + "\n", run


def _same(one: Command, other: Command) -> bool:
    """Whether two lines type the same; comments do not count."""
    return re.sub(r"\s+#.*", "", one.text) == re.sub(r"\s+#.*", "", other.text)


def _typed(command: Command) -> str:
    if not FOREGROUND.match(command.text):
        text = command.text.replace(EXAMPLE_PID, "$(pgrep -of '^pyfpm: pool ')")
        return f"{{ {text}\n}} </dev/null 2>&1"
    text = re.sub(r"\s+#.*", "", command.text)
    wait = f"for _ in $(seq 3000); do grep -qE '{READY}' /tmp/foreground && break; sleep 0.02; done"
    return f"{text} </dev/null >/tmp/foreground 2>&1 &\n{wait}; cat /tmp/foreground; grep -qE '{READY}' /tmp/foreground"


def run_pages(pages: Sequence[Path], scene: str, *, writes: bool = True) -> list[Outcome]:
    """Run the pages' commands on one machine, which begins as the scene has it; what each of them did."""
    script, run = script_of(pages, writes=writes)
    with opened_directory() as directory:
        (directory / "page.sh").write_text(script)
        line = [*NAMESPACES, "bash", str(HERE / "world.sh"), str(TOP), str(HERE / scene), str(directory / "page.sh")]
        done = subprocess.run(
            line, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT, check=False, cwd="/"
        )
    parts = re.findall(r"\x1e(\d+)\n(.*?)\x1f(\d+)\n", done.stdout, re.DOTALL)
    assert [int(number) for number, _, _ in parts] == [*range(len(run))], done.stdout + done.stderr
    sys.stdout.write(done.stderr)
    return [Outcome(command, int(status), output) for command, (_, output, status) in zip(run, parts, strict=True)]


def complain(outcome: Outcome) -> list[str]:
    """What the outcome has against the page."""
    command = outcome.command
    failed = outcome.status != 0 and not command.may_fail
    found = [f"{command.line}: exit status {outcome.status}: $ {command.text}\n{outcome.output}"] if failed else []
    rest = [_simplify(line) for line in outcome.output.splitlines()]
    for line in command.shown:
        pattern = ".*".join(re.escape(_simplify(part)) for part in line.split("..."))
        place = next((index for index, printed in enumerate(rest) if re.fullmatch(f" ?{pattern} ?", printed)), None)
        if line.strip() == "...":
            continue
        if place is None:
            return [*found, f"{command.line}: $ {command.text} does not print {line!r}\n{outcome.output}"]
        rest = rest[place + 1 :]
    return found


def _simplify(text: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"\d+", "0", text))
