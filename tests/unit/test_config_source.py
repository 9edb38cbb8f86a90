"""Lines of a file, as ConfigObj gets them and as they come back."""

from __future__ import annotations

import pytest
from configobj import ConfigObj
from hypothesis import given
from hypothesis import strategies as st

from fpm.config.source import number_lines, read_name, read_value


def parsed(text: str) -> ConfigObj:
    return ConfigObj(number_lines(text).lines, interpolation=False, list_values=False, raise_errors=True)


def only_value(line: str) -> tuple[str, bool]:
    tree = parsed(line)
    assert len(tree.scalars) == 1
    return read_value(tree[tree.scalars[0]])


def only_complaint(text: str) -> tuple[int, str]:
    complaints = number_lines(text).complaints
    assert len(complaints) == 1
    return complaints[0]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("a = b", "b"),
        ("a=b", "b"),
        ("  a  =  b  ", "b"),
        ("a =", ""),
        ("a = b ; comment", "b"),
        ("a = b;comment", "b"),
        ("a = b # comment", "b"),
        ("a = http://host/#part", "http://host/#part"),
        ("a = b=c", "b=c"),
        ("a = ; comment", ""),
        ("a = # comment", ""),
        ('a = "b ; c = d # e" ; comment', "b ; c = d # e"),
        ('a = "b" # comment', "b"),
        ("a = 'b ; c'", "b ; c"),
        ('a = ""', ""),
        ("a = ''", ""),
        (r'a = "say \"x\" \\ \n"', r'say "x" \ \n'),
        ('a = %R "%m;%r" %s', '%R "%m;%r" %s'),
        ("a = it's ; mine", "it's"),
        ('a = 5" wide ; mine', '5" wide'),
        ("a = b, c", "b, c"),
        ("a = %(b)s", "%(b)s"),
        ("a = b\r", "b"),
        ("\ufeffa = b", "b"),
        ("a = caf\u00e9\u2028x", "caf\u00e9\u2028x"),
    ],
)
def test_value(line: str, text: str) -> None:
    assert only_value(line)[0] == text


def test_only_single_quotes_make_a_value_literal() -> None:
    assert only_value("a = '$pool'") == ("$pool", True)
    assert only_value('a = "$pool"') == ("$pool", False)
    assert only_value("a = $pool") == ("$pool", False)


def test_names_carry_their_lines_so_that_nothing_is_a_duplicate() -> None:
    tree = parsed("; first\n[www]\na = 1\na = 2\n\n[www]\n  a = 3\n")
    assert [read_name(head) for head in tree.sections] == [(2, "www"), (6, "www")]
    assert [read_name(name) for name in tree["2:www"].scalars] == [(3, "a"), (4, "a")]
    assert [read_name(name) for name in tree["6:www"].scalars] == [(7, "a")]


@pytest.mark.parametrize("head", ["[www]", "[ www ]", "[www] ; comment", "[www]# comment", "  [www]"])
def test_section_head(head: str) -> None:
    assert [read_name(name) for name in parsed(head).sections] == [(1, "www")]


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("a = 1\n[www", 2, "not a section header"),
        ("[]", 1, "not a section header"),
        ("[[www]]", 1, "not a section header"),
        ("[www] x", 1, "not a section header"),
        ("\n\njust words", 3, "has no '='"),
        ("words ; a = 1", 1, "has no '='"),
        ("= 1", 1, "no name before"),
        ('a = """text', 1, "triple quotes"),
        ("a = '''text'''", 1, "triple quotes"),
        ('a = "text', 1, "is not closed"),
        ("a = 'text ; x", 1, "is not closed"),
        ('a = "b" c', 1, "text after the closing quote"),
        ("a = b\x00c", 1, "control character \\x00"),
        ("a = \x1b[31m", 1, "control character \\x1b"),
    ],
)
def test_complaint(text: str, line: int, part: str) -> None:
    number, complaint = only_complaint(text)
    assert number == line
    assert part in complaint


def test_a_refused_line_hides_no_other() -> None:
    numbered = number_lines("[www\na = 1\nnonsense\nb = 2\n")
    assert [line for line, _ in numbered.complaints] == [1, 3]
    assert [read_name(name) for name in parsed("[www\na = 1\nnonsense\nb = 2\n").scalars] == [(2, "a"), (4, "b")]


@given(st.text(alphabet="ab[]=\"'#;:\\ \t\n$%{},\x01\x0b\u2028", max_size=80))
def test_whatever_the_text_configobj_accepts_what_is_left_of_it(text: str) -> None:
    tree = parsed(text)
    for name in tree.scalars:
        line, own = read_name(name)
        assert own in text
        assert 1 <= line <= text.count("\n") + 1
        value, _ = read_value(tree[name])
        assert "\n" not in value


@given(st.text(max_size=40).filter(lambda text: not any(ord(c) < 32 or ord(c) == 127 for c in text)))
def test_a_quoted_value_comes_back_as_it_was(text: str) -> None:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    if not escaped.startswith('"') and escaped:
        assert only_value(f'a = "{escaped}" ; comment') == (text, False)
