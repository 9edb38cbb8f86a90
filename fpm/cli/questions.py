"""Answers of the command line: given by options, asked on a terminal, or else what was found."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import click

from fpm.config.invalid_value import InvalidValue
from fpm.log.escape import escape

Check = Callable[[str], str]


class Questions:
    """Takes each answer once.

    Args:
        asks: there is somebody at a terminal.
    """

    def __init__(self, *, asks: bool) -> None:
        self.asks = asks

    def take(self, option: str, question: str, given: str | None, found: str | None, check: Check) -> str:
        """Return one checked answer.

        Args:
            given: what the option says.
            found: what is taken without an option, and offered on a terminal; None if nothing was found.
            check: returns the answer as it is to be used, or raises InvalidValue.

        Raises:
            click.UsageError: the option is wrong, or missing where nobody can be asked.
        """
        if given is None and self.asks:
            # Where nothing is offered, the Enter key is an answer as well, so that `check` says what is expected.
            answer: str = click.prompt(
                question,
                default=escape(found or ""),
                show_default=found is not None,
                value_proc=lambda text: _checked(text, check, ""),
            )
            return answer
        if given is None and found is None:
            raise click.UsageError(f"{option} is missing, and there is no terminal on which to ask for it.")
        return _checked(found or "" if given is None else given, check, option)

    def take_several(
        self, option: str, question: str, given: Sequence[str], found: Sequence[str] | None, check: Check
    ) -> tuple[str, ...]:
        """Return checked answers, at least one, on a terminal separated by spaces; see `take`."""
        text = self.take(
            option,
            question,
            " ".join(given) if given else None,
            None if found is None else " ".join(found),
            lambda words: " ".join(check(word) for word in words.split() or [""]),
        )
        return tuple(text.split())


def _checked(text: str, check: Check, option: str) -> str:
    try:
        return check(text)
    except InvalidValue as refusal:
        raise click.BadParameter(str(refusal), param_hint=option or None) from None
