"""Looks a piece of HTML over that holds other people's words: what it would run, load or leave open."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"br", "hr", "img", "input", "meta", "link"}
RUNS = {"script", "img", "object", "embed", "link", "style", "base", "form", "meta"}


class Fragment(HTMLParser):
    """Demands that every tag is closed where it should be; collects what would run, and the words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.runs: list[str] = []
        self.frames: list[dict[str, str | None]] = []
        self.words = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        if tag in RUNS:
            self.runs.append(tag)
        if tag == "iframe":
            self.frames.append(dict(attrs))
        self.runs += [name for name, _ in attrs if name.startswith("on") or name == "src"]
        links = [value or "" for name, value in attrs if name == "href"]
        self.runs += [
            link for link in links if not link.startswith(("http://", "https://", "gradio_api/file="))
        ]

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        self.words += data


def harmless(text: str) -> str:
    """The words of a piece of HTML that is whole and runs nothing."""
    found = Fragment(text)
    assert found.open == [] and found.runs == []
    return found.words
