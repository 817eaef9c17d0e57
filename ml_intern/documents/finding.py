"""Which section a reader means: by number, by exact title, by part of a title, in that order."""

from __future__ import annotations

import re
import unicodedata

from ml_intern.documents.model import Document
from ml_intern.errors import ToolError
from ml_intern.tooling import did_you_mean

_NUMBER = re.compile(r"(?:\d+|[A-Z]|[IVXL]+)(?:\.(?:\d+|[A-Za-z]))*", re.I)
_WORD_IN_FRONT = re.compile(r"^(?:section|sec|appendix|chapter|app|§)[.\s]*", re.I)


def find(document: Document, wanted: str) -> int:
    """The index of the section.

    Raises:
        ToolError: There is none; the hint has the nearest and all the headings.
    """
    number = _number(wanted)
    for index, section in enumerate(document.sections):
        if number and section.number.casefold() == number:
            return index
    word = _plain(wanted)
    for matches in (lambda title: title == word, lambda title: word in title):
        for index, section in enumerate(document.sections):
            titles = (_plain(section.title), _plain(section.heading))
            # A number is no part of a title: "1" is neither 4.1 nor "Stage 1".
            if word and any(map(matches, titles)) and (not number or titles[0] == word):
                return index
    headings = [section.heading for section in document.sections]
    guess = did_you_mean(wanted, [s.title for s in document.sections])
    raise ToolError(f"There is no section {wanted!r}{guess}.", f"Sections: {'; '.join(headings)[:3000]}.")


def _number(wanted: str) -> str:
    """What is asked for, where it is a number: "Section 4.1." → "4.1"; else nothing."""
    text = _WORD_IN_FRONT.sub("", wanted.strip()).strip().rstrip(".")
    return text.casefold() if _NUMBER.fullmatch(text) else ""


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split()).strip(" .:")
