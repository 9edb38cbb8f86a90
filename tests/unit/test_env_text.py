"""The text of an env_file: what it means, what is refused, and that no message has a value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm.launcher.env_text import BadEnvText, parse_env


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("# a\n ; b\n\n\t\nA=1", {"A": "1"}),
        ("A=1\nB = x y \r\nA=2\n", {"A": "2", "B": "x y"}),
        ("export A=1\n  export\tB=2", {"A": "1", "B": "2"}),
        ("A=\nB=''\nC=\"\"", {"A": "", "B": "", "C": ""}),
        ("A='it is \"so\" $X \\n' # why\n", {"A": 'it is "so" $X \\n'}),
        ('A="a\\"b\\\\c\\$d\\n\\t"', {"A": 'a"b\\c$d\n\\t'}),
        ('K="-----BEGIN-----\nx\n-----END-----"\nB=1', {"K": "-----BEGIN-----\nx\n-----END-----", "B": "1"}),
        ("K='a\nb'\n", {"K": "a\nb"}),
        ('K="a\\\nb"\n', {"K": "ab"}),
        ("U=postgres://a:b#c@h/d?x=1;y\n", {"U": "postgres://a:b#c@h/d?x=1;y"}),
        ("\ufeffA=${B}$C\n", {"A": "${B}$C"}),
    ],
)
def test_what_it_means(text: str, expected: dict[str, str]) -> None:
    assert parse_env(text) == expected


@pytest.mark.parametrize(
    ("text", "line", "sentence"),
    [
        ("A=1\nnonsense secret\n", 2, "expected NAME=VALUE"),
        ("1A=secret", 1, "expected NAME=VALUE"),
        ("A-B=secret", 1, "expected NAME=VALUE"),
        ("\n\nA='secret\nB=1\n", 3, "the quote (') of A is not closed"),
        ('A="secret\\"', 1, 'the quote (") of A is not closed'),
        ("A='x' secret", 1, "there is text after the closing quote of A"),
        ("A=secret # or not", 1, "is the # in the value of A a comment? Put the value in quotes"),
        ("A=secret\\\nB=1", 1, "the value of A ends with a backslash"),
        ("K='a\nb'\nA='secret\0'", 3, "the value of A has a NUL byte"),
    ],
)
def test_what_is_refused(text: str, line: int, sentence: str) -> None:
    with pytest.raises(BadEnvText) as refused:
        parse_env(text)
    assert refused.value.line == line
    assert str(refused.value).startswith(sentence)
    assert "secret" not in str(refused.value)


@given(st.text(st.characters(exclude_characters="'\0", exclude_categories=["Cs"])))
def test_single_quotes_keep_everything(value: str) -> None:
    assert parse_env(f"A='{value}'\nB=1\n") == {"A": value, "B": "1"}


@given(st.text(st.sampled_from("A=\"'\\#; \n\0x")))
def test_any_text_is_variables_or_a_line(text: str) -> None:
    try:
        found, line = parse_env(text), 1
    except BadEnvText as refused:
        found, line = {}, refused.line
    assert all(name.isidentifier() for name in found)
    assert 1 <= line <= text.count("\n") + 1
