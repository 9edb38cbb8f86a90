"""The output of `pyfpm slow`: a table of groups, then each group's stack; or the same as JSON. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from fpm.cli.columns import Cell, Column
from fpm.cli.status_rows import show_text
from fpm.log.times import format_time, local_time
from fpm.stacks.text.format import bound
from fpm.stacks.text.group import Gap, Group, library_of, relevant_frames, short_file
from fpm.stacks.trace import Frame
from fpm.status.figures import format_count, format_span

NAMED = 3
"""Number of lines, URIs and so on that are listed, the most frequent first."""


def head_line(entries: int, requests: int, groups: int, shown: int) -> str:
    """Summarize how many requests and groups there are."""
    text = f"{_count(entries, 'entry', 'entries')} of {_count(requests, 'request')}, {_count(groups, 'stack')}"
    return text if shown == groups else f"{text}; the first {shown} are shown (-n {groups} shows all)"


def group_columns(groups: Sequence[Group]) -> list[Column]:
    """Make a table with one row for each group."""
    return [
        Column("#", [Cell(str(number), "bold") for number, _ in enumerate(groups, 1)], 0, right=True),
        Column("REQUESTS", [Cell(format_count(group.requests)) for group in groups], 1, right=True),
        Column("TOTAL", [_span(group.total) for group in groups], 2, right=True),
        Column("LONGEST", [_span(group.longest) for group in groups], 3, right=True),
        Column("ENDED", [Cell(str(group.ended), "red" if group.ended else "dim") for group in groups], 6, right=True),
        Column("LAST SEEN", [Cell(_when(group.last)) for group in groups], 5, right=True),
        Column("POOL", [Cell(_names(group.pools, counted=False)) for group in groups], 7, shrinks=True),
        Column("WHERE", [Cell(show_text(_where(group)), "yellow") for group in groups], 0, shrinks=True),
        Column("REQUEST", [Cell(_names(group.uris, counted=False)) for group in groups], 4, shrinks=True),
    ]


def group_lines(number: int, group: Group, *, full: bool = False) -> Iterator[Cell]:
    """Format one group with its stack: the frames of the application and its calls into libraries, or all."""
    ended = f", {group.ended} terminated" if group.ended else ""
    samples = f" ({group.samples} samples)" if group.samples != group.requests else ""
    unfinished = f", {group.unfinished} without an end" if 0 < group.unfinished < group.requests else ""
    times = f", total {_time(group.total)}, longest {_time(group.longest)}" if group.longest else ""
    yield Cell(f"{number}. {_count(group.requests, 'request')}{samples}{times}{ended}{unfinished}", "bold")
    yield Cell(f"   pool {_names(group.pools)}; first {_when(group.first)}, last {_when(group.last)}")
    yield Cell(f"   {_names(group.uris)}")
    if group.longest_uri:
        yield Cell(f"   longest: {show_text(group.longest_uri)}", "dim")
    if group.doing:
        yield Cell(f"   {_names(group.doing)}")
    if group.error:
        yield Cell(f"   no stack: {show_text(group.error)}", "red")
    lines = dict(zip(map(id, group.frames), group.lines, strict=True))
    for one in group.frames if full else relevant_frames(group.frames):
        yield _gap_cell(one) if isinstance(one, Gap) else _frame_cell(one, lines[id(one)])


def group_object(group: Group) -> dict[str, Any]:
    """Convert one group to a JSON object."""
    frames = [
        {
            "function": bound(frame.function),
            "file": bound(frame.file),
            "line": lines.most_common(1)[0][0] if lines else frame.line,
            "lines": {str(line): count for line, count in lines.most_common()},
            "native": frame.native,
            "library": library_of(frame),
        }
        for frame, lines in zip(group.frames, group.lines, strict=True)
    ]
    return {
        "count": group.requests,
        "samples": group.samples,
        "total": round(group.total, 6),
        "longest": round(group.longest, 6),
        "longest_request": bound(group.longest_uri),
        "ended": group.ended,
        "unfinished": group.unfinished,
        "first": _stamp(group.first),
        "last": _stamp(group.last),
        "pools": _object(group.pools),
        "uris": _object(group.uris),
        "doing": _object(group.doing),
        "error": bound(group.error),
        "frames": frames,
    }


def _where(group: Group) -> str:
    """Return the newest frame of the application, or else the newest frame."""
    frame = next((one for one in group.frames if not library_of(one)), group.frames[0] if group.frames else None)
    return f"{frame.function}() {frame.file.rpartition('/')[2]}" if frame else f"no stack: {group.error}"


def _frame_cell(frame: Frame, lines: Counter[int | str]) -> Cell:
    style = "dim" if library_of(frame) else ""
    place = f"     {show_text(frame.function)}() {show_text(short_file(frame)) or 'unknown'}"
    if len(lines) == 1:
        line = next(iter(lines))
        return Cell(f"{place}:{line}" if line else place, style)
    told = ", ".join(f":{line} ({count}x)" for line, count in lines.most_common(NAMED))
    more = f" and {len(lines) - NAMED} more" if len(lines) > NAMED else ""
    return Cell(f"{place}{told}{more}", style)


def _gap_cell(gap: Gap) -> Cell:
    return Cell(f"     ... {gap.count} frames of {', '.join(map(show_text, gap.names))}", "dim")


def _names(counter: Counter[str], *, counted: bool = True) -> str:
    """Format `GET /a (3), GET /b (1), ...`."""
    alone = len(counter) == 1 or not counted
    told = [show_text(name) + ("" if alone else f" ({count})") for name, count in counter.most_common(NAMED)]
    more = len(counter) - NAMED
    return ", ".join(told) + (f" and {more} more" if more > 0 else "")


def _span(seconds: float) -> Cell:
    return Cell(_time(seconds), "" if seconds else "dim")


def _time(seconds: float) -> str:
    return format_span(seconds) if seconds else "-"


def _when(moment: float) -> str:
    return format_time(moment, "%Y-%m-%d %H:%M:%S")


def _stamp(moment: float) -> str:
    return local_time(moment).isoformat(timespec="milliseconds")


def _object(counter: Counter[str]) -> dict[str, int]:
    return {bound(name): count for name, count in counter.most_common()}


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
