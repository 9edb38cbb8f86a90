"""What the tests of `pyfpm doctor` ask of it, and how they do what it prints."""

from __future__ import annotations

import getpass
import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.support.fpm import IS_ROOT, Daemon
from tests.support.interpreter import pyfpm_command

WEB = ("--web-user", "daemon" if IS_ROOT else getpass.getuser())
"""An ordinary user's sockets can be opened by himself alone."""
QUICK = ("--no-import", *WEB)
"""Where it is not the application that is looked at: to start one costs more than all the rest."""
Found = dict[str, Any]


def examine(
    fpm: Daemon,
    *arguments: str,
    status: int = 0,
    wrapper: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
) -> list[Found]:
    """All that it finds, but for notes."""
    done = fpm.cli("doctor", "--json", *arguments, wrapper=wrapper, environ=environ, timeout=120)
    assert done.returncode == status, done.stdout + done.stderr
    answer = json.loads(done.stdout)
    assert answer["ok"] is (status == 0)
    found = [one for pool in answer["pools"].values() for one in pool] + answer["machine"]
    return [one for one in found if one["level"] != "note"]


def the_problem(fpm: Daemon, *arguments: str, **options: Any) -> Found:
    """The only thing that it finds."""
    (found,) = examine(fpm, *arguments, status=1, **options)
    assert found["level"] == "problem"
    return dict(found)


def the_problems(fpm: Daemon, *arguments: str, **options: Any) -> dict[str, Found]:
    """What it finds, by pool ("": of the machine): problems, and not more than one of each."""
    found = examine(fpm, *arguments, status=1, **options)
    by_pool = {one["pool"]: one for one in found}
    assert len(by_pool) == len(found), found
    assert {one["level"] for one in found} == {"problem"}, found
    return by_pool


def mend(fpm: Daemon, *found: Found) -> None:
    """Do what it prints: write the lines, and run the commands."""
    places = [(int(one["where"].rpartition(":")[2]), one) for one in found if one["where"]]
    for number, one in sorted(places, key=lambda place: -place[0]):  # from below, so that the other numbers stay true
        names = {line.partition(" = ")[0] for line in one["lines"]}
        lines = fpm.config_file.read_text().splitlines()
        head, section = lines[:number], lines[number:]
        end = next((at for at, line in enumerate(section) if line.startswith("[")), len(section))
        kept = [line for line in section[:end] if line.partition(" = ")[0] not in names]
        fpm.config_file.write_text("\n".join([*head, *one["lines"], *kept, *section[end:]]) + "\n")
    path = f"{os.path.dirname(pyfpm_command())}:{os.environ['PATH']}:/usr/sbin:/sbin"
    for command in _fewer(command for one in found for command in one["commands"]):
        shell = ["/bin/sh", "-ec", command]
        done = subprocess.run(
            shell, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


def _fewer(commands: Iterator[str]) -> list[str]:
    """The same commands, the last of those that are repeated; the reloads of several pools are one, at the end."""
    others: dict[str, None] = {}
    reloads: dict[str, str] = {}
    for command in commands:
        if found := re.fullmatch(r"(pyfpm .* reload) (\S+)", command):
            reloads[found[1]] = f"{reloads.get(found[1], found[1])} {found[2]}"
        else:
            others.pop(command, None)
            others[command] = None
    return [*others, *reloads.values()]
