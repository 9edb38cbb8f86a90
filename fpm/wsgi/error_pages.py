"""Answers of our own where the application has none. Pure."""

from __future__ import annotations


def _make_page(status: str, text: str) -> bytes:
    """A whole response."""
    body = f"<!DOCTYPE html>\n<title>{status}</title>\n<h1>{status[4:]}</h1>\n<p>{text}</p>\n"
    return (
        f"Content-Type: text/html; charset=utf-8\r\nContent-Length: {len(body)}\r\nStatus: {status}\r\n\r\n{body}"
    ).encode("ascii")


ERROR_PAGE = _make_page("500 Internal Server Error", "The application failed. What happened is in its log.")
TIMEOUT_PAGE = _make_page("504 Gateway Timeout", "The application has taken too long.")
