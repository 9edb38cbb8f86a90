"""docs/directives.md, the reference of the directives as a page of the site, from the table. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fpm.config.directives import GROUPS
from fpm.config.tables.entry import Applies, Directive, Kind, Scope
from fpm.convert.php_fpm_options import NOT_FOR_PYTHON

HEAD = """\
<!-- Made by python -m fpm.config.manual from the tables in fpm/config/tables; change those instead. -->

# Directives

What the files may contain, in the order of `pyfpm test --dump`; the same text is in pyfpm.conf(5).

Times are `30`, `30s`, `5m`, `2h`, `1d` or `500ms`, sizes `512K`, `64M` or `2G`, booleans `yes`, `on`, `true`, `1` or
`no`, `off`, `false`, `0`. *After a change* says what a reload does with a directive of a pool; those of `[global]`
are read at every reload, except those that [take effect at a restart](systemd.md#start-reload-restart-stop).
"""
APPLIES: dict[Applies, str] = {
    "live": "it is applied to the running workers",
    "socket": "it is applied to the open socket",
    "generation": "a new generation of workers",
}
KINDS: dict[Kind, str] = {
    "boolean": "yes or no",
    "networks": "addresses or networks",
    "words": "words, separated by spaces",
    "limit": "a number, or unlimited",
    "mode": "an octal mode",
    "application": "module:callable, or a file",
    "check": "METHOD PATH STATUS TIMEOUT",
    "account": "a name or number",
    "mount_line": "TYPE SOURCE TARGET OPTIONS",
    "share": "a share of CPUs",
}


def reference() -> str:
    """Return the text of docs/directives.md."""
    lines = [*HEAD.splitlines()]
    for group in GROUPS:
        lines += ["", f"## {group.title}"]
        for directive in group.directives:
            lines += _directive(directive, group.scope)
    lines += ["", "## PHP-FPM's that are rejected", ""]
    lines += [f"- `{name}` {_text(reason)}." for name, reason in NOT_FOR_PYTHON.items()]
    return "\n".join(lines) + "\n"


def _directive(known: Directive, scope: Scope) -> Iterator[str]:
    yield from ("", f"### {known.name}", "", "```text", f"{_spelling(known)} = {_value(known)}", "```", "")
    yield from (_text(known.help), "")
    if known.differs:
        yield from (f"*Differs from PHP-FPM:* {_text(known.differs)}", "")
    change = f" After a change: {APPLIES[known.applies]}." if scope == "pool" else ""
    yield f"{_default(known)}{change}"


def _spelling(known: Directive) -> str:
    return {"": known.name, "key": f"{known.name}[NAME]", "list": f"{known.name}[]"}[known.array]


def _value(known: Directive) -> str:
    return " | ".join(known.choices) if known.kind == "choice" else KINDS.get(known.kind, known.kind.replace("_", " "))


def _default(known: Directive) -> str:
    if known.mandatory:
        return "Mandatory."
    if known.default_note:
        return f"Default: {_text(known.default_note.rstrip('.'))}."
    return f"Default: `{known.default}`." if known.default else "Default: not set."


def _text(text: str) -> str:
    """Markdown of a text whose only mark is the backquote: what else would be read as a mark is escaped."""
    parts = text.split("`")
    return "`".join(part if index % 2 else _escape(part) for index, part in enumerate(parts))


def _escape(text: str) -> str:
    return re.sub(r"([*\[\]<>\\]|\b_|_\b)", r"\\\1", text)
