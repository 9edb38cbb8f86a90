from __future__ import annotations

import pytest
from hypothesis import given, strategies

from fpm.cli.serve_pool import ServeError, pool_file
from fpm.config.source import number_lines, read_value

FIXED = {"control": "/t/control", "pid": "/t/pid", "listen": "/t/socket"}


def values_of(text: str) -> dict[str, tuple[str, bool]]:
    """Name and (value, whether nothing is replaced in it) of each line, as the configuration's reader sees them."""
    numbered = number_lines(text)
    assert numbered.complaints == []
    pairs = (line.split(" = ", 1) for line in numbered.lines if " = " in line)
    return {name.partition(":")[2]: read_value(value) for name, value in pairs}


@given(strategies.text(max_size=60))
def test_any_text_is_written_literally_or_refused(text: str) -> None:
    try:
        written = pool_file({**FIXED, "chdir": text})
    except ServeError:
        assert "'" in text or not text.isprintable()
        return
    assert values_of(written)["chdir"] == (text, True)


def test_a_directory_with_a_quote_is_a_clear_error() -> None:
    with pytest.raises(ServeError, match=r"chdir: .* has a quote or a control character"):
        pool_file({**FIXED, "chdir": "/home/o'brien"})
