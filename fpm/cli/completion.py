"""What the shells complete: pools, directives, files. An argument says by its metavar what it wants, such as POOL|PID.

The scripts for bash, zsh and fish are click's; they call `pyfpm` itself, which imports one command only.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator

import click
from click.shell_completion import CompletionItem, get_completion_class

from fpm.config.load import find_pools
from fpm.config.local_system import DEFAULT_FILE

SHELLS = ("bash", "zsh", "fish")


def completion_scripts(group: click.Command) -> dict[str, str]:
    """Return the script for each shell."""
    scripts = {}
    for shell in SHELLS:
        complete = get_completion_class(shell)
        assert complete is not None, f"click does not know {shell}"
        made = complete(group, {}, "pyfpm", "_PYFPM_COMPLETE")
        scripts[shell] = made.source_template % made.source_vars()  # source() would start bash to see its version
    # click's file completes nothing when zsh calls it for the second time: it takes itself for a sourced one.
    body = scripts["zsh"].partition("\nif [[ $zsh_eval_context")[0]
    return {**scripts, "zsh": f'{body.rstrip()}\n\n_pyfpm_completion "$@"\n'}


class Text(click.types.StringParamType):
    """Any text, for which the shells propose what its metavar names."""

    def __init__(self, kinds: list[str]) -> None:
        self._kinds = kinds

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Propose values for what has been typed so far."""
        return [item for kind in self._kinds for item in PROPOSALS[kind](ctx, incomplete)]


def add_completion(params: Iterable[click.Parameter]) -> None:
    """Let parameters of any text be completed, if their metavar (the name of an argument) says what they want."""
    for param in params:
        kinds = _kinds(param)
        if kinds and param.type is click.STRING:
            param.type = Text(kinds)


def _kinds(param: click.Parameter) -> list[str]:
    wanted = param.metavar or (param.name or "").upper()
    return [kind for kind in re.findall(r"[A-Z]+", wanted.removesuffix("S")) if kind in PROPOSALS]


def _propose_pools(ctx: click.Context, incomplete: str) -> Iterator[CompletionItem]:
    file = DEFAULT_FILE if ctx.obj is None else ctx.obj.file
    for name in find_pools(file, environ=os.environ):
        if name.startswith(incomplete):
            yield CompletionItem(name)


def _propose_directives(ctx: click.Context, incomplete: str) -> Iterator[CompletionItem]:
    from fpm.config.directives import GROUPS

    for group in GROUPS:
        for directive in group.directives:
            if directive.name.startswith(incomplete):
                yield CompletionItem(directive.name, help=group.title)


def _propose_files(ctx: click.Context, incomplete: str) -> Iterator[CompletionItem]:
    yield CompletionItem(incomplete, type="file")


def _propose_sockets(ctx: click.Context, incomplete: str) -> Iterator[CompletionItem]:
    if incomplete.startswith((".", "/")):
        yield from _propose_files(ctx, incomplete)


def _propose_directories(ctx: click.Context, incomplete: str) -> Iterator[CompletionItem]:
    yield CompletionItem(incomplete, type="dir")


PROPOSALS: dict[str, Callable[[click.Context, str], Iterator[CompletionItem]]] = {
    "POOL": _propose_pools,
    "DIRECTIVE": _propose_directives,
    "FILE": _propose_files,
    "SOCKET": _propose_sockets,
    "DIR": _propose_directories,
}
