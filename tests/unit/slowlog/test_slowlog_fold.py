"""An entry for the terminal: frames of libraries are counted."""

from __future__ import annotations

from fpm.stacks.text.entry import Entry
from fpm.stacks.text.fold import fold_entry
from fpm.stacks.text.format import format_entry
from fpm.stacks.trace import Frame, ThreadStack, Trace

DJANGO = "/srv/venv/lib/python3.11/site-packages/django/core/handlers/base.py"
STANDARD = "/usr/lib/python3.11/socket.py"


def entry_of(*threads: ThreadStack) -> str:
    trace = Trace(7, "ptrace", threads)
    entry = Entry(1.0e9, "shop", 7, "trace", "shop.wsgi", "GET", "/", 1.0, "running", 1, trace)
    return format_entry(entry, "text", 100)


def frames(*places: tuple[str, str]) -> tuple[Frame, ...]:
    return tuple(Frame(function, file, 3, values=(("a", "1"),)) for function, file in places)


def test_frames_of_libraries_are_counted() -> None:
    middle = [(f"step{number}", DJANGO) for number in range(14)]
    main = frames(("recv", STANDARD), ("view", "/srv/shop/views.py"), *middle, ("application", "/srv/shop/wsgi.py"))
    other = frames(("wait", STANDARD), ("run", STANDARD))
    text = entry_of(ThreadStack(7, True, main), ThreadStack(8, False, other, "waiting"))
    folded = fold_entry(text).split("\n")
    names = [line.split("] ")[1].split("(")[0] for line in folded if line.startswith("[0x")]
    assert names == ["recv", "view", "step13", "application", "wait", "run"], "all, where none is of the application"
    assert folded[folded.index("... 13 frames of django") - 1] == "    a = 1", "a frame keeps its variables"
    kept = [line for line in text.split("\n") if not line.startswith(("[0x", "    "))]
    assert [line for line in folded if not line.startswith(("[0x", "    ", "..."))] == kept
    assert fold_entry("") == ""
    assert fold_entry(text.replace("[0x", "(0x")) == text.replace("[0x", "(0x"), "what is no frame stays"
