"""Text to rows."""

from __future__ import annotations

import io
import json
import tokenize
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_intern.data import sources, units

MODULE = '''\
"""A docstring
that talks = about(code)
"""
import os  # not a comment line
# value = commented(out)
class Thing:
    """One line of documentation."""
    def method(self, first,
               second):
        \'\'\'And
        another = one\'\'\'
        text = """starts here
        inside = the string
        """.strip()
        return os.path.join(first, second)
'''


def test_statements_are_code_lines_as_they_stand() -> None:
    assert units.statements(MODULE) == [
        "import os  # not a comment line",
        "class Thing:",
        "def method(self, first,",
        'text = """starts here',
        "return os.path.join(first, second)",
    ]


def test_statements_of_a_file_that_does_not_parse() -> None:
    assert units.statements("value = (1,\nbroken = = 2\n'''never closed\nlost = line\n") == [
        "value = (1,",
        "broken = = 2",
    ]


def test_a_hash_in_a_string_and_a_quote_in_a_comment_mislead_nothing() -> None:
    text = "colour = '#ff0000'\n# it's a trap\nnumber = 1234567\n"
    assert units.statements(text) == ["colour = '#ff0000'", "number = 1234567"]


def test_windows_and_old_mac_line_ends_give_the_same_statements() -> None:
    unix = units.statements(MODULE)
    assert units.statements(MODULE.replace("\n", "\r\n")) == unix
    assert units.statements(MODULE.replace("\n", "\r")) == unix


def test_statements_agree_with_the_tokenizer_on_the_standard_library() -> None:
    folder = sources.stdlib_folder()
    for name in ("argparse.py", "tarfile.py", "textwrap.py", "smtplib.py", "optparse.py"):
        with tokenize.open(folder / name) as file:
            text = file.read()
        assert units.statements(text) == _by_tokenizer(text)


def _by_tokenizer(text: str) -> list[str]:
    lines = text.split("\n")
    hidden: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        (start, column), (end, _) = token.start, token.end
        first = not lines[start - 1][:column].strip()
        if token.type == tokenize.COMMENT and first:
            hidden.add(start)
        if token.type == tokenize.STRING and token.string.lstrip("rRbBuUfF")[:3] in ('"""', "'''"):
            hidden.update(range(start if first else start + 1, end + 1))
    code = [line.strip() for number, line in enumerate(lines, 1) if number not in hidden]
    return [line for line in code if 10 <= len(line) <= 120]


@pytest.mark.parametrize("text", ["x = 1", "return value", "import os", "f(a)[0] += 2  # note", "'abc',"])
def test_what_parses_alone(text: str) -> None:
    assert units.parses_python(text)


@pytest.mark.parametrize(
    "text", ["", "   ", "else:", "if ready:", "f(a,", "x = = 1", "a\0b", "(" * 5000, "-" * 100_000 + "1"]
)
def test_what_does_not(text: str) -> None:
    assert not units.parses_python(text)


def test_parsing_says_nothing_about_strange_escapes() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert units.parse_all([r"pattern = '\d+'", None]) == [True, False]


def test_paragraphs_and_lines() -> None:
    text = "one\ntwo\n\n  \nthree  \n\n\n\nfour\n"
    assert units.paragraphs(text) == ["one\ntwo", "three  ", "four"]
    assert units.lines(text) == ["one", "two", "three", "four"]


def test_the_unit_that_suits() -> None:
    assert units.choose_unit("play.txt", "A:\nwords\n\nB:\nmore\n") == "paragraphs"
    assert units.choose_unit("names.txt", "emma\nava\n" * 100) == "lines"
    assert units.choose_unit("names.txt", "emma\n" * 200 + "\n" + "ava\n" * 200) == "lines"
    assert units.choose_unit("code.py", "x = 1\n\ny = 2\n") == "statements"


@given(st.text(), st.integers(1, 50))
def test_chunks_put_together_are_the_text(text: str, size: int) -> None:
    cut = units.chunks(text, size)
    assert "".join(cut) == text
    assert all(len(piece) == size for piece in cut[:-1])


@given(st.text(alphabet=st.characters(codec="utf-8")))
def test_no_unit_invents_or_keeps_blank_rows(text: str) -> None:
    unix = text.replace("\r\n", "\n").replace("\r", "\n")
    for row in units.lines(text) + units.paragraphs(text):
        assert row.strip()
        assert row in unix


@given(st.text(alphabet="ab=1('\"#\\\n \t"))
def test_statements_are_lines_of_the_text(text: str) -> None:
    lines = {line.strip() for line in text.split("\n")}
    for row in units.statements(text):
        assert row in lines
        assert 10 <= len(row) <= 120
        assert not row.startswith("#")


@given(st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.lists(inner), max_leaves=5))
def test_json_is_recognised(value: object) -> None:
    assert units.parses_json(json.dumps(value))
    assert not units.parses_json(json.dumps(value) + "}")
