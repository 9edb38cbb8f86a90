"""Lifecycles as tables: (state, event) -> (new state, actions). Makes them total, and draws them as Markdown. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from enum import Enum
from typing import Generic, TypeVar

from fpm.frozen import dataclass

S = TypeVar("S", bound=Enum)
E = TypeVar("E", bound=Enum)
A = TypeVar("A", bound=Enum)


@dataclass(frozen=True, slots=True)
class Step(Generic[S, A]):
    """What an event does in a state: the new state, and what the owner has to do, in this order."""

    state: S
    actions: tuple[A, ...] = ()


Table = Mapping[tuple[S, E], Step[S, A]]


def to(state: S, *actions: A) -> Step[S, A]:
    """Make one entry of a row."""
    return Step(state, actions)


def make_table(
    states: Iterable[S], events: type[E], rows: Mapping[S, Mapping[E, Step[S, A]]], ignored: Mapping[S, Collection[E]]
) -> dict[tuple[S, E], Step[S, A]]:
    """Join the rows, and what each state ignores, to a total table.

    Raises:
        ValueError: a state does not say what an event does, or says it twice.
    """
    table: dict[tuple[S, E], Step[S, A]] = {}
    for state in states:
        row, idle = rows.get(state, {}), set(ignored.get(state, ()))
        twice, missing = idle & set(row), set(events) - idle - set(row)
        if twice or missing:
            found = sorted(event.name for event in twice | missing)
            raise ValueError(f"{state.name} answers {', '.join(found)} {'twice' if twice else 'not at all'}")
        table.update({(state, event): row.get(event, Step(state)) for event in events})
    return table


def reachable(table: Table[S, E, A], initial: Iterable[S]) -> set[S]:
    """Find every state that some events lead to."""
    found: set[S] = set()
    waiting = list(initial)
    while waiting:
        state = waiting.pop()
        if state not in found:
            found.add(state)
            waiting += [step.state for (origin, _), step in table.items() if origin is state]
    return found


def draw(table: Table[S, E, A]) -> str:
    """Draw a table as Markdown: a Mermaid diagram of the changes of state, then every entry that does something."""
    return f"{draw_diagram(table)}\n\n{draw_entries(table)}\n"


def draw_diagram(table: Table[S, E, A]) -> str:
    """Draw the changes of state; events that lead from one state to the same other share an arrow."""
    arrows: dict[tuple[S, S], list[str]] = {}
    for (state, event), step in table.items():
        if step.state is not state:
            arrows.setdefault((state, step.state), []).append(event.name)
    lines = [f"    {origin.name} --> {target.name}: {', '.join(events)}" for (origin, target), events in arrows.items()]
    return "\n".join(["```mermaid", "stateDiagram-v2", *lines, "```"])


def draw_entries(table: Table[S, E, A]) -> str:
    """List the entries as a table; what a state ignores is left out."""
    lines = ["| state | event | new state | actions |", "|---|---|---|---|"]
    for (state, event), step in table.items():
        if step.state is not state or step.actions:
            target = step.state.name if step.state is not state else "(the same)"
            actions = ", ".join(action.name for action in step.actions) or "-"
            lines.append(f"| {state.name} | {event.name} | {target} | {actions} |")
    return "\n".join(lines)
