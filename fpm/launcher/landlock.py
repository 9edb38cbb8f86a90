"""Carries out `landlock`: the processes of a pool reach no files but those below the paths that are allowed.

It needs no rights. The paths are those that the pool's user sees in his jail, and he opens them himself.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from functools import partial

from fpm.kernel.landlock import (
    Rule,
    interpreter_paths,
    pack_rule,
    pack_ruleset,
    parse_rules,
    system_rules,
)
from fpm.kernel.system_call import LANDLOCK_CREATE_RULESET_VERSION, load_system_call
from fpm.protocol.application import directory_of
from fpm.protocol.spec import TemplateSpec

RULE_PATH_BENEATH = 1


def prepare_landlock(spec: TemplateSpec) -> list[tuple[str, Callable[[], None]]]:
    """Return the steps that restrict this process and all that it becomes; each raises OSError."""
    if not spec.landlock:
        return []
    ruleset = Ruleset(load_system_call())

    def allow_implied() -> None:
        for rule in implied_rules(spec):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
                ruleset.allow(rule)

    return [
        ("landlock", ruleset.begin),
        ("landlock", allow_implied),
        *(
            (f"landlock = {rule.access} {rule.path}", partial(ruleset.allow, rule))
            for rule in parse_rules(spec.landlock)
        ),
        ("landlock", ruleset.enforce),
    ]


class Ruleset:
    """Rules of the kernel that are still being made. The methods raise OSError.

    Args:
        call: see fpm.kernel.system_call.
    """

    def __init__(self, call: Callable[..., int]) -> None:
        self._call = call
        self._version = 0
        self._fd = -1

    def begin(self) -> None:
        """Make a ruleset that allows nothing, with all that this kernel can refuse."""
        self._version = self._call("landlock_create_ruleset", 0, 0, LANDLOCK_CREATE_RULESET_VERSION)
        attributes = pack_ruleset(self._version)
        self._fd = self._call("landlock_create_ruleset", attributes, len(attributes), 0)

    def allow(self, rule: Rule) -> None:
        """Allow what a rule says for the file or directory that is there now."""
        fd = os.open(rule.path, os.O_PATH | os.O_CLOEXEC)
        try:
            is_directory = stat.S_ISDIR(os.fstat(fd).st_mode)
            attributes = pack_rule(rule.access, fd, is_directory=is_directory, version=self._version)
            self._call("landlock_add_rule", self._fd, RULE_PATH_BENEATH, attributes, 0)
        finally:
            os.close(fd)

    def enforce(self) -> None:
        """From now on nothing else is allowed."""
        self._call("landlock_restrict_self", self._fd, 0)
        os.close(self._fd)


def implied_rules(spec: TemplateSpec) -> list[Rule]:
    """Return what the interpreter and the application need in any case; never the root as a whole."""
    own = [Rule("read", path) for path in dict.fromkeys(_own_paths(spec))]
    own.append(Rule("write", spec.environ.get("TMPDIR", "")))
    named = [rule for rule in own if rule.path.startswith("/") and os.path.normpath(rule.path).strip("/")]
    return [*system_rules(), *named]


def _own_paths(spec: TemplateSpec) -> Iterator[str]:
    yield from interpreter_paths(spec.python, os.path.realpath(spec.python), _home(spec.python))
    yield from (*spec.pythonpath, *spec.environ.get("PYTHONPATH", "").split(":"), spec.chdir or "")
    yield directory_of(spec.app)


def _home(python: str) -> str:
    """Return where the interpreter is of which an environment was made, by its pyvenv.cfg (PEP 405); "" if nowhere."""
    try:
        with open(os.path.join(os.path.dirname(os.path.dirname(python)), "pyvenv.cfg"), "rb") as file:
            lines = [line.partition(b"=") for line in file.read(65536).splitlines()]
    except OSError:
        return ""
    return next((os.fsdecode(value.strip()) for name, _, value in lines if name.strip() == b"home"), "")
