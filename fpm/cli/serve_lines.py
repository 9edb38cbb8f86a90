"""The lines of `pyfpm serve`: ours begin with the time, the application's are as it wrote them."""

from __future__ import annotations

import time

from fpm.cli.output import print_page, say


def print_line(text: str) -> None:
    """Print one line of ours."""
    say(f"{time.strftime('%H:%M:%S')} {text}")


def print_request(request: str, outcome: str, seconds: float) -> None:
    """Print the line of a request: method and URI, status, milliseconds."""
    print_line(f"{request} {outcome} {seconds * 1000:.0f} ms")


def print_raw(text: str) -> None:
    """Print a traceback as Python does."""
    print_page(text.rstrip("\n"))
