"""Reads the directives of mod_wsgi in Apache's configuration. Pure."""

from __future__ import annotations

import re

from fpm.convert.given import Given

_QUOTED = r"""(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
_WORD = re.compile(rf"[^\s=\"']+={_QUOTED}|{_QUOTED}|\S+")
_QUOTES = re.compile(rf"({_QUOTED})$")
EMBEDDED = "mod_wsgi-embedded"
"""The pool of applications that run in Apache's own processes."""
Pools = dict[str, list[Given]]


def read_apache(text: str) -> tuple[Pools, list[Given]]:
    """Return the options of each process group that has an application, and all others."""
    groups: Pools = {}
    scripts: list[tuple[str, Given]] = []
    others: list[Given] = []
    common: list[Given] = []
    current = ""
    for number, words in _directives(text):
        name, values = words[0], words[1:]
        lower = name.lower()
        if lower in ("<virtualhost", "</virtualhost>"):
            current = ""
        elif lower == "wsgidaemonprocess" and values:
            groups[values[0]] = [Given(number, name, values[0]), *_process_options(number, values[1:])]
            current = current or values[0]
        elif lower == "wsgiprocessgroup" and values and "%{" not in values[0]:
            current = values[0]
            scripts = [(group or current, script) for group, script in scripts]
            others.append(Given(number, name, values[0]))
        elif lower == "wsgiscriptalias" and len(values) >= 2:
            scripts.append((_group_of(values[2:]) or current, Given(number, name, (values[0], values[1]))))
        elif lower in ("wsgicallableobject", "wsgipythonhome", "wsgipythonpath", "wsgichunkedrequest"):
            common.append(Given(number, name, values[0] if values else ""))
        elif lower.startswith("wsgi"):
            others.append(Given(number, name, " ".join(values)))
    pools: Pools = {}
    for group, script in scripts:
        name = group or EMBEDDED
        key = name if name not in pools else f"{name}-{len(pools) + 1}"
        pools[key] = [script, *common, *groups.get(group, ())]  # what is said of one group counts more
    for group, options in groups.items():
        if group not in {one for one, _ in scripts}:
            pools[group] = [*common, *options]
    return pools, others


def _directives(text: str) -> list[tuple[int, list[str]]]:
    """Return the lines with their words; one that ends with a backslash goes on in the next."""
    found = []
    lines = text.splitlines()
    number = 0
    while number < len(lines):
        begin, line = number + 1, lines[number].strip()
        while line.endswith("\\") and number + 1 < len(lines):
            number += 1
            line = f"{line[:-1]} {lines[number].strip()}"
        number += 1
        words = [_QUOTES.sub(_unquote, word) for word in _WORD.findall(line)]
        if words and not words[0].startswith("#"):
            found.append((begin, words))
    return found


def _unquote(match: re.Match[str]) -> str:
    return re.sub(r"\\(.)", r"\1", match[1][1:-1])


def _process_options(number: int, words: list[str]) -> list[Given]:
    """Return what `name=value` words say."""
    found = [Given(number, name, value) for name, _, value in (word.partition("=") for word in words)]
    if not any(one.name == "threads" for one in found):
        found.append(Given(number, "threads", 15, note="nothing says how many, and 15 is mod_wsgi's default"))
    return found


def _group_of(words: list[str]) -> str:
    for word in words:
        name, _, value = word.partition("=")
        if name == "process-group" and "%{" not in value:
            return value
    return ""
