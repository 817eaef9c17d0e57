"""Which addresses are given ones: what a page named, what the person wrote, what a person has opened."""

from __future__ import annotations

import pytest

from ml_intern.web.hosts import HOSTS
from ml_intern.web.met import Met, is_host_of
from ml_intern.web.page import Page

BASE = "https://lib.example/guide/start.html"


def met(text: str, kind: str = "text/html") -> Met:
    found = Met()
    found.learn(Page(BASE, 200, {"content-type": kind}, text.encode()))
    return found


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("", BASE),
        ('<a href="https://other.example/a?b=1&amp;c=2">x</a>', "https://other.example/a?b=1&c=2"),
        ("<a href='next.html#part'>x</a>", "https://lib.example/guide/next.html"),
        ("<a href=/top>x</a>", "https://lib.example/top#anywhere"),
        ("[guide](../api/index.md)", "https://lib.example/api/index.md"),
        ("See https://other.example/a.", "https://other.example/a"),
        ("(https://other.example/a)", "https://other.example/a"),
        ("https://Other.Example", "https://other.example/"),
        ('{"url": "https://other.example/j"}', "https://other.example/j"),
        ("https://en.wiki.example/Set_(maths)", "https://en.wiki.example/Set_(maths)"),
    ],
    ids=str,
)
def test_a_page_gives_its_addresses(text: str, url: str) -> None:
    assert met(text).knows(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://other.example/a?rows=1",
        "https://other.example/a/b",
        "https://other.example:8443/a",
        "https://user@other.example/a",
        "ftp://other.example/a",
        "other.example/a",
        "https://[broken",
        "",
    ],
)
def test_and_no_others(url: str) -> None:
    assert not met("See https://other.example/a").knows(url)


def test_no_addresses_are_read_out_of_what_is_no_text() -> None:
    assert not met("%PDF-1.7 https://other.example/a").knows("https://other.example/a")
    assert not met("\0 https://other.example/a").knows("https://other.example/a")


@pytest.mark.parametrize(
    ("url", "known"),
    [
        ("https://huggingface.co/docs/trl", True),
        ("https://HuggingFace.co./docs", True),
        ("https://export.arxiv.org/abs/1", True),
        ("https://arxiv.org/abs/1", True),
        ("https://notarxiv.org/abs/1", False),
        ("https://huggingface.co.evil.example/", False),
        ("https://huggingface.co@evil.example/", False),
        ("https://someone.github.io/", False),
    ],
)
def test_known_hosts_are_whole_names(url: str, known: bool) -> None:
    assert is_host_of(url, HOSTS) is known
