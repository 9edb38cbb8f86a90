"""The refusal of a value. Pure."""

from __future__ import annotations


class InvalidValue(ValueError):
    """A value cannot be parsed; the text is the sentence for the user."""
