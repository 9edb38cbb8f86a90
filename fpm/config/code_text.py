"""What the checks say, in the words of a program that gives the configuration as values. Pure."""

from __future__ import annotations

import re

from fpm.config.directives import DIRECTIVES

CODE = "<code>"
"""Stands for the file name while values are checked."""
_LINE = re.compile(rf"{CODE}: \[(?P<section>.*?)\] (?:(?P<directive>[a-zA-Z0-9_.]+): )?(?P<sentence>.*)", re.DOTALL)
_NAMES = "|".join(sorted((re.escape(name) for table in DIRECTIVES.values() for name in table), key=len, reverse=True))
_ASSIGNED = re.compile(rf"(?<![\w/.-])({_NAMES}) = ([^\s,;]*[^\s,;.:?)])")
_DOTTED = re.compile(rf"(?<![\w/.-])({_NAMES})(?![\w/-]|\.\w)")
_PHRASES = (
    ("env[NAME] = value", "env={'NAME': 'value'}"),
    ("Remove the line", "Remove the argument"),
    ("Write [www] and below it app, listen and pm", "Write Pool('www', app=..., listen=...)"),
    ("write [www] and below it app, listen and pm", "write Pool('www', app=..., listen=...)"),
    ("in [global]", "in Settings(...)"),
)


def speak_of_code(complaint: str) -> str:
    """Return a complaint that names the argument of a call: `Pool('shop', pm_max_children=...): sentence`."""
    found = _LINE.fullmatch(complaint)
    if found is None:
        return complaint
    directive = found["directive"]
    argument = f"{directive.replace('.', '_')}=..." if directive else ""
    if found["section"] == "global":
        call = f"Settings({argument})"
    else:
        call = f"Pool({', '.join(filter(None, (repr(found['section']), argument)))})"
    return f"{call}: {_reworded(found['sentence'])}"


def _reworded(sentence: str) -> str:
    for phrase, other in _PHRASES:
        sentence = sentence.replace(phrase, other)
    sentence = _ASSIGNED.sub(_as_argument, sentence)
    return _DOTTED.sub(lambda match: match[1].replace(".", "_"), sentence)


def _as_argument(match: re.Match[str]) -> str:
    value = match[2] if match[2].isdigit() else repr({"yes": True, "no": False}.get(match[2], match[2]))
    return f"{match[1].replace('.', '_')}={value}"
