"""Writes the files that are generated from the table of directives.

`python -m fpm.config.manual [DIRECTORY]` writes man/pyfpm.conf.5, docs/directives.md, docs/coming-from.md,
pools.d/www.conf, contrib/pyfpm.conf and fpm/manager/directive_types.py below the source directory. A test compares them
with the committed files.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

from fpm.config.directives import GROUPS
from fpm.config.manual_text import HEAD, TAIL
from fpm.config.reference import reference
from fpm.config.sample import main_sample, pool_sample
from fpm.config.tables.entry import Directive
from fpm.config.typed import typed_module
from fpm.convert.guide import guide
from fpm.convert.php_fpm_options import NOT_FOR_PYTHON

_WIDTH = 78
_LITERAL = re.compile(r"`([^`]+)`")
_SENTENCE_END = re.compile(r"(?<=[.?!:])\s+(?=[A-Z`$0-9])")


def manual() -> str:
    """Return the text of pyfpm.conf(5)."""
    lines = [
        '.\\" Made by python -m fpm.config.manual; change the tables in fpm/config/tables instead.',
        *HEAD.splitlines(),
    ]
    lines.append(".Sh DIRECTIVES")
    for group in GROUPS:
        lines += [f".Ss {group.title}", '.Bl -tag -width "xxxx"']
        for directive in group.directives:
            lines += _directive(directive)
        lines.append(".El")
    return "\n".join([*lines, *_differences(), *_refused(), *TAIL.splitlines()]) + "\n"


def _directive(directive: Directive) -> Iterator[str]:
    yield f".It Ic {_spelling(directive)} Ns = Ns Ar {directive.kind}"
    yield from _sentences(directive.help)
    if directive.choices and directive.kind == "choice":
        yield from _sentences(f"One of {', '.join(f'`{choice}`' for choice in directive.choices)}.")
    yield from _sentences(_default(directive))


def _spelling(directive: Directive) -> str:
    return {"": directive.name, "key": f"{directive.name}[NAME]", "list": f"{directive.name}[]"}[directive.array]


def _default(directive: Directive) -> str:
    if directive.mandatory:
        return "Mandatory."
    if directive.default_note:
        return f"Default: {directive.default_note.rstrip('.')}."
    return f"Default: `{directive.default}`." if directive.default else "Default: not set."


def _differences() -> Iterator[str]:
    yield ".Sh DIFFERENCES FROM PHP-FPM"
    yield from _sentences(
        "All mistakes in all files are reported at once, and a test of the configuration has no side effects. "
        "An `include` is relative to the directory of its file, and the section continues after it. "
        "`${NAME}` is an error if the variable is not set. Numbers cannot be empty. "
        "Times may also be given in `ms`."
    )
    yield '.Bl -tag -width "xxxx"'
    for group in GROUPS:
        for directive in group.directives:
            if directive.differs:
                yield f".It Ic {_spelling(directive)}"
                yield from _sentences(directive.differs)
    yield ".El"


def _refused() -> Iterator[str]:
    yield from (".Pp", "These are rejected:", '.Bl -tag -width "xxxx"')
    by_reason: dict[str, list[str]] = {}
    for name, reason in NOT_FOR_PYTHON.items():
        by_reason.setdefault(reason, []).append(name)
    for reason, names in by_reason.items():
        yield f".It Ic {' , '.join(names)}"
        yield from _sentences(f"{reason[0].upper()}{reason[1:]}.")
    yield ".El"


def _sentences(text: str) -> Iterator[str]:
    """Yield roff lines: each sentence starts a line, words in backticks are bold, nothing is read as a request."""
    for sentence in _SENTENCE_END.split(text):
        marked = _LITERAL.sub(r"\\fB\1\\fR", sentence.replace("\\", "\\e"))
        for line in textwrap.wrap(marked, _WIDTH, break_on_hyphens=False, break_long_words=False):
            yield f"\\&{line}" if line[0] in ".'" else line


def write(directory: Path) -> list[Path]:
    """Write the files below the source directory; return their paths."""
    texts = {
        "man/pyfpm.conf.5": manual(),
        "docs/directives.md": reference(),
        "pools.d/www.conf": pool_sample(),
        "contrib/pyfpm.conf": main_sample(),
        "docs/coming-from.md": guide(),
        "fpm/manager/directive_types.py": typed_module(),
    }
    for name, text in texts.items():
        (directory / name).write_text(text)
    return [directory / name for name in texts]


if __name__ == "__main__":
    for path in write(Path(sys.argv[1] if len(sys.argv) > 1 else ".")):
        sys.stdout.write(f"{path}\n")
