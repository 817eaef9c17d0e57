"""Which numbers of a text or a file that is to be published nobody measured, whatever form it has.

Documents are read as a reader sees them: entities, tags and emphasis inside of a number hide nothing. Of code
and of settings, whose numbers mostly claim nothing, only those count that stand beside the name of a score.
"""

from __future__ import annotations

import csv
import html
import io
import json
import re
import unicodedata
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import yaml

from ml_intern.claims import words
from ml_intern.claims.evidence import Evidence
from ml_intern.claims.judging import MOST_NUMBERS, MOST_TEXT, Finding, review
from ml_intern.claims.reading import numbers_in

DOCUMENTS = frozenset(
    {"", ".md", ".markdown", ".mdx", ".txt", ".rst", ".html", ".htm", ".tex", ".adoc", ".svg"}
)
SETTINGS = frozenset({".json", ".yaml", ".yml", ".ipynb"})
TABLES = frozenset({".csv", ".tsv", ".jsonl", ".ndjson"})

_OVERLAP = 300
"""Characters around a cut, so that a number keeps the words around it."""
_FENCE = re.compile(r"^[ \t>]*(?:`{3,}|~{3,}).*$", re.M)
_NAMES_ONLY = re.compile(
    r"^\s*(?:license|license_name|sdk_version|python_version|app_port|version|emoji)\s*:.*$"
    r"|^\s*-?\s*['\"]?(?:n?[<>]?\d+[KMBT]?<n(?:<\d+[KMBT])?|n[<>]\d+[KMBT])['\"]?\s*$",
    re.M,
)
"""Lines of a card's head with digits that claim nothing."""
_IN_WORDS = re.compile(r"#|//|/\*|<!--|[\"'`]")
_ASSIGNED = re.compile(r"[\w\])\"']\s*(?::|=)\s*[-+]?$")
_DEEPEST = 40


def unmeasured(name: str, text: str, evidence: Evidence, before: str = "") -> list[str]:
    """The numbers that nothing in the session vouches for, each with why.

    Args:
        name: Of the file, whose ending tells what it is; empty for words.
        text: What is to be published.
        evidence: What the session has measured, read and been told.
        before: What stood there; its lines are nobody's new claims.
    """
    evidence.active = True  # Where nothing was measured at all, every score is invented.
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in SETTINGS or suffix in TABLES:
        return _found(_rows_told(suffix, text), evidence, set(_rows_told(suffix, before).splitlines()))
    known = {_bare(line) for line in before.splitlines()} | {
        _bare(_seen(line)) for line in before.splitlines()
    }
    told: list[str] = []
    if suffix in DOCUMENTS:
        plain = _NAMES_ONLY.sub("", text)
        for shown in dict.fromkeys((_seen(plain), plain)):
            told += _found(shown, evidence, known)
    told += [f for part in _pieces(_FENCE.sub("", text)) for f in _scored(part, evidence, known)]
    return list(dict.fromkeys(told))


def _found(text: str, evidence: Evidence, known: set[str]) -> list[str]:
    """What does not stand, but for lines that stood there before."""
    told: list[str] = []
    for part in _pieces(text):
        found = review(part, evidence)
        told += [str(f) for f in found.unverified if _bare(_line(part, f)) not in known]
        told += [f"{shown}: only your own code printed it" for shown in found.computed]
        told += [words_ for words_ in found.words if _bare(words_) not in known]
    return told


def _scored(text: str, evidence: Evidence, known: set[str]) -> Iterator[str]:
    """Of code: numbers in words or set as a value, on a line that names a score."""
    for f in review(text, evidence).unverified:
        start = text.rfind("\n", 0, f.start) + 1
        line, ahead = _line(text, f), text[start : f.start]
        names = _names_a_score(line, evidence)
        if names and _bare(line) not in known and (_IN_WORDS.search(ahead) or _ASSIGNED.search(ahead)):
            yield str(f)


def _names_a_score(text: str, evidence: Evidence) -> bool:
    spoken = re.sub(r"[_.\-/]+", " ", text)
    return bool(words.SCORE.search(spoken)) or any(name in text for name in evidence.metrics)


def _line(text: str, found: Finding) -> str:
    start, end = text.rfind("\n", 0, found.start) + 1, text.find("\n", found.end)
    return text[start : end if end >= 0 else len(text)]


def _bare(line: str) -> str:
    return " ".join(line.split())


def _seen(text: str) -> str:
    """A document as its reader sees it."""
    text = html.unescape(re.sub(r"<!--.*?-->|<[^<>]*>", "", text, flags=re.S))
    text = "".join(c for c in text if c == "\n" or unicodedata.category(c) not in ("Cf", "Cc"))
    text = re.sub(r"\\(?=[^\w\s])", "", text)
    return re.sub(r"(?<=[\d.,])[*_`~]+(?=[\d.,])", "", text)


def _pieces(text: str) -> Iterator[str]:
    """A text in parts that are read whole."""
    if len(text) <= MOST_TEXT and len(numbers_in(text)) <= MOST_NUMBERS:
        yield text
        return
    middle = text.rfind("\n", len(text) // 4, len(text) // 2) + 1 or len(text) // 2
    overlap = min(_OVERLAP, len(text) // 8)
    yield from _pieces(text[: middle + overlap])
    yield from _pieces(text[middle - overlap :])


# Settings and tables, a line for each value that is told beside the name of a score


def _rows_told(suffix: str, text: str) -> str:
    if not text:
        return ""
    try:
        lines = [line for row in _parsed(suffix, text) for line in _leaves(row)]
    except (ValueError, yaml.YAMLError, RecursionError, csv.Error):
        lines = text.splitlines()
    return "\n".join(line for line in lines if words.SCORE.search(re.sub(r"[_.\-/]+", " ", line)))


def _parsed(suffix: str, text: str) -> Iterator[Any]:
    if suffix in (".csv", ".tsv"):
        yield from csv.DictReader(io.StringIO(text), delimiter="\t" if suffix == ".tsv" else ",")
    elif suffix in (".jsonl", ".ndjson"):
        yield from (json.loads(line) for line in text.splitlines() if line.strip())
    elif suffix in (".yaml", ".yml"):
        yield from yaml.safe_load_all(text)
    else:
        yield json.loads(text)


def _leaves(value: Any, path: str = "", beside: str = "", depth: int = 0) -> Iterator[str]:
    """``path, what is said beside it: value`` for every value."""
    if depth > _DEEPEST:
        raise RecursionError("nested too deeply")
    if isinstance(value, dict):
        said = [str(v) for v in value.values() if isinstance(v, str) and len(v) <= 60 and not v[:1].isdigit()]
        for key, inner in value.items():
            yield from _leaves(inner, f"{path} {key}".strip(), " ".join(said[:8]), depth + 1)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, path, beside, depth + 1)
    elif value is not None and not isinstance(value, bool):
        told = " ".join(str(value).split())
        spoken = re.sub(r"[_.\-/]+", " ", f"{path} {beside if beside != told else ''}")
        yield f"{' '.join(spoken.split())}: {told}"
